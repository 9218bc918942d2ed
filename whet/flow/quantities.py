"""Limits as people write them: `15min`, `1%`, `0.5pt`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from whet.core.checks import positive as positive
from whet.core.checks import whole as whole
from whet.core.errors import WhetError
from whet.core.task import Task

_UNITS = {
    **dict.fromkeys(("us", "µs"), 1e-6),
    "ms": 1e-3,
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
}
_PART = r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-zµ]*)\s*"


class LimitError(WhetError):
    """A limit that cannot be read."""


def seconds(text: str | float, name: str = "budget", like: str = "90s, 15min or 1h30m") -> float:
    """Return a duration in seconds; several parts add up.

    >>> seconds("15 minutes"), seconds("90 s"), seconds("1h30m"), seconds(30)
    (900.0, 90.0, 5400.0, 30.0)
    >>> seconds("2ms", "p99")
    0.002

    Raises: LimitError for what cannot be read, and for nothing.
    """
    parts = re.findall(_PART, str(text).lower())
    units = [unit for _, unit in parts]
    known = all(unit in _UNITS for unit in units) and (len(units) == 1 or "" not in units)
    if not known or isinstance(text, bool) or not re.fullmatch(f"(?:{_PART})+", str(text).lower()):
        raise LimitError(f"{name} must be a duration such as {like}; got '{text}'.")
    total = sum(float(value) * _UNITS[unit] for value, unit in parts)
    if total <= 0:
        raise LimitError(f"{name} must be longer than nothing; got '{text}'.")
    return total


def size_bytes(text: str | float | None, name: str = "max_size") -> float:
    """Return a largest size in bytes, infinite where there is none: `500kB`, `1.5MB`, `2MiB`, or a number of bytes.

    >>> size_bytes("500kB"), size_bytes("1.5 MB"), size_bytes("2MiB"), size_bytes(100), size_bytes(None)
    (500000.0, 1500000.0, 2097152.0, 100.0, inf)

    Raises: LimitError for what cannot be read, and for nothing.
    """
    if text is None:
        return math.inf
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(b|[km]i?b|gi?b)?\s*", str(text).lower())
    if not match or isinstance(text, bool) or float(match[1]) <= 0:
        raise LimitError(f"{name} must be a size such as 500kB, 1.5MB or 2MiB, or a number of bytes; got '{text}'.")
    unit = match[2] or "b"
    scale = (1024.0 if "i" in unit else 1000.0) ** "bkmg".index(unit[0])
    return float(match[1]) * scale


def wanted_of(text: str | Sequence[str]) -> tuple[str, ...]:
    """Return the objectives that a list names.

    >>> wanted_of("size, speed"), wanted_of(["size"])
    (('size', 'speed'), ('size',))
    """
    parts = text.split(",") if isinstance(text, str) else list(text)
    return tuple(part.strip() for part in parts if part.strip())


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


@dataclass(frozen=True)
class Limit:
    """A largest drop as it was written: `%` of the metric's scale, `pt` its points, `""` a number in its own unit."""

    value: float
    unit: Literal["%", "pt", ""]

    def __str__(self) -> str:
        return f"{self.value:g}{self.unit}"


POINTS = ("pt", "pts", "pp", "point", "points")
PERCENT = (
    "accuracy",
    "f1",
    "precision",
    "recall",
    "iou",
    "auc",
    "dice",
    "map",
    "bleu",
    "wer",
    "cer",
    "error_rate",
    "top",
)
"""Names, or parts of names, of metrics that are shares; above 1 they are in per cent."""


