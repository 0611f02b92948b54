"""Words as sparse vectors: the one BM25 of the engines that keep its IDF themselves."""

import qdrant_edge as q

TERMS = 80.0
"""Terms, without stop words, that a passage has on average: shorter ones count as more about each of theirs. Prose that is cut to
passages of the usual size was seen to have 72 to 79; the library's own figure is that of whole documents, 256."""


def bm25() -> q.Bm25:
    return q.Bm25(q.Bm25Config(avg_len=TERMS))
