"""The name that was meant, where one is near enough to be it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

NEAR = 0.7
"""How much of two names is alike (difflib's ratio) where one is taken for the other: `gpu` is not `cpu`, at .67."""


def nearest(given: str, names: Iterable[str]) -> str | None:
    """Return the name that is alike, has the same letters, or begins the other; None where none does.

    >>> nearest("resent20", ["resnet20", "mlp"]), nearest("tei", ["tie", "to"]), nearest("maximize", ["max", "min"])
    ('resnet20', 'tie', 'max')
    >>> nearest("gpu", ["cpu", "openvino-cpu"])
    """
    known = list(names)
    alike = get_close_matches(given, known, n=1, cutoff=NEAR)
    letters = [name for name in known if sorted(name) == sorted(given)]
    begun = [name for name in known if _begins(name, given)]
    return next(iter([*alike, *letters, *begun]), None)


def _begins(name: str, given: str) -> bool:
    """Say whether one begins the other, by two letters at least or all but one."""
    short, long = sorted((name, given), key=len)
    return long.startswith(short) and len(short) > 0 and (len(short) > 1 or len(long) == 2)


MOST_NAMES = 40
"""How many names are listed; of more, those that hold what was given."""


def listed(given: str, names: Sequence[str]) -> str:
    """Return names in one line; of very many those that hold what was given, and how many there are.

    >>> listed("b", ["a", "b"])
    'a, b'
    >>> listed("red", [*map(str, range(50)), "dark-red"])
    'dark-red and 50 more'
    >>> listed("blue", [*map(str, range(50))])
    'any of 50'
    """
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    alike = [name for name in names if given and given.lower() in name.lower()][:MOST_NAMES]
    return f"{', '.join(alike)} and {len(names) - len(alike)} more" if alike else f"any of {len(names)}"
