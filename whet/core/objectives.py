"""`Objectives`: what is wanted of a file beside its quality: that it is fast, small, or served in little memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from whet.core.errors import WhetError, unknown

METRICS = {"speed": "speedup", "size": "size_bytes", "memory": "memory_bytes"}
"""The figure of each objective. A speed-up is made large, bytes are made small."""


class ObjectiveError(WhetError):
    """Objectives that cannot be read, or limits that nothing can meet."""


class Served(Protocol):
    """What has the figures of a file, as trials and members of a front do."""

    @property
    def speedup(self) -> float: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...


@dataclass(frozen=True)
class Figures:
    """A ratio to the fastest uncompressed setting, bytes on disk, and of memory; NaN or 0 where not known."""

    speedup: float = 1.0
    size_bytes: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True)
class Objectives:
    """What is made large, and the limits of a file beside the drop of its quality.

    `wanted` are one or more of `speed`, `size` and `memory`. `least_speedup` is a ratio to the fastest uncompressed
    setting, `most_bytes` what the file and what lies beside it may take on disk, `most_memory_bytes` what a fresh
    process that serves it may hold at its peak.
    Raises: ObjectiveError for no objective, one twice, and limits that are no numbers above 0.
    """

    wanted: tuple[str, ...] = ("speed",)
    least_speedup: float = 0.0
    most_bytes: float = math.inf
    most_memory_bytes: float = math.inf

    def __post_init__(self) -> None:
        for name in self.wanted:
            if name not in METRICS:
                raise unknown("objective", name, METRICS)
        if not self.wanted or len(set(self.wanted)) < len(self.wanted):
            allowed = ", ".join(METRICS)
            raise ObjectiveError(f"objectives must be one or more of {allowed}, each once; got {self.wanted!r}.")
        if not (min(self.most_bytes, self.most_memory_bytes) > 0 and 0 <= self.least_speedup < math.inf):
            given = f"{self.most_bytes!r} and {self.most_memory_bytes!r} bytes and x{self.least_speedup!r}"
            raise ObjectiveError(f"limits of size and memory must be above 0 and a speed-up finite; got {given}.")

    @property
    def need_memory(self) -> bool:
        """Whether files have to be served once to know what they take."""
        return "memory" in self.wanted or math.isfinite(self.most_memory_bytes)

    def gain(self, served: Served, whole: Served) -> float:
        """Return the number that a search makes large, 1 for the uncompressed network, `whole`.

            gain = (product of the ratios wanted)^(1 / how many)

        >>> files = Figures(2.0, 1000), Figures(1.0, 8000)
        >>> [Objectives(wanted).gain(*files) for wanted in (("speed",), ("size",), ("speed", "size"))]
        [2.0, 8.0, 4.0]
        """
        return math.prod(self.ratios(served, whole)) ** (1 / len(self.wanted))

    def ratios(self, served: Served, whole: Served) -> list[float]:
        """Return by how many times a file is better than the uncompressed one, for each objective.

        What it takes of memory is, where it was not measured, what that one takes without the bytes that it lacks.
        """
        lacking = max(whole.memory_bytes - whole.size_bytes + served.size_bytes, 1)
        memory = whole.memory_bytes / (served.memory_bytes or lacking) if whole.memory_bytes else 1.0
        size = whole.size_bytes / served.size_bytes if served.size_bytes else 1.0
        each = {"speed": served.speedup, "size": size, "memory": memory}
        return [each[name] for name in self.wanted]

    def met(self, served: Served) -> bool:
        """Say whether a file is within the limits of speed, size and memory; what is not known breaks none."""
        return not self.violation(served)

    def violation(self, served: Served) -> float:
        """Return by which factor, as a logarithm, a file misses the limits; what is not known misses none."""
        slow = math.log(self.least_speedup / served.speedup) if 0 < served.speedup < self.least_speedup else 0.0
        sizes = (served.size_bytes, self.most_bytes), (served.memory_bytes, self.most_memory_bytes)
        return slow + sum(math.log(size / most) for size, most in sizes if size > most)

    def costs(self, served: Served) -> tuple[float, ...]:
        """Return what a front makes small, a number for each objective: -x for a speed-up of x, bytes as they are."""
        each = {name: float(getattr(served, METRICS[name])) for name in self.wanted}
        return tuple(-value if name == "speed" else value for name, value in each.items())

    def describe(self) -> dict[str, object]:
        """Return plain data for a study's record; limits that are none are left out."""
        limits = {name: getattr(self, name) for name in ("least_speedup", "most_bytes", "most_memory_bytes")}
        return {"wanted": list(self.wanted)} | {n: v for n, v in limits.items() if v and math.isfinite(v)}
