"""`Table`: what every decision of a space was measured to be, so that a search experiment costs seconds."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from whet.core.errors import ArtifactError, StudyError
from whet.core.space import Decision, Space
from whet.core.strategy import Observation, Strategy
from whet.decisions.enumerate import point, size
from whet.decisions.ledger import LedgerStrategy
from whet.decisions.pareto import hypervolume
from whet.search.former import choice_of
from whet.support.files import whole

FORMAT = "whet table 1"


@dataclass(frozen=True)
class Table:
    """Figures of each canonical decision of `space`: its speed-up and its drop, both measured.

    `about` tells the network, task, device and protocol. A strategy is run on the table as on the device, and told
    the `operations` of decisions, if they are known.

    Paper: Klein and Hutter 2019, Tabular Benchmarks for Joint Architecture and Hyperparameter Optimization.
    """

    space: Space
    figures: Mapping[Decision, tuple[float, float]]
    about: Mapping[str, Any]
    operations: Mapping[Decision, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = size(self.space) - len(self.figures)
        if missing:
            raise StudyError(f"the table holds {len(self.figures)} decisions of a space of {size(self.space)}.")

    def observe(self, decision: Decision) -> Observation:
        """Return what measuring `decision` gives.

        Raises: StudyError for a decision of another space.
        """
        if decision not in self.figures:
            raise StudyError(f"the table of {self.about.get('network')} has no decision {dict(decision)}.")
        return Observation(decision, self.figures[decision])

    def area(self, decisions: Sequence[Decision], worst: float) -> float:
        """Return the hypervolume that `decisions` cover against the untouched network and a drop of `worst`."""
        points = [self.figures[d] for d in decisions]
        return hypervolume([(-speedup, drop) for speedup, drop in points], (-1.0, worst))

    def worst_drop(self, most: float) -> float:
        """Return the drop where hypervolumes end: a tenth beyond the fastest decision's, and `most` at most."""
        _, drop = max(self.figures.values(), key=lambda f: (f[0], -f[1]))
        return min(most, 1.1 * drop) if drop > 0 else most

    def curve(self, strategy: Strategy, measurements: int, worst: float) -> list[float]:
        """Return the share of the whole table's hypervolume that a strategy holds after each measurement."""
        if self.operations and isinstance(strategy, LedgerStrategy):
            strategy.operations = self.operations.__getitem__
        total = self.area(list(self.figures), worst)
        points: list[tuple[float, float]] = []
        shares: list[float] = []
        while len(points) < measurements:
            asked = strategy.ask(1)
            if not asked:
                break
            seen = self.observe(asked[0])
            strategy.tell([seen])
            points.append((-seen.values[0], seen.values[1]))
            shares.append(hypervolume(points, (-1.0, worst)) / total if total else 0.0)
        return shares + shares[-1:] * (measurements - len(shares))

    def save(self, path: Path) -> None:
        """Write the table, whole or not at all; rows stand in the order of `whet.core.strategy.point`."""
        ranked = [point(self.space, rank) for rank in range(size(self.space))]
        rows = [self.figures[decision] for decision in ranked]
        record = {
            "format": FORMAT, "about": dict(self.about), "space": self.space.describe(),
            "speedup": [round(s, 5) for s, _ in rows], "drop": [round(d, 6) for _, d in rows],
            "operations": [self.operations[decision] for decision in ranked if self.operations],
        }  # fmt: skip
        with whole(path) as part:
            part.write_bytes(gzip.compress(json.dumps(record).encode(), mtime=0))

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read a table.

        Raises: ArtifactError for a file that is missing, truncated or no table.
        """
        try:
            record = json.loads(gzip.decompress(path.read_bytes()))
            if record["format"] != FORMAT:
                raise KeyError("format")
            space = Space([choice_of(c) for c in record["space"]])
            pairs = zip(record["speedup"], record["drop"], strict=True)
            figures = {point(space, rank): (float(s), float(d)) for rank, (s, d) in enumerate(pairs)}
            operations = {point(space, rank): float(o) for rank, o in enumerate(record.get("operations", ()))}
            return cls(space, figures, record["about"], operations)
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, StudyError) as error:
            raise ArtifactError(f"'{path}' is missing, truncated or no '{FORMAT}': {error!r}") from error


@cache
def _loaded(path: Path) -> Table:
    return Table.load(path)


def replay(
    path: Path, make: Callable[[Space, int], Strategy], seed: int, measurements: int, worst: float
) -> tuple[list[float], float]:
    """Return the curve of a strategy on the table in a file, and the seconds that a proposal took.

    `make` makes the strategy of a space and a seed. A process reads a file once, and computes on one thread, so that
    several may search side by side.
    """
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    table = _loaded(path)
    start = time.perf_counter()
    with threadpool_limits(1):
        curve = table.curve(make(table.space, seed), measurements, worst)
    return curve, (time.perf_counter() - start) / max(len(curve), 1)
