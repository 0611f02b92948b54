"""Where a text turns to something else, by the static vectors of its paragraphs."""

import numpy as np
import numpy.typing as npt

LEAST = 5
"""Paragraphs below which nothing can be said of what is usual in a text."""


def turns(vectors: npt.NDArray[np.float32]) -> list[int]:
    """Indexes of paragraphs that begin a topic: those less like the one before than is usual in this text.

    `vectors` is (paragraphs, dimensions), rows of unit length. As TextTiling does it (Hearst 1997), with vectors in place of
    words: a boundary where the cosine to the paragraph before is more than a standard deviation below the mean.
    """
    if len(vectors) < LEAST:
        return []
    alike = np.einsum("nd,nd->n", vectors[:-1], vectors[1:])
    return [int(n) + 1 for n in np.flatnonzero(alike < alike.mean() - alike.std())]
