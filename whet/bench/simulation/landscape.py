"""`Landscape`: what any decision of a space becomes, by a table of curves; the same for every scheduler."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.bench.simulation.curves import Curve, Curves
from whet.core.space import Decision
from whet.decisions.distance import distance
from whet.search.predictors.gaussian_process import GaussianProcess

LEAST_ERROR = 1e-5
"""What an error counts at least, for logarithms."""
STEEPEST = 0.5
"""The largest power by which a drop falls beyond the last point of its curve."""
SHARES = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Of what share of a parent's samples a structure that extends it may seem to have been trained on."""
FOLDS = 5

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """One structure: ratios to the bar as it is and finished, its outputs' error, its drops along `samples`.

    `finishing` is what finishers add to the drop at the first and at the last point.
    """

    speedup: float
    speedup_finished: float
    error: float
    samples: Sequence[int]
    drops: Sequence[float]
    finishing: tuple[float, float]

    def drop(self, samples: float) -> float:
        """Return the drop after so many samples: linear in their logarithm, beyond the last point by a power.

        The power is that between the last two points, at most `STEEPEST`, 0 where the last drop is none.

        >>> shape = Shape(1.0, 1.0, 0.0, (0, 100, 400), (0.4, 0.2, 0.1), (0.0, 0.0))
        >>> shape.drop(0), shape.drop(400), shape.drop(1600)
        (0.4, 0.1, 0.05)
        """
        last, before = self.drops[-1], self.drops[-2]
        if samples > self.samples[-1]:
            fell = math.log(before / last) / math.log(self.samples[-1] / self.samples[-2]) if last > 0 < before else 0.0
            return float(last * (samples / self.samples[-1]) ** -min(max(fell, 0.0), STEEPEST))
        return float(np.interp(self._level(samples), [self._level(s) for s in self.samples], self.drops))

    def finished_drop(self, samples: float) -> float:
        """Return the drop with finishers."""
        share = min(self._level(samples) / self._level(self.samples[-1]), 1.0)
        return self.drop(samples) + self.finishing[0] * (1 - share) + self.finishing[1] * share

    def _level(self, samples: float) -> float:
        return math.log1p(samples / self.samples[1])


