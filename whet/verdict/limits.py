"""Limits of a finished file, what was measured for each, and the verdict over all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from whet.report.texts import size_text


@dataclass(frozen=True)
class Row:
    """One limit: what is `allowed`, what was `measured` with the ends of its spread, in one `unit`, and how.

    `least` says that the limit is the least that is allowed, as of an accuracy. `spread` says what `low` and `high`
    are; they are the measured value where one measurement is exact. Of an exact one nothing is near.
    """

    name: str
    allowed: float
    measured: float
    low: float
    high: float
    unit: str
    how: str
    spread: str = ""
    least: bool = False

    @property
    def passed(self) -> bool:
        """Whether the measured value is within the limit; one that equals it is."""
        return self.measured >= self.allowed if self.least else self.measured <= self.allowed

    @property
    def near(self) -> bool:
        """Whether the limit lies within the spread, so that another run may say otherwise."""
        return self.low < self.high and self.low <= self.allowed <= self.high

    @property
    def verdict(self) -> str:
        """Say in a word or two what came out."""
        return f"{'passed' if self.passed else 'BROKEN'}{', within the spread' if self.near else ''}"

    @property
    def sentence(self) -> str:
        """Say what was measured against what is allowed."""
        sign = "at least" if self.least else "at most"
        return f"{self.name} is {self.text(self.measured)}; {sign} {self.text(self.allowed)} is allowed ({self.how})"

    def text(self, value: float) -> str:
        """Return a value of this row as people read it."""
        if isinstance(value, int) and self.unit != "bytes":
            return f"{value} {self.unit}".rstrip()
        if self.unit == "bytes":
            return size_text(value)
        if self.unit in ("ms", "s"):
            small = self.unit == "s" and value < 1
            return f"{value * 1e3:.3g} ms" if small else f"{value:.3g} {self.unit}"
        return f"{value:.4f} {self.unit}".rstrip()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and what came out, as plain JSON values."""
        return {**asdict(self), "passed": self.passed, "within_spread": self.near}


@dataclass(frozen=True)
class Verdict:
    """What was measured of a file in a setting against each of its limits."""

    file: str
    setting: str
    rows: tuple[Row, ...]
    device: dict[str, Any]
    baseline: str = ""
    baseline_setting: str = ""

    @property
    def broken(self) -> Sequence[Row]:
        """The limits that are not kept."""
        return [row for row in self.rows if not row.passed]

    @property
    def passed(self) -> bool:
        """Whether all limits are kept."""
        return not self.broken

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "passed": self.passed, "broken": [row.name for row in self.broken], "file": self.file,
            "setting": self.setting, "baseline": self.baseline or None,
            "baseline_setting": self.baseline_setting or None,
            "limits": [row.to_dict() for row in self.rows], "device": self.device,
        }  # fmt: skip
