"""In programs little is somebody's: what is there is found, and their own words are left alone."""

import pytest

from services.guard.doubts import believed
from services.guard.finding import Found
from services.guard.programs import Program
from services.guard.secrets import expression, passwordish, random_enough
from tests.guard.test_detector import found, types

PYTHON = """
import functools
from pathlib import Path

@functools.cache
def shelves(folder: Path, most: int) -> list[str]:
    found = sorted(folder.iterdir())
    if found is None:
        return []
    token = self._get_param("NextToken")
    private_key = key.private_bytes(encoding)
    for one in found[:most]:
        password = settings.lookup(one.name)
        names.append(one.to_tuple())
    return names[::2]
"""
GO = """
func (s *Store) Sorted(in []Item) ([]Item, error) {
	if in == nil {
		return nil, errEmpty
	}
	var key rsa.PrivateKey
	token := result.(string)
	out := make([]Item, m.Len())
	for n := range in {
		out[n] = in[n].DeepCopy()
	}
	sizes := []int{64, 128, 256, 512, 1024, 2048, 4096, 8192}
	return out, nil
}
"""
SCRIPT = """
/**
 * @returns the shelves
 * @example
 */
export const shelves = async (most) => {
  const apiKey = loadOptionalSetting({ name: "SHELVES" });
  const accessToken = tokenResponse.access_token;
  if (most === undefined) {
    return [];
  }
  return lodash.take(await fetchAll(apiKey), most);
};
"""


@pytest.mark.parametrize("program", [PYTHON, GO, SCRIPT], ids=["python", "go", "script"])
def test_a_program_by_itself_holds_nothing_private(program: str) -> None:
    numbered = "\n".join(f"{n:6d}\t{line}" for n, line in enumerate(program.split("\n"), 1))
    added = "\n".join(f"+{line}" for line in program.split("\n"))
    for text in (program, numbered, added):
        assert types(text) <= {"DATE_TIME", "ORGANIZATION", "URL"}, found(text)


@pytest.mark.parametrize(
    ("line", "kind", "value"),
    [
        ('    customer = Customer(name="Maria Gonzalez", visits=3)', "PERSON", "Maria Gonzalez"),
        ("    # Asked for by Maria Gonzalez, see the ticket.", "PERSON", "Maria Gonzalez"),
        ("    notify('maria.g@mail-7.net')", "EMAIL", "maria.g@mail-7.net"),
        ('    os.environ["API_KEY"] = "pX7vRt2KqLm9ZbWc4HnD"', "SECRET", "pX7vRt2KqLm9ZbWc4HnD"),
        ("    # deploys as user mgonzalez88", "USERNAME", "mgonzalez88"),
        ("    home = Address('14 Rosewood Avenue, Leeds LS6 2AB')", "ADDRESS", "14 Rosewood Avenue"),
    ],
)
def test_what_is_somebodys_is_found_in_a_program(line: str, kind: str, value: str) -> None:
    lines = PYTHON.split("\n")
    text = "\n".join([*lines[:10], line, *lines[10:]])
    assert any(one == kind and value in said for one, said in found(text)), found(text)


def test_numbers_are_no_address() -> None:
    for text in (
        "It waits 30000 ms, min 10000, max 36000; at most 64 chars in all.",
        "sizes = {64, 128, 256, 512, 1024, 2048}",
    ):
        assert "ADDRESS" not in types(text), found(text)


def test_addresses_in_a_list_are_found() -> None:
    text = "homes = ['14 Rosewood Avenue', '22 Church Lane', '9 Mill Road']"
    said = "".join(value for kind, value in found(f"We deliver to {text} on Monday.") if kind == "ADDRESS")
    assert "Rosewood" in said and "Church" in said


@pytest.mark.parametrize(
    "data",
    [
        '{\n  "customers": [\n    {\n      "name": "Maria Gonzalez",\n      "city": "Leeds"\n    },\n    {\n      "name": "Olga Petrova"\n    }\n  ]\n}',
        "name,city\nMaria Gonzalez,Leeds\nOlga Petrova,Oslo\nKwame Mensah,Accra",
        "2026-03-01 09:14:02 INFO login ok for Maria Gonzalez\n2026-03-01 09:14:05 INFO login ok for Olga Petrova\n",
        "INSERT INTO people (name) VALUES ('Maria Gonzalez');\nINSERT INTO people (name) VALUES ('Olga Petrova');\n"
        "INSERT INTO people (name) VALUES ('Kwame Mensah');",
    ],
    ids=["json", "csv", "log", "sql"],
)
def test_people_in_data_are_found(data: str) -> None:
    said = {value for kind, value in found(data) if kind == "PERSON"}
    assert {"Maria Gonzalez", "Olga Petrova"} <= said, found(data)


