"""How much of programs the guard takes for private, and what is private in them it finds: `python -m benchmarks.masked_code [FOLDER ...]`.

FOLDERs are of packages, one a folder or a file (the installed ones, where none is named); those of one package in four are read: the same
that the classifier of attacks leaves out. What is found there is what the default policy masks by itself, and what it masks beside something else: a
request of a coding agent nearly always holds something else. Some is truly there, such as the addresses of authors. Then secrets, addresses
and names are planted in lines of programs and must be found.
"""

import argparse
import random
import sysconfig
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import report
from services.guard.app import detector
from services.guard.detector import Detector
from services.guard.policies import Policies
from services.guard.training import files

SEED, FILES, LONGEST = 23, 600, 12_000
KINDS = (".py", ".pyi", ".js", ".ts", ".mjs", ".h", ".c", ".pyx", ".go")
FIRST = "Maria James Fatima Wei Olga Kwame Sofia Lars Priya Mateo Aiko Hannah".split()
LAST = "Gonzalez Whitfield Haddad Zhang Petrova Mensah Rossi Lindqvist Raman Alvarez Tanaka Brenner".split()
LINES = {
    "PERSON": (
        'customer = Customer(name="{}")', 'assert order.buyer == "{}"', "# Asked for by {}, see the ticket.", "// Asked for by {}.",
        'const owner = "{}";', 'users.append(User("{}", 7))', "        '{}',",
    ),
    "EMAIL": ('notify("{}")', "# Ask {} before a change.", 'const to = "{}";', 'user.email = "{}"'),
    "SECRET": ('api_key = "{}"', 'const token = "{}";', "client = Client(secret='{}')", 'os.environ["API_KEY"] = "{}"', "password = '{}'"),
}  # fmt: skip
ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


def texts(folders: list[Path], chance: random.Random) -> list[str]:
    """The beginnings of files, of packages that were left out."""
    found = [file for folder in folders for file in files.unfitted(folder) if file.name.endswith(KINDS)]
    chance.shuffle(found)
    read = (file.read_text(errors="ignore")[:LONGEST] for file in found)
    return list(islice((text for text in read if text.count("\n") > 10), FILES))


def value(kind: str, chance: random.Random) -> str:
    first, last = chance.choice(FIRST), chance.choice(LAST)
    match kind:
        case "PERSON":
            return f"{first} {last}"
        case "EMAIL":
            return f"{first}.{last}@mail-{chance.randrange(99)}.net".lower()
    return "".join(chance.choices(ALPHABET, k=chance.choice((16, 24, 32, 40))))


def planted(text: str, kind: str, chance: random.Random) -> tuple[str, int, int]:
    """The text with a value in a line of its own, and where the value stands."""
    lines, made = text.split("\n"), value(kind, chance)
    at, line = chance.randrange(1, len(lines)), chance.choice(LINES[kind]).format(made)
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    before = "\n".join(lines[:at]) + f"\n{indent}"
    start = len(before) + line.index(made)
    return f"{before}{line}\n" + "\n".join(lines[at:]), start, start + len(made)


def found(one: Detector, kind: str, given: list[str], chance: random.Random) -> float:
    hits = 0
    for text in report.progress(given, f"planted: {kind}"):
        whole, start, end = planted(text, kind, chance)
        hits += any(hit.type == kind and hit.start < end and hit.end > start for hit in one.find(whole))
    return hits / len(given)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folders", type=Path, nargs="*", default=[Path(sysconfig.get_path("purelib"))])
    args = asked.parse_args()
    chance, one, policy = random.Random(SEED), detector(), Policies().of("*").prompt
    given = texts(args.folders, chance)
    by_type, masked_files = Counter[str](), 0
    for text in report.progress(given, "what is masked"):
        hits = [hit.type for hit in one.find(text, unwanted=policy.allowed)]
        by_type.update(hits)
        masked_files += any(policy.firm(kind) for kind in hits)
    lines = sum(text.count("\n") + 1 for text in given)
    firm = sum(count for kind, count in by_type.items() if policy.firm(kind))
    facts: dict[str, Any] = {
        "files": len(given),
        "lines": lines,
        "files_masked": masked_files / len(given),
        "masked_per_1000_lines": firm / lines * 1000,
        "masked_beside_per_1000_lines": (by_type.total() - firm) / lines * 1000,
        **{f"{kind.lower()}_found": found(one, kind, given, chance) for kind in LINES},
    }
    rows = [(name, report.rounded(fact)) for name, fact in facts.items()]
    report.table("programs under the default policy", ("measure", "value"), rows)
    report.finish(facts | {"by_type": dict(by_type.most_common())})


if __name__ == "__main__":
    main()