@dataclass
class Landscape:
    """Gaussian processes fitted on a table; a decision of the table is what was recorded.

    Features are how far each choice's value is from its identity, the log of the operations left, and the log of the
    damage that passes foretell. Learnt are log speed-ups, the log error, and the drops at each point of the curves, as
    asinh(drop / limit): small ones count by their size, large ones by their ratio. What a process does not explain is
    drawn from its deviation by the seed and the decision, one draw for all points of a curve.
    """

    curves: Curves
    _known: dict[tuple[int, Decision], Shape] = field(default_factory=dict)
    _moments_known: dict[Decision, tuple[Matrix, Matrix]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = {row.decision: row for row in self.curves.rows}
        self.limit = float(self.curves.about["max_drop"])
        self.samples = self.curves.rows[0].samples
        self.targets = self._targets(self.curves.rows)
        x = self.features(list(self.rows))
        self.processes = [self._fitted(x, column) for column in self.targets.T]

    def shape(self, decision: Decision, seed: int) -> Shape:
        """Return what a structure is; a decision that is not in the table differs from seed to seed."""
        key = seed, decision
        if key not in self._known:
            row = self.rows.get(decision)
            drawn = self._drawn(decision, seed) if row is None or math.isnan(row.speedup) else None
            found = drawn if row is None else _shape(row, drawn)
            assert found is not None
            self._known[key] = found
        return self._known[key]

    @staticmethod
    def _fitted(x: Matrix, column: Matrix) -> GaussianProcess:
        known = ~np.isnan(column)
        return GaussianProcess().fit(x[known], column[known])

    def features(self, decisions: Sequence[Mapping[str, Any]]) -> Matrix:
        """Return a row of numbers for each decision."""
        space, whole = self.curves.space, self.curves.operations({})
        rows = [
            [*(distance(c, d.get(c.name, c.identity)) for c in space), math.log(self.curves.operations(d) / whole),
             math.log(LEAST_ERROR + self._foretold(d))] for d in decisions
        ]  # fmt: skip
        return np.array(rows, dtype=float)

    def _foretold(self, decision: Mapping[str, Any]) -> float:
        space, damage = self.curves.space, self.curves.damage
        return sum(damage[n][space.choices[n].values.index(v)] for n, v in decision.items() if n in damage)

    def _targets(self, rows: Sequence[Curve]) -> Matrix:
        bent = [[*row.drops, *(f - d for f, d in zip(row.finished, (row.drops[0], row.drops[-1]), strict=True))]
                for row in rows]  # fmt: skip
        logs = [[math.log(r.speedup), math.log(r.speedup_finished), math.log(LEAST_ERROR + r.error)] for r in rows]
        return np.concatenate([np.array(logs), np.arcsinh(np.array(bent) / self.limit)], axis=1)

    def _drawn(self, decision: Decision, seed: int) -> Shape:
        mean, deviation = self._moments(decision)
        generator = np.random.default_rng([seed, *decision.to_json().encode()])
        speed, error, drop, finishing = generator.standard_normal(4)
        points = len(self.samples)
        value = mean + deviation * np.array([speed, speed, error, *[drop] * points, finishing, finishing])
        bent = [float(x) for x in np.sinh(value[3:]) * self.limit]
        first, second, wrong = (float(x) for x in np.exp(value[:3]))
        error = max(wrong - LEAST_ERROR, 0.0)
        return Shape(first, second, error, self.samples, bent[:points], (bent[points], bent[points + 1]))

    def _moments(self, decision: Decision) -> tuple[Matrix, Matrix]:
        """Return mean and deviation of each target."""
        if decision not in self._moments_known:
            row = self.features([decision])
            pairs = [process.predict(row) for process in self.processes]
            self._moments_known[decision] = np.array([m[0] for m, _ in pairs]), np.array([d[0] for _, d in pairs])
        return self._moments_known[decision]

    # -- what the table tells of all ----------------------------------------------------------------------------------

    @cached_property
    def carried(self) -> float:
        """The share of a trained structure's samples that what extends it has as if trained on them itself.

        It is that of `SHARES` under which the recorded extensions' drops after training are nearest to the curves.
        """
        seen = self.curves.about.get("extended", [])

        def misfit(share: float) -> float:
            total = 0.0
            for one in seen:
                shape = self.shape(Decision(one["decision"]), 0)
                for samples, drop in list(zip(one["samples"], one["drops"], strict=True))[1:]:
                    own = shape.drop(share * self.samples[-1] + samples)
                    total += (math.asinh(own / self.limit) - math.asinh(drop / self.limit)) ** 2
            return total

        return min(SHARES, key=misfit) if seen else 0.0

    @cached_property
    def luck(self) -> float:
        """The standard deviation of a drop from one training to the next: how the last points of mild curves differ."""
        steps = [abs(b - a) for r in self.curves.rows for a, b in [list(pairwise(r.drops))[-1]] if a < 3 * self.limit]
        return float(np.mean(steps)) if steps else 0.0

    def held_out(self) -> dict[str, float]:
        """Return the root mean square error of each target on rows that were not fitted, in `FOLDS` folds."""
        x, rows = self.features(list(self.rows)), np.arange(len(self.rows))
        names = ["log speed-up", "log speed-up finished", "log error", *(f"drop after {s}" for s in self.samples)]
        found = dict[str, float]()
        for name, column in zip(names, self.targets.T, strict=False):
            wrong = np.zeros(len(rows))
            for fold in range(FOLDS):
                out = rows % FOLDS == fold
                wrong[out] = self._fitted(x[~out], column[~out]).predict(x[out])[0] - column[out]
            found[name] = float(np.sqrt(np.nanmean(wrong**2)))
        return found


def _shape(row: Curve, drawn: Shape | None) -> Shape:
    """Return what was recorded; with speeds that were `drawn` where they were not measured."""
    added = row.finished[0] - row.drops[0], row.finished[1] - row.drops[-1]
    speeds = (row.speedup, row.speedup_finished) if drawn is None else (drawn.speedup, drawn.speedup_finished)
    return Shape(*speeds, row.error, row.samples, row.drops, added)
