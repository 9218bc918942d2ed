"""`Stopwatch`: where the seconds of a search go, by stage and activity."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.table import Table

OTHER = "other"
"""The activity of a stage outside of all that are timed."""
SEARCH, BEGINNING = "search", "beginning"
LATEST = 5
"""How many of the last steps of a kind tell what the next one costs."""


@dataclass
class _Frame:
    stage: str
    activity: str
    began: float
    inner: float = 0.0


@dataclass
class Stopwatch:
    """Charges every second once: to the innermost activity that was going on, in the innermost stage.

    `lasted` holds how long the steps of each kind took, with what they contain, to plan later ones by; `own` the
    seconds by `stage/activity`.

    >>> watch = Stopwatch()
    >>> with watch.stage("probe"):
    ...     with watch("repair"):
    ...         watch.charge("solving", 2.0)
    >>> sorted(watch.own), len(watch.lasted["repair"])
    (['probe/other', 'probe/repair', 'probe/solving'], 1)
    """

    lasted: dict[str, list[float]] = field(default_factory=dict)
    own: dict[str, float] = field(default_factory=dict)
    _frames: list[_Frame] = field(default_factory=list)

    @contextmanager
    def __call__(self, activity: str) -> Iterator[None]:
        """Time a step; one that raises is charged, but nothing is planned by it."""
        began = time.monotonic()
        with self._frame(self._frames[-1].stage if self._frames else SEARCH, activity):
            yield
        self.lasted.setdefault(activity, []).append(time.monotonic() - began)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Take the steps within for those of a stage."""
        with self._frame(name, OTHER):
            yield

    def charge(self, activity: str, seconds: float) -> None:
        """Charge a part of the step that is going on to another activity."""
        self._add(self._frames[-1].stage if self._frames else SEARCH, activity, seconds)
        if self._frames:
            self._frames[-1].inner += seconds

    def cost(self, what: str, otherwise: float) -> float:
        """Return the mean seconds of the last steps of a kind."""
        seen = self.lasted.get(what, [])[-LATEST:]
        return sum(seen) / len(seen) if seen else otherwise

    def longest(self, what: str, otherwise: float) -> float:
        """Return the seconds of the longest step of a kind."""
        return max(self.lasted.get(what, [otherwise]))

    def so_far(self) -> dict[str, float]:
        """Return `own` with what is going on charged until now."""
        now, inner, found = time.monotonic(), 0.0, dict(self.own)
        for frame in reversed(self._frames):
            key = f"{frame.stage}/{frame.activity}"
            found[key] = found.get(key, 0.0) + max(now - frame.began - frame.inner - inner, 0.0)
            inner = now - frame.began
        return found

    @contextmanager
    def _frame(self, stage: str, activity: str) -> Iterator[None]:
        frame = _Frame(stage, activity, time.monotonic())
        self._frames.append(frame)
        try:
            yield
        finally:
            self._frames.pop()
            took = time.monotonic() - frame.began
            self._add(stage, activity, max(took - frame.inner, 0.0))
            if self._frames:
                self._frames[-1].inner += took

    def _add(self, stage: str, activity: str, seconds: float) -> None:
        key = f"{stage}/{activity}"
        self.own[key] = self.own.get(key, 0.0) + seconds


def seconds_table(own: Mapping[str, float], spent: float) -> Table:
    """Return seconds by stage and activity as a table, the longest stages first; what no stage has is told too."""
    rows: dict[str, dict[str, float]] = {}
    for key, seconds in own.items():
        stage, _, activity = key.partition("/")
        rows.setdefault(stage, {})[activity] = seconds
    left = spent - sum(own.values())
    if left > 0:
        rows.setdefault(SEARCH, {}).setdefault(OTHER, 0.0)
        rows[SEARCH][OTHER] += left
    table = Table("stage", "activity", "seconds", "share", box=None, title=f"{spent:.1f} seconds", title_justify="left")
    for stage, parts in sorted(rows.items(), key=lambda row: -sum(row[1].values())):
        total = sum(parts.values())
        table.add_row(stage, "", f"{total:.1f}", f"{total / max(spent, 1e-9):.1%}", style="bold")
        for activity, seconds in sorted(parts.items(), key=lambda part: -part[1]):
            if seconds >= 0.05:
                table.add_row("", activity, f"{seconds:.1f}", f"{seconds / max(spent, 1e-9):.1%}")
    return table
