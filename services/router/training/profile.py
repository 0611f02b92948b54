"""Places a new model by graded answers: `python -m services.router.training.profile NAME FILE.jsonl`.

FILE has `{"prompt": ..., "good": true}` a line. Prints the profile to put into the settings.
"""

import argparse
import json
import sys
from pathlib import Path

from services.encoder.app import tokenizer
from services.encoder.static import StaticEncoder
from services.router.predictor import Predictor
from services.router.profiles import graded


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("name", help="of the model in the mesh")
    asked.add_argument("file", type=Path)
    args = asked.parse_args()
    encoder, predictor = StaticEncoder(tokenizer()), Predictor()
    rows = [json.loads(line) for line in args.file.read_text().splitlines() if line.strip()]
    answers = [(predictor.predict(row["prompt"], encoder.encode(row["prompt"])), bool(row["good"])) for row in rows]
    made = graded(answers)
    profile = {"ability": made.ability, "by_task": dict(made.by_task)}
    sys.stdout.write(f"# from {len(answers)} graded answers, {sum(good for _, good in answers)} of them good\n")
    sys.stdout.write(json.dumps({"router": {"profiles": {args.name: profile}}}) + "\n")


if __name__ == "__main__":
    main()
