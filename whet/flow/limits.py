"""Limits as people write them: `15min`, `1%`."""

from __future__ import annotations

import re

from whet.core.errors import WhetError

_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class LimitError(WhetError):
    """A limit that cannot be read."""


def seconds(text: str | float) -> float:
    """Return a duration in seconds.

    >>> seconds("15min"), seconds("90s"), seconds("1.5h"), seconds(30)
    (900.0, 90.0, 5400.0, 30.0)
    """
    if isinstance(text, int | float):
        value, unit = float(text), ""
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text)
        if not match or match[2] not in _UNITS:
            raise LimitError(f"budget must be a duration such as 90s, 15min or 1.5h; got '{text}'.")
        value, unit = float(match[1]), match[2]
    if value * _UNITS[unit] <= 0:
        raise LimitError(f"budget must be longer than nothing; got '{text}'.")
    return value * _UNITS[unit]


def fraction(text: str | float | None) -> float | None:
    """Return a share: `1%` and 0.01 are the same.

    >>> fraction("1%"), fraction("0.01"), fraction(0.01), fraction(None)
    (0.01, 0.01, 0.01, None)
    """
    if text is None or isinstance(text, int | float):
        value = None if text is None else float(text)
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
        if not match:
            raise LimitError(f"max_drop must be a share such as 1% or 0.01; got '{text}'.")
        value = float(match[1]) / (100.0 if match[2] else 1.0)
    if value is not None and not 0 <= value < 1:
        raise LimitError(f"max_drop must lie in [0, 1), where 0.01 is one per cent; got '{text}'.")
    return value
