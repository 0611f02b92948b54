"""Prompts of about 35 tokens about many different things, for load: no two alike, no data of anybody's."""

import random
from pathlib import Path

ACTS = ("Explain", "Summarise", "List the main points of", "Compare two views on", "Write a short note about",
        "Give an example of", "Describe how one tests", "Outline the history of", "Criticise", "Translate into plain words")  # fmt: skip
THINGS = ("tidal power", "sourdough", "queue theory", "beekeeping", "medieval trade law", "compiler passes", "glacier melt",
          "orchestral tuning", "vaccine storage", "chess endings", "railway signalling", "soil acidity", "credit scoring",
          "violin varnish", "bird migration", "cement curing", "tax treaties", "fermentation", "satellite orbits",
          "typefaces", "labour contracts", "volcanic ash", "database locks", "opera staging", "desert irrigation")  # fmt: skip
SIDES = ("for a school class", "for an insurance clerk", "for a night shift nurse", "for a small town council",
         "for a retired sailor", "for a new engineer", "for a careful buyer", "for a busy judge")  # fmt: skip
COMMON = Path("services/guard/artefacts/common.txt")


def made(number: int, seed: int = 1) -> list[str]:
    chance = random.Random(seed)
    fill = [word for word in COMMON.read_text().split() if word.isalpha() and len(word) > 3]
    return [
        f"{chance.choice(ACTS)} {chance.choice(THINGS)} {chance.choice(SIDES)}, and mention "
        f"{' '.join(chance.sample(fill, 9))} in passing, in {chance.randint(40, 900)} words."
        for _ in range(number)
    ]
