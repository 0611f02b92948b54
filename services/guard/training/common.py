"""Lists words that are practically never part of a name: `python -m services.guard.training.common DATA_DIR`.

A text made of such words alone need not be tagged. A word counts as common when it stands outside every
span at least five times and inside one never, in the labelled data and in the fillings of our own templates.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from services.guard.training.templates import Filler
from services.guard.words import words

ARTEFACTS = Path(__file__).parent.parent / "artefacts"
ENOUGH = 3
FILES = ("ner_train.jsonl", "pii_synthetic.jsonl", "pii_presidio_templates.jsonl")
PLAIN = ("injection.jsonl",)
"""Texts without spans: their words count only where they are in lower case."""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path)
    args = asked.parse_args()
    outside, inside = Counter[str](), Counter[str]()
    rows = [json.loads(line) for name in FILES for line in (args.data / name).read_text().splitlines()]
    texts = [(row["text"], [(s["start"], s["end"]) for s in row["spans"]]) for row in rows]
    texts += [(text, [(start, end) for start, end, _ in spans]) for text, spans in Filler(11).sentences(9000)]
    for text, spans in texts:
        for word in words(text):
            within = any(word.start < end and word.end > start for start, end in spans)
            (inside if within else outside)[word.text.lower() if within else word.text] += 1
    for name in PLAIN:
        for line in (args.data / name).read_text().splitlines():
            outside.update(word.text for word in words(json.loads(line)["text"]) if word.text.islower())
    common = sorted(
        word for word, count in outside.items()
        if count >= ENOUGH and word[0].isalpha() and word.isascii()
        and inside[word.lower()] <= 0.002 * (outside[word] + outside[word.lower()])
        and (word.islower() or outside[word.lower()] >= 10)
    )  # fmt: skip
    (ARTEFACTS / "common.txt").write_text("\n".join(common) + "\n")
    print(f"{len(common)} words")


if __name__ == "__main__":
    main()
