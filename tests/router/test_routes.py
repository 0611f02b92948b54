"""A tenant's routes: what is taken, what it says in place of the policy, and what is wrong with the settings."""

from collections.abc import Callable

from services.router.conditions import Seen
from services.router.policy import CascadePolicy, Policy, Route
from services.router.ranking import Needs
from services.router.routes import considered, faults, routes, taken, under
from services.router.subjects import Subjects
from services.router.training.questions import questions
from services.router.when import When
from tests.support.encoders import minilm_session

TAX = Route("tax", When(words=("tax",)), models=("big",))
LAW = Route("law", When(subjects=("law",)))
REST = Route("rest")


def seen(text: str) -> Seen:
    return Seen(text, None, Needs(), "", {}, "acme/app")


def telling(subject: str, told: list[str]) -> Callable[[Seen], object]:
    async def tell(one: Seen) -> None:
        told.append(one.text)
        one.met, one.subject = True, (subject, 0.9)

    return tell


async def test_the_first_that_holds_is_taken() -> None:
    among, told = routes(Policy(routes=(TAX, LAW, REST))), list[str]()
    for text, subject, expected in (("my tax", "law", "tax"), ("to sue", "law", "law"), ("hello", "other", "rest")):
        found = await taken(among, seen(text), telling(subject, told))  # type: ignore[arg-type]
        assert found is not None and found.route.name == expected
    assert told == ["to sue", "hello"]  # the first was decided by its words
    assert await taken(routes(Policy(routes=(TAX,))), seen("hello"), telling("", told)) is None  # type: ignore[arg-type]


async def test_what_was_looked_at_is_told() -> None:
    among, one = routes(Policy(routes=(TAX, LAW, REST))), seen("to sue")
    found = await taken(among, one, telling("law", []))  # type: ignore[arg-type]
    assert list(considered(among, one, found)) == [("tax", "words: none is there"), ("law", "")]
    assert list(considered(among, one, None))[1:] == [("law", ""), ("rest", "")]


def test_a_route_says_what_holds_in_place_of_the_policy() -> None:
    policy = Policy(
        rule="fixed", model="small", quality_floor=0.9, weights={"small": 1.0}, regions=("eu",), sticky=True
    )
    made = under(policy, Route("r", models=("big", "other"), price_ceiling_usd=0.0, quality_floor=0.0))
    assert (made.models, made.price_ceiling_usd, made.quality_floor) == (("big", "other"), 0.0, 0.0)
    assert (made.rule, made.model, made.weights) == ("fixed", "small", {"small": 1.0})
    made = under(policy, Route("r", rule="fastest"))
    assert (made.rule, made.model, made.weights, made.quality_floor, made.sticky) == ("fastest", "", {}, 0.9, True)
    made = under(policy, Route("r", weights={"big": 0.5}))
    assert (made.rule, made.model, made.weights) == ("cheapest_above", "", {"big": 0.5})
    assert under(policy, Route("r", cascade=CascadePolicy(0.7))).cascade == CascadePolicy(0.7)
    assert under(policy, Route("r", regions=("us",))).regions == ("eu",)  # a limit of the tenant's stays one


def test_all_mistakes_are_named_with_their_place() -> None:
    wrong = Route(
        "tax", When(subjects=("laws",), patterns=("(",), any=(When(tasks=("sing",), unlike=("x",)),), words=(" ",)), rule="best",
        reasoning_effort="huge",
    )  # fmt: skip
    at = "acme.yaml"
    told = faults(at, Policy(rule="cheap", routes=(TAX, wrong, Route(""))))
    assert [one.split(":")[0] for one in told] == [
        f"{at}.rule", f"{at}.routes[1].name", f"{at}.routes[1].rule", f"{at}.routes[1].reasoning_effort",
        f"{at}.routes[1].when.subjects", f"{at}.routes[1].when.patterns[0]", f"{at}.routes[1].when.words[0]",
        f"{at}.routes[1].when.any[0].tasks", f"{at}.routes[1].when.any[0].unlike", f"{at}.routes[2].name",
    ]  # fmt: skip
    assert "'laws' is none of biology, business" in told[4] and "missing )" in told[5]
    assert faults(at, Policy(routes=(TAX, LAW, REST))) == []


def test_what_routes_look_at_is_known() -> None:
    among = routes(
        Policy(routes=(Route("a", When(metadata={"tier": ("gold",)})), Route("b", When(accounts=("acme/x",)))))
    )
    assert (among.labels, among.account) == (frozenset({"tier"}), True)
    assert routes(Policy(routes=(TAX,))).labels == frozenset()


def test_subjects_are_told() -> None:
    """Of questions that none was trained on, four in five."""
    subjects, asked = Subjects(), list(questions(held_out=True))
    found = [subjects.of(vector)[0] for vector in minilm_session().run([text for text, _ in asked])]
    right = [told == subject for told, (_, subject) in zip(found, asked, strict=True)]
    assert sum(right) >= 0.8 * len(right)
