"""Sensitivities first, then expected hypervolume improvement: what a search of tens of measurements needs most."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from whet.core.space import Decision
from whet.decisions.enumerate import draw, point, size
from whet.decisions.genes import Genes, Rows, Vector
from whet.decisions.pareto import Points, best
from whet.search.predictors.gaussian_process import GaussianProcess
from whet.search.strategies.bayesian import expected_improvement
from whet.search.strategies.sensitivity import Sensitivity

WARM_UP = 12
"""From how many measurements on Gaussian processes are trusted."""
WHOLE = 5000
"""Up to how many decisions all of a space are looked at; of a larger one `POOL`."""
POOL = 1000
BUDGETS = 12
"""How many solutions of the integer programme, from a small damage budget to a large one, are among the pool."""
DRAWS = 48
EXPLORED, FASTEST_EVERY = 24, 3
"""Where nothing was probed: until how many measurements the ends of the front are looked for, and which proposals are
those expected to be faster than any before."""


class Improvement(Sensitivity):
    """Propose what is expected to enlarge the measured front the most.

    Two Gaussian processes learn log speed-up and drop, with a scale for each choice, so that choices which do not add
    up, such as int8 and a runtime's precision, are told apart from those that do. Where probes were taken in they learn
    by how much the figures differ from the forecasts of `Sensitivity`; without, its sums only disturb: on the table of
    ResNet-20 the share held after 20 measurements is 0.64 with them and 0.85 without (medians of five seeds). Proposed
    is the decision of the largest expected hypervolume improvement

        E[ area(front + (speed-up, drop)) - area(front) ]

    over `DRAWS` draws, above the untouched speed and below the drop of the fastest decision forecast or measured, at
    most `budgets[1]`. Until `WARM_UP` are measured, proposals are those of `Sensitivity` if probes were taken in; once
    it is aimed they always are. Without probes the first are random, and until `EXPLORED` the area reaches to the
    largest drop measured and every third proposal is the one with the largest expected gain in speed alone: what is
    fast only where much else is cut (f32, on the table of digits) was otherwise found too late.

    Papers: Emmerich et al. 2006, Single- and Multiobjective Evolutionary Optimization Assisted by Gaussian Random Field
    Metamodels (the improvement); Dernoncourt and Lee 2016 (the process).
    """

    def propose(self) -> Decision | None:
        """Return a new decision, or None where there is nothing new beyond a base."""
        measured = len(self.ledger.measured())
        if self.aimed or (measured < WARM_UP and self.believed):
            return super().propose()
        if measured >= WARM_UP:
            for decision in self.candidates():
                if decision not in self.ledger.entries:
                    return decision
        return draw(self.space, self.ledger.rng(), self.ledger.entries)

    def candidates(self) -> Iterator[Decision]:
        """Return the decisions of the pool, those of the largest expected improvement first."""
        generator = np.random.default_rng((self.ledger.seed, len(self.ledger.entries)))
        rows = self.genes.rows([o.decision for o in self.ledger.measured()])
        measured = self.points()
        pool = self._pool(rows[best(measured, 10)], generator)
        x, features = self.genes.features(rows), self.genes.features(pool)
        unexplained = measured - self._sums(rows)
        fitted = [GaussianProcess().fit(x, column) for column in unexplained.T]
        mean, deviation = (np.stack(p, axis=1) for p in zip(*(g.predict(features) for g in fitted), strict=True))
        gains = self._gains(self._sums(pool) + mean, deviation, measured, generator)
        yield from (self.genes.decision(pool[i]) for i in np.argsort(-gains, kind="stable"))

    def _gains(self, mean: Points, deviation: Points, measured: Points, generator: np.random.Generator) -> Vector:
        """Return the expected improvement of each row of the pool."""
        drawn = mean + deviation * generator.standard_normal((DRAWS, *mean.shape))
        fastest = max(measured[measured[:, 0].argmin(), 1], mean[mean[:, 0].argmin(), 1])
        worst = min(self.budgets[1], 1.1 * fastest) if fastest > 0 else self.budgets[1]
        if not self.believed and len(measured) < EXPLORED:
            worst = max(self.budgets[1], 1.1 * measured[:, 1].max())
            faster: Vector = np.maximum(measured[:, 0].min() - drawn[..., 0], 0.0).mean(0)
            if not len(measured) % FASTEST_EVERY and faster.any():
                return faster
        drawn[..., 0] = -np.exp(-drawn[..., 0])
        speeds = np.stack([-np.exp(-measured[:, 0]), measured[:, 1]], axis=1)
        return expected_improvement(drawn, speeds, (-1.0, worst))

    def _sums(self, rows: Rows) -> Points:
        """Return what `Sensitivity` forecasts for each row: log latency and drop; nothing where it was told nothing."""
        if not self.believed:
            return np.zeros((len(rows), 2))
        latency, harm = (
            sum((np.array(effect)[rows[:, i]] for i, effect in enumerate(effects)), np.zeros(len(rows)))
            for effects in (self.latency.effects(self.latency.mean), self.damage.effects(self.damage.mean))
        )
        return np.stack([latency, [self.damage.lowered(total) for total in harm]], axis=1)

    def _pool(self, parents: Rows, generator: np.random.Generator) -> Rows:
        """Return rows to look at: all of a small space; of a large one children of the front, programmes and others."""
        if self.whole is not None:
            return self.whole
        low, high = self.budgets
        budgets = low * (high / low) ** np.linspace(0, 1, BUDGETS)
        solved = [self.solve(self.latency.mean, self.damage.mean, float(b)) for b in budgets]
        born = self.genes.children(parents, POOL // 2, generator)
        drawn = self.genes.random(POOL // 2, generator)
        return np.unique(np.concatenate([self.genes.rows(solved), born, drawn]), axis=0)

    @cached_property
    def genes(self) -> Genes:
        """Decisions as rows of value indices, and back."""
        return Genes(self.space, self.operations)

    @cached_property
    def whole(self) -> Rows | None:
        """All decisions, where they are few enough to look at each."""
        count = size(self.space)
        return self.genes.rows([point(self.space, rank) for rank in range(count)]) if count <= WHOLE else None
