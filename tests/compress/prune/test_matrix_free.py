"""Products with the inverse of the empirical Fisher matrix are exact, and pruning by them is Optimal Brain Surgeon."""

from __future__ import annotations

import pytest
import torch

from whet.compress.prune.matrix_free import InverseFisher, surgeon


def given(samples: int = 5, size: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(samples, size, generator=generator).double()
    return rows, torch.randn(size, generator=generator).double(), torch.randn(size, generator=generator).double()


@pytest.mark.parametrize("damping", [0.3, 1e-3])
def test_products_and_the_diagonal_are_those_of_the_matrix(damping: float) -> None:
    rows, x, _ = given()
    inverse = torch.linalg.inv(damping * torch.eye(8).double() + rows.T @ rows / 5)
    made = InverseFisher(rows, damping)
    assert torch.allclose(made.times(x), inverse @ x) and torch.allclose(made.diagonal(), inverse.diagonal())


def test_one_weight_goes_as_optimal_brain_surgeon_says() -> None:
    rows, weights, _ = given(40)
    rows = rows / weights.abs() ** 1.5
    fisher = 0.01 * float(rows.square().mean()) * torch.eye(8).double() + rows.T @ rows / 40
    inverse = torch.linalg.inv(fisher)
    costs = weights**2 / (2 * inverse.diagonal())
    gone = int(costs.argmin())
    assert gone != int(weights.abs().argmin()), "magnitudes alone would take another"
    found = surgeon(rows, weights, 1, 0.01)
    assert (found == 0).nonzero().flatten().tolist() == [gone]
    assert torch.allclose(found, weights - inverse[:, gone] * weights[gone] / inverse[gone, gone])
    move = found - weights
    assert float(move @ fisher @ move) / 2 == pytest.approx(float(costs[gone]))


def test_several_go_by_the_sum_of_what_each_asks_for() -> None:
    rows, weights, _ = given()
    inverse = torch.linalg.inv(0.1 * float(rows.square().mean()) * torch.eye(8).double() + rows.T @ rows / 5)
    gone = torch.argsort(weights**2 / inverse.diagonal())[:3]
    wanted = weights - sum(inverse[:, q] * weights[q] / inverse[q, q] for q in gone.tolist())
    wanted[gone] = 0
    assert torch.allclose(surgeon(rows, weights, 3, 0.1), wanted)