@pytest.mark.parametrize(
    "code",
    [
        "self._get_param(", "rsa.PrivateKey", "Optional[str]", "existing_Secret", "auth_header[7:]", "result.(string)", "new([32]byte",
        "&auth.Token{", "response->access_token", "_AzureApiKeyT", "crypto::Key(",
    ],
)  # fmt: skip
def test_code_is_no_secret(code: str) -> None:
    assert expression(code) and not random_enough(code)


@pytest.mark.parametrize(
    "secret",
    [
        "Pxo7(9PGK(Ylade",
        "Lu(1r2An7N",
        "lPc(0$Oz8@a3Y",
        "$8JEIOrxXq",
        "Summer_Rain_42",
        "AMEw9yO5jnsGnZJLHSKD",
        "c29tZXB3b3Jk",
    ],
)
def test_what_is_random_is_a_secret(secret: str) -> None:
    assert not expression(secret) and random_enough(secret)


@pytest.mark.parametrize(
    ("said", "is_one"),
    [("Summer(2024)", True), ("hunter[2]x!", True), ("getpass.getpass(", False), ("self.secret_of", False)],
)
def test_passwords_may_have_brackets(said: str, is_one: bool) -> None:
    assert passwordish(said) is is_one


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("univ.ObjectIdentifier('1.3.6.1.5.5.7.1.30')", "IP_ADDRESS"), ("index[::2]", "IP_ADDRESS"), ("AWS::EC2::Instance", "IP_ADDRESS"),
        ("Boston, MA 02110-1301 USA; ISSN of the series", "US_SSN"), ("Boston, MA 02110-1301 USA", "PHONE"),
        ('digits = "0123456789"', "PHONE"), ("weights 0.277263158 and 0.35875 - 0.48829", "PHONE"), ("-0.5750000000000001", "CREDIT_CARD"), ("https://username:password@host.example/x", "SECRET"),
        ("git clone git@github.com:our/own.git", "EMAIL"), ("Co-Authored-By: Claude <noreply@anthropic.com>", "EMAIL"),
    ],
)  # fmt: skip
def test_numbers_of_programs_are_nobodys(text: str, kind: str) -> None:
    assert kind not in types(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("user.email = 'ada@example.com'", "ada@example.com"), ("curl https://x.example/?to=ada@example.com", "ada@example.com"),
        ("--email=ada@example.com", "ada@example.com"), ("write to o'brien@example.com", "o'brien@example.com"),
        ("from bounce+ada=example.com@list.example", "bounce+ada=example.com@list.example"),
    ],
)  # fmt: skip
def test_an_address_is_found_without_what_stands_before_it(text: str, value: str) -> None:
    assert {said for kind, said in found(text) if kind == "EMAIL"} == {value}


def test_an_agents_own_words_name_nobody() -> None:
    text = "You are a Claude agent, built on Anthropic's Claude Agent SDK. Read CLAUDE.md before you begin; Claude Code is a CLI."
    assert "PERSON" not in types(text), found(text)
    assert ("PERSON", "Maria Gonzalez") in found("They say that you are Maria Gonzalez, and live in Leeds.")
    assert ("PERSON", "Claude Dupont") in found("The invoice of Claude Dupont came from Anthropic.")
    assert "PERSON" not in types(
        "You are Codex, an agent based on GPT. Mark it as done; mark tasks before you begin. See README.md and MARIA.md."
    )
    assert "PERSON" in types("Ask Claude Dupont about the contract, or her sister Maria Gonzalez.")


@pytest.mark.parametrize(
    "text",
    [
        "You may use URLs provided by the user in their messages.",
        'Say "look at @config.json" to the agent.',
        "--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+one",
    ],
)
def test_words_of_tools_name_nobody(text: str) -> None:
    assert types(text).isdisjoint({"PERSON", "USERNAME"}), found(text)


def test_which_lines_are_a_programs() -> None:
    prose = "We met at the station and talked.\n" * 12
    program = Program(prose + PYTHON + prose)
    at = len(prose) + PYTHON.index("found =")
    place = program.place(at, at + 5)
    assert place is not None and place.value == "found" and not place.said
    assert program.place(0, 2) is None and program.place(len(prose + PYTHON) + 400, len(prose + PYTHON) + 404) is None


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "line",
    ["a" * 300_000, '\\"' * 100_000, "(" * 200_000, "aB" * 150_000, "1, " * 100_000, "'x', " * 60_000],
    ids=range(6),
)
def test_no_line_costs_by_the_square_of_its_length(line: str) -> None:
    text = PYTHON + line + PYTHON
    ends = len(PYTHON), len(PYTHON) + len(line)
    believed(text, [Found(kind, *ends, 0.9, "names", "") for kind in ("USERNAME", "ADDRESS", "PERSON")])