def parse(text: str | float | Limit | None) -> Limit | None:
    """Return a largest drop as it is written; `resolved` says what it is in the metric's unit.

    >>> parse("1%"), parse("0.5 pt"), parse(0.01), parse(None)
    (Limit(value=1.0, unit='%'), Limit(value=0.5, unit='pt'), Limit(value=0.01, unit=''), None)

    Raises: LimitError for what cannot be read, and for negative values.
    """
    if text is None or isinstance(text, Limit):
        return text
    match = re.fullmatch(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(%|[a-z]*)\s*", str(text).lower())
    unit: Any = match and ("pt" if match[2] in POINTS else match[2])
    if not match or unit not in ("%", "pt", "") or isinstance(text, bool):
        raise LimitError(
            f"max_drop must be a share of the metric's scale such as 1%, points such as 1pt, or a number in the "
            f"metric's own unit such as 0.01; got '{text}'."
        )
    value = float(match[1])
    if not math.isfinite(value) or value < 0 or (unit == "%" and value >= 100):
        raise LimitError(f"max_drop must be at least 0, and less than 100%; got '{text}'.")
    return Limit(value, unit)


def scale_of(reference: float, task: Task) -> float | None:
    """Return what the metric reaches at best, told from the original's value: 1, 100 (per cent), or None if unknown.

    >>> from whet.core.task import Task
    >>> [scale_of(r, Task("t", None, [1])) for r in (0.911, 91.1, 1500.0)]
    [1.0, 100.0, None]
    """
    if abs(reference) <= 1:
        return 1.0
    percent = any(word in task.metric_name.lower() for word in PERCENT)
    return 100.0 if 1 < reference <= 100 and (percent or task.direction == "max") else None


def resolved(limit: Limit | None, reference: float, task: Task) -> float | None:
    """Return a largest drop in the unit of `Task.loss_of_quality`, once the original's quality is known.

    With `drop="absolute"`: 1% is a hundredth of the metric's scale, so one point of accuracy be it .911 or 91.1, and
    one per cent of the reference where there is no scale; 1pt is the same of a scale, otherwise 1 in the metric's own
    unit; a number is in the metric's own unit. With `drop="relative"`: 1% and 0.01 are a hundredth of the reference,
    1pt is a point as above.

    >>> from whet.core.task import Task
    >>> task = Task("t", None, [1])
    >>> [resolved(parse(text), 91.1, task) for text in ("1%", "1pt", 1.0, "0.5%")]
    [1.0, 1.0, 1.0, 0.5]
    >>> [resolved(parse(text), 0.911, task) for text in ("1%", "1pt", 0.01)]
    [0.01, 0.01, 0.01]

    Raises: LimitError for a drop that would allow anything, such as 1 with an accuracy in [0, 1].
    """
    if limit is None:
        return None
    scale = scale_of(reference, task)
    point = 1.0 if scale is None else scale / 100
    if task.drop == "relative":
        share = limit.value * point / max(abs(reference), 1e-12) if limit.unit == "pt" else limit.value
        value, most = share / 100 if limit.unit == "%" else share, 1.0
    else:
        whole_scale = abs(reference) if scale is None else scale
        value = {"%": limit.value / 100 * whole_scale, "pt": limit.value * point, "": limit.value}[limit.unit]
        most = math.inf if scale is None else scale
    if value >= most and task.direction == "max":
        raise LimitError(
            f"max_drop '{limit}' allows any loss of {task.metric_name}, which is {reference:.4g} for the original: "
            f"write 1% or {0.01 * most:g} for one hundredth."
        )
    return value


def explained(limit: Limit, reference: float, task: Task) -> str:
    """Say what a largest drop means, and what that was told from.

    >>> from whet.core.task import Task
    >>> explained(parse("1%"), 91.1, Task("t", None, [1]))
    'at most 1 of accuracy (1%), whose scale is 0 to 100, told from the original: 91.1'
    """
    value, scale = resolved(limit, reference, task), scale_of(reference, task)
    if task.drop == "relative":
        return f"at most {value:.2%} of {task.metric_name} ({limit}), relative to the original: {reference:.4g}"
    of_scale = "which has no known scale" if scale is None else f"whose scale is 0 to {scale:g}"
    return f"at most {value:g} of {task.metric_name} ({limit}), {of_scale}, told from the original: {reference:.4g}"
