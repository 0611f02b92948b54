"""Trains the screen: `python -m services.cache.training.screen DATA_DIR`, after the verifier.

It learns from the verifier's own verdicts on the verifier's training pairs, and on pairs of long prompts that share
only their form. The threshold lets pass 99 % of what the verifier serves on pairs held out.
"""

import argparse
import itertools
import json
import random
from hashlib import sha256
from pathlib import Path

import numpy as np
from sklearn.neural_network import MLPClassifier

from services.cache import screen
from services.cache.training.pairs import made
from services.cache.training.verifier import Likeness, fitted_rows, neighbours
from services.cache.verifier import session
from services.guard.training.benign import sentences

RECALL = 0.99
SERVED = 0.95
"""A chance near the lowest threshold that a tenant may choose."""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path)
    args = asked.parse_args()
    chance, like, fitted = random.Random(5), Likeness(), fitted_rows(args.data)
    own = sentences(600, 21)
    texts = [row["text"] for some in fitted.values() for row in some] + own
    like.learn(texts, "texts")
    pairs = [(a, b) for a, b, *_ in made(texts, chance, 4)]
    pairs += [(a, b) for some in fitted.values() for a, b, *_ in neighbours(some, like)]
    longer = [" ".join(chance.sample(own, 3)) for _ in range(1500)]
    pairs += [(a, f"{a.split('.')[0]}. {b}") for a, b in itertools.pairwise(longer)]
    pairs += list(itertools.pairwise(chance.sample(own, 500)))
    like.learn([text for pair in pairs for text in pair], "pairs")
    full = np.stack([like.facts(a, b) for a, b in pairs])
    served = np.asarray(session().run(None, {"facts": full})[0]).ravel() >= SERVED
    x = np.array(
        [screen.facts(screen.gist(a), screen.gist(b), float(f[1])) for (a, b), f in zip(pairs, full, strict=True)]
    )
    held = np.array([sha256(a.encode()).digest()[0] < 64 for a, _ in pairs])
    net = MLPClassifier((16,), alpha=1e-4, max_iter=400, random_state=1).fit(x[~held], served[~held])
    logits = (np.maximum(x @ net.coefs_[0] + net.intercepts_[0], 0) @ net.coefs_[1] + net.intercepts_[1]).ravel()
    least = float(np.quantile(logits[held & served], 1 - RECALL))
    passed = float((logits[held & ~served] >= least).mean())
    print(f"{len(pairs)} pairs; of those the verifier refuses {passed:.1%} pass, of those it serves {RECALL:.1%}")
    card = {
        "model": "screen-1",
        "data": "the verifier's verdicts on its training pairs and on own sentences",
        "train": "python -m services.cache.training.screen DATA_DIR",
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
