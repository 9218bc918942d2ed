"""`Curves`: what some hundred decisions of a network became with training: a schedule is tried in seconds."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from whet.core.errors import ArtifactError, StudyError
from whet.core.space import Choice, Decision, Space
from whet.support.files import whole

FORMAT = "whet curves 1"


@dataclass(frozen=True)
class Curve:
    """One structure as it was repaired, and after each of several trainings, one going on from the other.

    `error` is that of its outputs before training, `samples` what it was trained on at each point, from 0 on, `drops`
    what it had lost there on the validation data, `finished` the same at the first and the last point with finishers.
    `speedup` is the ratio to the bar as it is, `speedup_finished` with finishers, NaN where that was not measured.
    """

    decision: Decision
    operations: float
    error: float
    samples: tuple[int, ...]
    drops: tuple[float, ...]
    finished: tuple[float, float]
    speedup: float
    speedup_finished: float
    size_bytes: int = 0
    finished_bytes: int = 0


@dataclass(frozen=True)
class Costs:
    """What steps take: seconds by kind, what the `first` of a kind takes beyond that, and for training
    `(operations, seconds)` of a sample.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    training: Sequence[tuple[float, float]] = ()
    first: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Curves:
    """A table with learning curves, and all that schedulers are told of the network they are of.

    `ways` are those of finishers on the whole network, `damage` and `log_operations` what passes foretell
    (`whet.schedule.foretold.Foretold`), `layers` the network's operations by layer, `shares` what each value of a
    choice alone leaves of them, by the choice's name in the order of its values. `about` tells the network, the task,
    the reference, the limit and the device.
    """

    space: Space
    rows: Sequence[Curve]
    obvious: Sequence[Decision]
    ways: Sequence[Sequence[Decision]]
    damage: Mapping[str, Sequence[float]]
    log_operations: Mapping[str, Sequence[float]]
    layers: Sequence[float]
    shares: Mapping[str, Sequence[Sequence[float]]]
    costs: Costs
    about: Mapping[str, Any]

    def operations(self, decision: Mapping[str, Any]) -> float:
        """Return the operations that a decision leaves: `sum_l o_l prod_choices r_l`."""
        total = 0.0
        rows = [self.shares[n][self.space.choices[n].values.index(v)] for n, v in decision.items() if n in self.shares]
        for layer, own in enumerate(self.layers):
            left = own
            for row in rows:
                left *= row[layer]
            total += left
        return total

    def save(self, path: Path) -> None:
        """Write the table, whole or not at all."""
        record = {
            "format": FORMAT, "about": dict(self.about), "space": self.space.describe(),
            "lasting": {c.name: c.lasting for c in self.space},
            "rows": [{**asdict(row), "decision": dict(row.decision)} for row in self.rows],
            "obvious": [dict(d) for d in self.obvious], "ways": [[dict(d) for d in ways] for ways in self.ways],
            "damage": dict(self.damage), "log_operations": dict(self.log_operations), "layers": list(self.layers),
            "shares": dict(self.shares), "costs": asdict(self.costs),
        }  # fmt: skip
        with whole(path) as part:
            part.write_bytes(gzip.compress(json.dumps(record).encode(), mtime=0))

    @classmethod
    def load(cls, path: Path) -> Curves:
        """Read a table.

        Raises: ArtifactError for a file that is missing, truncated or no table.
        """
        try:
            record = json.loads(gzip.decompress(path.read_bytes()))
            if record["format"] != FORMAT:
                raise KeyError("format")
            space = Space([_choice(c, record["lasting"]) for c in record["space"]])
            costs = record["costs"]
            return cls(
                space, [_curve(row) for row in record["rows"]], [Decision(d) for d in record["obvious"]],
                [[Decision(d) for d in ways] for ways in record["ways"]], record["damage"], record["log_operations"],
                record["layers"], record["shares"],
                Costs(costs["seconds"], [(float(a), float(b)) for a, b in costs["training"]], costs["first"]),
                record["about"],
            )  # fmt: skip
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, StudyError) as error:
            raise ArtifactError(f"'{path}' is missing, truncated or no '{FORMAT}': {error!r}") from error


def _curve(row: dict[str, Any]) -> Curve:
    lists = {name: tuple(row[name]) for name in ("samples", "drops", "finished")}
    return Curve(**{**row, **lists, "decision": Decision(row["decision"])})


def _choice(record: Mapping[str, Any], lasting: Mapping[str, float]) -> Choice:
    return Choice(record["name"], tuple(record["values"]), record["identity"], lasting=lasting[record["name"]])
