"""Tells languages apart, for policies and routes that name some."""

from functools import cache
from typing import Any

LEAST_LETTERS, SURE = 20, 0.9
LONGEST = 2_000
"""Characters that are enough to tell."""


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # half a second: only where a policy asks

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def language(text: str) -> str:
    """ISO 639-1; '' for a text that is too short to tell, or could be several."""
    text = text[:LONGEST]
    if sum(map(str.isalpha, text)) < LEAST_LETTERS:
        return ""
    name, sure = _identifier().classify(text)
    return str(name) if sure >= SURE else ""
