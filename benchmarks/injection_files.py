"""How often what agents read is taken for an attack, and attacks hidden in it are found: `python -m benchmarks.injection_files [FOLDER ...]`.

FOLDERs are of packages, one a folder or a file (the installed ones, where none is named); pieces are cut of those packages that the shipped
classifier was not fitted on, bare and wrapped as agents hand results of tools to a model, beside outputs of commands and whole files. Each is
judged as the default policy judges a document.
"""

import argparse
import random
import sysconfig
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import report
from benchmarks.local_encoder import LocalEncoder
from services.guard.injection import Injection
from services.guard.opinion import MiniLM, Opinion
from services.guard.policies import Policies
from services.guard.training import files
from services.guard.training.hostile import TEMPLATES, hostile

SEED, PIECES, OUTPUTS, WHOLE, HIDDEN = 21, 1_000, 300, 200, 500
LARGEST = 60_000
UNSEEN = TEMPLATES[3::4]
"""Templates of attacks that the classifier was not fitted on."""


def whole_files(folders: list[Path]) -> list[str]:
    """Files as they are, of packages that were left out."""
    chance, made = random.Random(SEED), list[str]()
    found = [file for folder in folders for file in files.unfitted(folder)]
    chance.shuffle(found)
    for file in found:
        if 200 < file.stat().st_size < LARGEST:
            made.append(file.read_text(errors="ignore"))
        if len(made) == WHOLE:
            break
    return made


async def blocked(texts: list[str], opinion: Opinion, limit: float, name: str) -> float:
    """The share that reaches the limit."""
    found = 0
    for text in report.progress(texts, name):
        found += await opinion.probability(text, None, limit) >= limit
    return found / len(texts)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folders", type=Path, nargs="*", default=[Path(sysconfig.get_path("purelib"))])
    args = asked.parse_args()
    opinion = Opinion(Injection(), MiniLM(LocalEncoder()))  # type: ignore[arg-type]
    limit = Policies().of("*").document_injection
    pieces = files.pieces(args.folders, PIECES, SEED, held_out=True)
    whole, outputs = whole_files(args.folders), files.printed(OUTPUTS, SEED, files.PRINTED[3::4])
    attacks = hostile(HIDDEN, SEED, UNSEEN)
    sets = {
        "pieces_blocked": pieces,
        "whole_files_blocked": whole,
        "outputs_blocked": outputs,
        "attacks_found": attacks,
        "attacks_hidden_in_pieces_found": files.hidden(pieces[:HIDDEN], attacks, SEED),
        "attacks_hidden_in_whole_files_found": files.hidden(whole, attacks, SEED),
    }
    made: dict[str, Any] = {name: uvloop.run(blocked(texts, opinion, limit, name)) for name, texts in sets.items()}
    rows = [(name, str(len(texts)), str(report.rounded(made[name]))) for name, texts in sets.items()]
    report.table("what agents read, as documents", ("measure", "texts", "share"), rows)
    report.finish(made)


if __name__ == "__main__":
    main()
