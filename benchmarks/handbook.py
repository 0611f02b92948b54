"""Handbooks of companies that do not exist, with questions whose answers stand in them: our own sentences.

Every fact is told of several subjects, so that the right words in the wrong sentence do not help; some answers stand
in the sentence after the one that names the subject. Questions use other words than the text where they can.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

PLACES = ("Lisbon", "Oslo", "Krakow", "Dublin", "Ghent", "Turin", "Malmo", "Porto", "Graz", "Leeds", "Nantes", "Basel")
TEAMS = ("billing", "search", "payroll", "logistics", "design", "security", "support", "research", "legal", "hiring")
PEOPLE = ("Ada Brandt", "Tomas Vela", "Ines Okafor", "Ruth Halvorsen", "Kenji Moreau", "Lena Fischer", "Omar Diallo",
          "Paula Reyes", "Viktor Lund", "Mei Castell")  # fmt: skip
THINGS = ("the archive server", "the label printer", "the van", "the badge reader", "the coffee machine",
          "the build cluster", "the meeting screen", "the backup generator", "the scanner", "the forklift")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """How a fact is told, and asked for. `{s}` is its subject, `{a}` the answer."""

    subjects: tuple[str, ...]
    told: tuple[str, ...]
    asked: tuple[str, ...]
    answers: tuple[str, ...]


def numbers(low: int, high: int, words: str) -> tuple[str, ...]:
    return tuple(words.format(n) for n in range(low, high, max((high - low) // 40, 1)))


FACTS = (
    Fact(PLACES, ("The guest house in {s} has nine rooms. A night there costs {a}.", "In {s} a night in the guest house is charged at {a}."),
         ("What do I pay to stay overnight in {s}?", "How much is one night in {s}?"), numbers(40, 200, "{} euros")),
    Fact(PLACES, ("The {s} office opens at {a} on weekdays.", "On working days staff can enter the {s} office from {a}."),
         ("When can I get into the {s} office in the morning?", "From what time is {s} open?"), numbers(6, 10, "{}:15")),
    Fact(PLACES, ("Parking in {s} is limited. Visitors find {a} spaces behind the building.", "Behind the {s} building there are {a} spaces for visitors."),
         ("How many visitors can leave their car in {s}?", "How many parking places does {s} have for guests?"), numbers(3, 60, "{}")),
    Fact(PLACES, ("The fire assembly point for {s} is {a}.", "If the alarm sounds in {s}, everybody gathers at {a}."),
         ("Where do we meet when there is a fire in {s}?", "Where should people go if the alarm rings in {s}?"),
         tuple(f"the {w} {p}" for w in ("old", "north", "small", "stone") for p in ("bridge", "gate", "playground", "fountain"))),
    Fact(PLACES, ("The landlord in {s} is {a}.", "We rent the rooms in {s} from {a}."),
         ("Who owns our rooms in {s}?", "From whom do we lease the {s} office?"),
         tuple(f"{n} Holdings" for n in ("Arbor", "Fenwick", "Castor", "Meridian", "Tessel", "Quayside", "Larch", "Pallas"))),
    Fact(TEAMS, ("The {s} team is led by {a}.", "{a} has been at the head of the {s} team since spring."),
         ("Who runs {s}?", "Who is the boss of the {s} team?"), PEOPLE),
    Fact(TEAMS, ("The {s} team meets every {a}.", "{a} is the day on which the {s} team holds its weekly meeting."),
         ("On which day does {s} have its regular meeting?", "When does the {s} team come together?"),
         ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")),
    Fact(TEAMS, ("Requests to the {s} team are answered within {a}.", "The {s} team promises a first answer in {a}."),
         ("How long will I wait for a reply from {s}?", "How fast does {s} respond?"), numbers(2, 70, "{} hours")),
    Fact(TEAMS, ("Last year the {s} team spent a good deal on travel. Its budget for this year is {a}.", "For this year {a} have been set aside for the {s} team."),
         ("How much money does {s} have to spend this year?", "What is the yearly budget of {s}?"), numbers(20_000, 900_000, "{} euros")),
    Fact(TEAMS, ("The on-call phone of the {s} team has the extension {a}.", "Dial {a} to reach whoever is on call for the {s} team."),
         ("Which number reaches {s} at night?", "What is the on-call extension for {s}?"), numbers(2000, 9000, "{}")),
    Fact(PEOPLE, ("{s} joined the company in {a}.", "{s} came to us from a competitor. That was in {a}."),
         ("Since when has {s} worked here?", "In what year did {s} start?"), numbers(1998, 2024, "{}")),
    Fact(PEOPLE, ("{s} works from {a}.", "You will find the desk of {s} in {a}."),
         ("In which city does {s} sit?", "Where is {s} based?"), PLACES),
    Fact(PEOPLE, ("{s} approves expenses of up to {a}.", "Spending below {a} needs no more than the signature of {s}."),
         ("What is the most that {s} may sign off?", "Up to what sum can {s} approve a purchase?"), numbers(500, 20_000, "{} euros")),
    Fact(THINGS, ("{s} is serviced every {a}.", "A technician looks after {s}. The visits take place every {a}."),
         ("How often does {s} get maintenance?", "At what interval is {s} checked?"), numbers(3, 90, "{} days")),
    Fact(THINGS, ("{s} was bought in {a}.", "We purchased {s} in {a}."),
         ("How old is {s}: when did we acquire it?", "In which year did we get {s}?"), numbers(2005, 2024, "{}")),
    Fact(THINGS, ("The key to {s} is kept {a}.", "Whoever needs {s} finds its key {a}."),
         ("Where can I find what unlocks {s}?", "Where is the key for {s}?"),
         tuple(f"{w} the {p}" for w in ("under", "behind", "inside") for p in ("reception desk", "red cabinet", "loading dock", "stairs"))),
    Fact(THINGS, ("When {s} fails, call {a}.", "{a} mends {s} when it breaks down."),
         ("Who repairs {s}?", "Whom do I ring if {s} stops working?"),
         tuple(f"{n} Services" for n in ("Harrow", "Elmbrook", "Ostrand", "Pike", "Sollis", "Brae"))),
)  # fmt: skip

FILLERS = (
    "We take pride in how we treat one another.", "Please read this page again whenever it changes.",
    "Much of this has grown over the years and will go on growing.", "Questions are welcome at any time.",
    "Nobody expects a newcomer to know all of it by heart.", "Plants in the corridors are watered by volunteers.",
    "The kitchen is cleaned by those who use it.", "Feedback helps us to keep these pages short.",
    "Some of these rules were written after something had gone wrong.", "Newcomers get a tour in their first week.",
    "The company was founded by three friends in a garage.", "We print as little as we can.",
    "Bicycles may be brought inside when it rains.", "Every floor has a quiet room.",
    "Lost property is collected and given away at the end of the season.", "Music is fine as long as neighbours agree.",
)  # fmt: skip
HEADINGS = ("Offices", "Teams and how to reach them", "People", "Equipment", "Daily life", "Money and approvals")


@dataclass(frozen=True, slots=True)
class Question:
    passages: list[str]
    """About 4,000 tokens in all."""
    question: str
    answer: str
    evidence: str
    """The words that must be left for the answer to be there."""


def questions(number: int, seed: int = 1, sentences: int = 380) -> Iterator[Question]:
    """The same for the same seed."""
    rng = random.Random(seed)
    for _ in range(number):
        told = dict[tuple[int, str], str]()
        paragraphs = list[str]()
        while sum(text.count(". ") + 1 for text in paragraphs) < sentences:
            n = rng.randrange(len(FACTS))
            fact = FACTS[n]
            subject = rng.choice(fact.subjects)
            if (n, subject) in told:
                paragraphs.append(rng.choice(FILLERS))
                continue
            text = rng.choice(fact.told).format(s=subject, a=(answer := rng.choice(fact.answers)))
            told[n, subject] = f"{answer}\0{text}"
            paragraphs.append(text[0].upper() + text[1:])
        (n, subject), found = rng.choice(list(told.items()))
        answer, _, evidence = found.partition("\0")
        asked = rng.choice(FACTS[n].asked).format(s=subject)
        passages, size = list[str](), -(-len(paragraphs) // len(HEADINGS))
        for at, heading in enumerate(HEADINGS):
            part = paragraphs[at * size : (at + 1) * size]
            lines = [" ".join(part[k : k + 4]) for k in range(0, len(part), 4)]
            passages.append(f"## {heading}\n\n" + "\n\n".join(lines))
        yield Question(passages, asked, answer, evidence[0].upper() + evidence[1:])
