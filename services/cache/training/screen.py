"""Trains the screen: `python -m services.cache.training.screen DATA_DIR [--texts FILE ...]`, after the verifier.

It learns from the verifier's own verdicts on the cases that the verifier was trained with, and on pairs of prompts that
share only their form. The threshold lets pass 99 % of what the verifier serves on stored texts that were held out.
"""

import argparse
import itertools
import json
import random
from pathlib import Path

import numpy as np
from sklearn.neural_network import MLPClassifier

from services.cache import screen
from services.cache.likeness import NAMES
from services.cache.training.cases import Likeness, gathered
from services.cache.verifier import session
from services.guard.training.benign import sentences

RECALL = 0.99
SERVED = 0.6
"""A chance near the lowest threshold that a tenant may choose."""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path)
    asked.add_argument("--texts", type=Path, nargs="*", default=[])
    args = asked.parse_args()
    chance, like = random.Random(5), Likeness()
    found = gathered(args.data, args.texts, like)
    served = np.asarray(session().run(None, {"facts": found.facts})[0]).ravel() >= SERVED
    pairs = [(a, b) for a, b, *_ in found.cases]
    statics = [float(row[NAMES.index("static")]) for row in found.facts]
    own = sentences(600, 21)
    longer = [" ".join(chance.sample(own, 3)) for _ in range(1500)]
    strangers = [(a, f"{a.split('.')[0]}. {b}") for a, b in itertools.pairwise(longer)]
    strangers += list(itertools.pairwise(chance.sample(own, 500)))
    like.learn([text for pair in strangers for text in pair], "strangers")
    statics += [float(like.vectors(a)[1] @ like.vectors(b)[1]) for a, b in strangers]
    served = np.concatenate([served, np.zeros(len(strangers), bool)])
    held = np.concatenate([found.held, np.array([n % 5 == 0 for n in range(len(strangers))])])
    x = np.array(
        [
            screen.facts(screen.gist(a), screen.gist(b), static)
            for (a, b), static in zip(pairs + strangers, statics, strict=True)
        ]
    )
    net = MLPClassifier((16,), alpha=1e-4, max_iter=400, random_state=1).fit(x[~held], served[~held])
    logits = (np.maximum(x @ net.coefs_[0] + net.intercepts_[0], 0) @ net.coefs_[1] + net.intercepts_[1]).ravel()
    least = float(np.quantile(logits[held & served], 1 - RECALL))
    passed = float((logits[held & ~served] >= least).mean())
    foreign = held & (np.arange(len(x)) >= len(pairs))
    print(f"{len(x)} pairs; of those the verifier refuses {passed:.1%} pass, of those it serves {RECALL:.1%}")
    print(f"of strangers {float((logits[foreign] >= least).mean()) if foreign.any() else 0.0:.1%} pass")
    card = {
        "model": "screen-2",
        "data": "the verifier's verdicts on its training cases, and pairs of own sentences",
        "train": "python -m services.cache.training.screen DATA_DIR --texts FILE ...",
        "held_out": {"passed_of_served": RECALL, "passed_of_refused": round(passed, 4)},
        "least": least,
        "w": np.round(net.coefs_[0], 5).tolist(),
        "b": np.round(net.intercepts_[0], 5).tolist(),
        "v": np.round(net.coefs_[1][:, 0], 5).tolist(),
        "c": float(net.intercepts_[1][0]),
    }
    screen.ARTEFACT.write_text(json.dumps(card) + "\n")


if __name__ == "__main__":
    main()
