"""Values that a user gives, checked once at the edge: `positive`, `whole`, `share`."""

from __future__ import annotations

import math
import numbers
from typing import Any

from whet.core.errors import WhetError


class ValueRangeError(WhetError):
    """A value that is no number or lies outside of what is allowed."""


def real(value: Any) -> float | None:
    """Return a real number as a float; None for what is none, truth values among them."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    return float(value)


def positive(name: str, value: Any, zero: bool = False) -> float:
    """Return a finite number above zero (`zero`: or zero), or raise `ValueRangeError`.

    >>> positive("seconds", 1.5)
    1.5
    >>> positive("epochs", -1)
    Traceback (most recent call last):
        ...
    whet.core.checks.ValueRangeError: epochs must be a number above 0; got -1.
    """
    least = "of at least 0" if zero else "above 0"
    number = real(value)
    if number is None or not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise ValueRangeError(f"{name} must be a number {least}; got {value!r:.80}.")
    return number


def whole(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number of at least `least`, or raise `ValueRangeError`.

    >>> whole("trials", 8)
    8
    """
    number = real(value)
    if number is None or not math.isfinite(number) or number != int(number) or number < least:
        raise ValueRangeError(f"{name} must be a whole number of at least {least}; got {value!r:.80}.")
    return int(number)


def share(name: str, value: Any) -> float:
    """Return a number in [0, 1], or raise `ValueRangeError`.

    >>> share("warmup", 0.05)
    0.05
    """
    number = real(value)
    if number is None or not 0 <= number <= 1:
        raise ValueRangeError(f"{name} must lie in [0, 1]; got {value!r:.80}.")
    return number
