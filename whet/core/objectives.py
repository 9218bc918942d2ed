"""`Objectives`: what is wanted of a file beside its quality: that it is fast, that it is small, or both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from whet.core.errors import WhetError, unknown

WANTED = ("speed", "size")


class ObjectiveError(WhetError):
    """Objectives that cannot be read, or limits that nothing can meet."""


@dataclass(frozen=True)
class Objectives:
    """What is made large, and the limits of a file beside the drop of its quality.

    `wanted` are one or more of `speed` and `size`. `least_speedup` is a ratio to the fastest uncompressed setting,
    `most_bytes` what the file and what lies beside it may take on disk.
    Raises: ObjectiveError for no objective, one twice, and limits that are no numbers above 0.
    """

    wanted: tuple[str, ...] = ("speed",)
    least_speedup: float = 0.0
    most_bytes: float = math.inf

    def __post_init__(self) -> None:
        for name in self.wanted:
            if name not in WANTED:
                raise unknown("objective", name, WANTED)
        if not self.wanted or len(set(self.wanted)) < len(self.wanted):
            allowed = ", ".join(WANTED)
            raise ObjectiveError(f"objectives must be one or more of {allowed}, each once; got {self.wanted!r}.")
        if not (self.most_bytes > 0 and 0 <= self.least_speedup < math.inf):
            raise ObjectiveError(
                f"a size limit must be above 0 and a speed-up finite; got {self.most_bytes!r} bytes and "
                f"x{self.least_speedup!r}."
            )

    def gain(self, speedup: float, shrinkage: float) -> float:
        """Return the number that a search makes large, 1 for the uncompressed network.

            gain = (product of the ratios wanted)^(1 / how many)

        `speedup` is the ratio of latencies, `shrinkage` that of bytes, uncompressed to compressed.

        >>> [Objectives(wanted).gain(2.0, 8.0) for wanted in (("speed",), ("size",), ("speed", "size"))]
        [2.0, 8.0, 4.0]
        """
        return math.prod(self._ratios(speedup, shrinkage)) ** (1 / len(self.wanted))

    def met(self, speedup: float, size_bytes: int) -> bool:
        """Say whether a file is within the limits of speed and size."""
        return speedup >= self.least_speedup and size_bytes <= self.most_bytes

    def violation(self, speedup: float, size_bytes: int) -> float:
        """Return by which factor, as a logarithm, a file misses the limits; unknown ones (NaN, 0) miss none."""
        slow = math.log(self.least_speedup / speedup) if 0 < speedup < self.least_speedup else 0.0
        return slow + (math.log(size_bytes / self.most_bytes) if size_bytes > self.most_bytes else 0.0)

    def is_better(self, speedup: float, shrinkage: float) -> bool:
        """Say whether a file beats the uncompressed network in one of the objectives."""
        return any(ratio > 1 for ratio in self._ratios(speedup, shrinkage))

    def is_no_worse(self, speedup: float, shrinkage: float) -> bool:
        """Say whether a file is at least as good as the uncompressed network in all objectives."""
        return all(ratio >= 1 for ratio in self._ratios(speedup, shrinkage))

    def _ratios(self, speedup: float, shrinkage: float) -> list[float]:
        each = {"speed": speedup, "size": shrinkage}
        return [each[name] for name in self.wanted]

    def costs(self, speedup: float, size_bytes: int) -> tuple[float, ...]:
        """Return what a front makes small, a number for each objective.

        >>> Objectives(("speed", "size")).costs(2.0, 500)
        (-2.0, 500.0)
        """
        each = {"speed": -speedup, "size": float(size_bytes)}
        return tuple(each[name] for name in self.wanted)

    def describe(self) -> dict[str, object]:
        """Return plain data for a study's record; limits that are none are left out."""
        given: dict[str, object] = {"wanted": list(self.wanted)}
        if self.least_speedup:
            given["least_speedup"] = self.least_speedup
        return given if math.isinf(self.most_bytes) else given | {"most_bytes": self.most_bytes}


def wanted_of(text: str | Sequence[str]) -> tuple[str, ...]:
    """Return the objectives that a list names.

    >>> wanted_of("size, speed"), wanted_of(["size"])
    (('size', 'speed'), ('size',))
    """
    parts = text.split(",") if isinstance(text, str) else list(text)
    return tuple(part.strip() for part in parts if part.strip())
