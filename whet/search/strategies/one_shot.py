"""Gradient descent on relaxed choices: each proposal is where a differentiable landscape leads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from whet.core.errors import unknown
from whet.core.space import Decision, Space
from whet.decisions.genes import Features, Rows
from whet.decisions.mixtures import MIXINGS, settled
from whet.decisions.pareto import Points
from whet.search.modelled import Modelled

ATTEMPTS = 6
RATE = 0.2


class Landscape:
    """The objectives as a small network of the decision's features, differentiable between decisions too."""

    def __init__(self, features: Features, values: Points, seed: int) -> None:
        from sklearn.neural_network import MLPRegressor

        scale = np.maximum(values.std(0), 1e-9)
        model = MLPRegressor(
            hidden_layer_sizes=(32,), activation="tanh", solver="lbfgs", alpha=1e-2, max_iter=200, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it stopped before it converged
            targets = (values - values.mean(0)) / scale
            model.fit(features, targets if targets.shape[1] > 1 else targets[:, 0])
        self._layers = [
            (torch.tensor(w, dtype=torch.float32), torch.tensor(b, dtype=torch.float32))
            for w, b in zip(model.coefs_, model.intercepts_, strict=True)
        ]

    def __call__(self, features: Tensor) -> Tensor:
        """Return the standardised objectives, shape (objectives,), of features, shape (features,)."""
        (w, b), (v, c) = self._layers
        return (features @ w + b).tanh() @ v + c


class OneShot(Modelled):
    """Descend the logits of all choices together on a weighted sum of the objectives; take what they settle on.

        logits <- logits - rate * d/dlogits  sum_k weight_k f_k(sum_v m_v(logits) features_v)

    `mixing` makes the mixture m: `gates` (ProxylessNAS), `interpolation` (transformable architecture search)
    or `trainable-gate` (on nested values). The weights are drawn anew for each proposal, so that proposals
    spread over the front. The papers descend the loss of a network that is trained meanwhile
    (`whet.elastic.relaxation` is that network); here the landscape is a regression on what was measured, so the engine
    runs on any space, at no training.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        mixing: str = "gates", steps: int = 60, warm_up: int = 12,
    ) -> None:  # fmt: skip
        if mixing not in MIXINGS:
            raise unknown("mixing", mixing, MIXINGS)
        super().__init__(space, seed, directions, warm_up)
        self.mixing, self.steps = mixing, steps
        lengths = self.genes.lengths
        self._alike = [np.flatnonzero(lengths == n) for n in np.unique(lengths)]
        starts = np.cumsum(lengths) - lengths
        places = [starts[one] + value for alike in self._alike for one in alike for value in range(lengths[one])]
        self._order = torch.tensor(np.argsort(places))
        tables = [torch.tensor(table, dtype=torch.float32) for table in self.genes.tables]
        self._table: Tensor = torch.block_diag(*tables)  # type: ignore[no-untyped-call]

    def candidates(self) -> Iterator[Decision]:
        """Yield the decisions at which descents of relaxed choices end, a new weighting of the objectives each time."""
        seen, generator = self.ledger.measured(), self.generator()
        values = self.penalised(seen)
        landscape = Landscape(self.genes.values(self.rows(seen)), values, self.ledger.seed)
        source = torch.Generator().manual_seed(int(generator.integers(2**62)))
        for weights in generator.dirichlet(np.ones(values.shape[1]), ATTEMPTS):
            yield self._descended(landscape, torch.tensor(weights, dtype=torch.float32), source)

    def _features(self, mixtures: Tensor) -> Tensor:
        """Return the features of a mixture of decisions, one choice's values after the other's, shape (values,)."""
        return mixtures @ self._table

    def _mixed(self, logits: Sequence[Tensor], source: torch.Generator) -> Tensor:
        """Return the mixture of each choice's values, in the order of the choices, shape (values,)."""
        return torch.cat([MIXINGS[self.mixing](one, source).flatten() for one in logits])[self._order]

    def _descended(self, landscape: Landscape, weights: Tensor, source: torch.Generator) -> Decision:
        # Choices of as many values are one tensor: a step of each choice's own would take several times as long.
        drawn = [0.1 * torch.randn(len(one), self.genes.lengths[one[0]], generator=source) for one in self._alike]
        logits = [one.requires_grad_() for one in drawn]
        optimizer = torch.optim.Adam(logits, RATE, fused=True)
        for _ in range(self.steps):
            mixtures = self._mixed(logits, source)
            loss = landscape(self._features(mixtures)) @ weights
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            row: Rows = np.zeros(len(self.genes.lengths), dtype=np.int64)
            for alike, one in zip(self._alike, logits, strict=True):
                row[alike] = settled(self.mixing, one).argmax(-1).numpy()
        return self.genes.decision(self.genes.canonical(row[None])[0])
