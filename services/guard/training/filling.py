"""Templates filled by chance."""

import random
from collections.abc import Mapping, Sequence


def filled(template: str, fills: Mapping[str, Sequence[str]], chance: random.Random) -> str:
    """`template` with each `{name}` replaced by one of `fills`, which may hold names of later ones."""
    for name, values in fills.items():
        while f"{{{name}}}" in template:
            template = template.replace(f"{{{name}}}", chance.choice(values), 1)
    return template
