"""BoTorch's way to search several objectives, as a strategy beside those of whet (`pip install '.[peers]'`)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from whet.core.errors import DecisionError
from whet.core.space import Decision, Space
from whet.core.strategy import Observation
from whet.decisions.enumerate import point, size
from whet.decisions.genes import Features, Rows
from whet.decisions.pareto import best
from whet.search.modelled import PENALTY, Modelled

WHOLE, POOL = 5000, 1000
"""Up to how many decisions all of a space are looked at; of a larger one children of the best and random ones."""
FITTED = 75
"""How many steps a fit may take. To BoTorch's tolerances it takes some 400, seconds a proposal."""


class QLogNehvi(Modelled):
    """Propose the decision of the largest noisy expected hypervolume improvement, in BoTorch's logarithmic form.

    Models, priors and acquisition are BoTorch's own with its defaults: one `SingleTaskGP` an objective on standardised
    figures, `fit_gpytorch_mll` of at most `FITTED` steps, and `qLogNoisyExpectedHypervolumeImprovement` of each
    decision, in double precision. Features are a column for each ordered choice and one for each value of the others;
    with `operations`, where the caller tells them, also what work a decision leaves. `reference` is where hypervolumes
    end, one number an objective in its unit; without, BoTorch infers it from the measured front. A broken limit is a
    penalty on each objective. The first `warm_up` are drawn at random.

    Raises: DecisionError where BoTorch is not installed, or for a reference of another length than the objectives.
    Paper: Ament et al. 2023, Unexpected Improvements to Expected Improvement for Bayesian Optimization.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        reference: Sequence[float] | None = None, operations: bool = True, warm_up: int = 12,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, directions, warm_up)
        if find_spec("botorch") is None:
            raise DecisionError("this peer needs the package 'botorch': pip install '.[peers]'")
        if reference is not None and len(reference) != len(directions):
            raise DecisionError(f"the reference has one number an objective, {len(directions)}; got {reference!r}.")
        self.reference, self.tells = reference, operations

    def candidates(self) -> Iterator[Decision]:
        """Yield the decisions of the pool, those of the largest acquisition first."""
        seen, generator = self.ledger.measured(), self.generator()
        rows, figures = self.rows(seen), self.maximised(seen)
        pool = self._pool(rows[best(-figures, 10)], generator)
        reference = None if self.reference is None else np.array(self.reference) * -self._signs
        worth = acquisition(
            self._features(rows), figures, self._features(pool), reference, seed=int(generator.integers(2**31))
        )
        yield from (self.genes.decision(pool[i]) for i in np.argsort(-worth, kind="stable"))

    def maximised(self, seen: Sequence[Observation]) -> Features:
        """Return figures to maximise, a broken limit taken off each. Shape (observations, objectives)."""
        values: Features = np.array([o.values for o in seen]) * -self._signs
        found: Features = values - PENALTY * self.violations(seen)[:, None] * np.maximum(np.ptp(values, axis=0), 1e-12)
        return found

    def _features(self, rows: Rows) -> Features:
        return self.genes.features(rows) if self.tells else self.genes.values(rows)

    def _pool(self, parents: Rows, generator: np.random.Generator) -> Rows:
        count = size(self.space)
        if count <= WHOLE:
            return self.genes.rows([point(self.space, rank) for rank in range(count)])
        born = self.genes.children(parents, POOL // 2, generator)
        return np.unique(np.concatenate([born, self.genes.random(POOL // 2, generator)]), axis=0)


def acquisition(
    features: Features, figures: Features, pool: Features, reference: Features | None, seed: int
) -> Features:
    """Return the logarithm of the expected improvement of each row of `pool`, by BoTorch. Shape (rows of the pool,).

    `features` (measured, features) and `figures` (measured, objectives), to be maximised, are what was measured.
    """
    logei = import_module("botorch.acquisition.multi_objective.logei")
    infer = import_module("botorch.utils.multi_objective.hypervolume").infer_reference_point
    manual_seed = import_module("botorch.utils.sampling").manual_seed
    x, y = torch.from_numpy(features), torch.from_numpy(figures)
    with warnings.catch_warnings(), manual_seed(seed):
        warnings.simplefilter("ignore")  # of scaling, and of fits that are tried again
        end = infer(y) if reference is None else torch.from_numpy(reference)
        wanted = logei.qLogNoisyExpectedHypervolumeImprovement(
            model=_fitted(x, y), ref_point=end, X_baseline=x, prune_baseline=True
        )
        with torch.no_grad():
            parts: list[Tensor] = [wanted(part[:, None]) for part in torch.split(torch.from_numpy(pool), 512)]
    found: Features = torch.cat(parts).numpy()
    return found


def _fitted(x: Tensor, y: Tensor) -> object:
    """Return BoTorch's models of each objective, fitted."""
    models = import_module("botorch.models")
    several = import_module("gpytorch.mlls").SumMarginalLogLikelihood
    model = models.ModelListGP(*(models.SingleTaskGP(x, column[:, None]) for column in y.T))
    steps = {"options": {"maxiter": FITTED}}
    import_module("botorch.fit").fit_gpytorch_mll(several(model.likelihood, model), optimizer_kwargs=steps)
    return model
