"""Builds a shard's graphs, in a process of its own: `python -m services.retrieval.tidying FOLDER`.

Qdrant Edge does so when it is told to, and lets nobody else work in its process meanwhile.
"""

import os
import sys

import qdrant_edge as q

NICE = 10


def main(folder: str) -> None:
    os.nice(NICE)
    shard = q.EdgeShard.load(folder)
    shard.optimize()
    shard.flush()
    shard.close()


if __name__ == "__main__":
    main(sys.argv[1])
