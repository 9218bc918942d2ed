"""How far a value of a choice is from what is untouched."""

from __future__ import annotations

from whet.core.space import Choice, Value


def distance(choice: Choice, value: Value) -> float:
    """Return how far `value` is from the choice's identity, in [0, 1].

    >>> distance(Choice("a:width", (0.25, 1.0), 1.0), 0.25), distance(Choice("a:keep", (True, False), True), False)
    (0.75, 1.0)
    """
    values = choice.values
    if any(isinstance(v, bool | str) for v in values) or len(values) < 2:
        return 0.0 if value == choice.identity else 1.0
    span = max(abs(float(v)) for v in values)
    return abs(float(value) - float(choice.identity)) / span
