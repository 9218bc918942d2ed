"""Bits by orthogonality: the similarity is the one of features, the programme is solved, unlike layers get more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from shares import GRIDS, problem_of
from torch import Tensor, nn

from whet.compress.quantize.orthogonality import alike, by_orthogonality, grams, worths
from whet.graph.grids import stored_bits


class Three(nn.Module):
    """Three layers that read the same; the last is a turned copy of the first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = (nn.Linear(12, 12, False) for _ in range(3))
        self.a.weight.data, self.b.weight.data = torch.eye(12), torch.diag((torch.arange(12) > 8).float())
        self.c.weight.data = torch.linalg.qr(torch.randn(12, 12))[0]

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the three: (rows, 12)."""
        y: Tensor = self.a(x) + self.b(x) + self.c(x)
        return y


def test_the_similarity_of_gram_matrices_is_that_of_features() -> None:
    """|Y^T X|^2 / (|X^T X| |Y^T Y|) of centred features, over any number of batches."""
    x = torch.randn(40, 12, generator=torch.Generator().manual_seed(1)) + 1.0
    module = Three()
    found = alike(grams(problem_of(module, x, 0.0)))
    features = [layer(x).detach().double() for layer in (module.a, module.b, module.c)]
    centred = [f - f.mean(0) for f in features]
    wanted = [
        [float((p.T @ q).square().sum() / ((p.T @ p).norm() * (q.T @ q).norm())) for q in centred] for p in centred
    ]
    assert np.allclose(found, wanted, atol=1e-5)
    assert found[0, 2] == pytest.approx(1.0, abs=1e-5) and found[0, 1] < 0.8, "rotations do not count"


def test_worth_is_the_mean_of_what_is_behind() -> None:
    similar = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 1.0], [0.0, 1.0, 1.0]])
    own = np.exp([-1.0, -3.0, -2.0])
    assert np.allclose(worths(similar, 2.0), [own.mean(), own[1:].mean(), own[2]])


@pytest.mark.parametrize("mean_bits", [2.0, 3.5, 5.0, 7.9])
def test_the_share_is_the_programmes_and_within_the_bits(mean_bits: float) -> None:
    """Equal sizes: the layers of most worth have the most bits, one at most lies between, and little is left."""
    x = torch.randn(40, 12, generator=torch.Generator().manual_seed(1))
    problem = problem_of(Three(), x, mean_bits * 3 * 144)
    found = by_orthogonality(problem)
    assert problem.bits(found) <= problem.most_bits
    worth = worths(alike(grams(problem)), 1.0)
    bits = np.array([stored_bits(found[s]) for s in ("a", "b", "c")])[np.argsort(-worth)]
    assert (np.diff(bits) <= 0).all() and sum(b not in (bits.max(), bits.min()) for b in bits) <= 1
    have, offered = (sorted(map(stored_bits, grids)) for grids in (found.values(), GRIDS))
    gaps = [144 * (more - b) for b in have for more in offered if more > b]
    assert not gaps or problem.bits(found) + min(gaps) > problem.most_bits, "no layer could have one grid more"


def test_without_room_all_have_the_fewest() -> None:
    problem = problem_of(Three(), torch.randn(40, 12), 3 * 144.0)
    assert set(by_orthogonality(problem).values()) == {GRIDS[-1]}
