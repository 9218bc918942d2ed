"""Path following: each step is the best one, the error stays below its bound, and falls with the number of weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from whet.compress.quantize.path_following import (
    error_bound,
    followed,
    path_following,
    sparse_path_following,
    steps_of,
)
from whet.compress.quantize.rounding import compensated, error
from whet.graph.grids import Grid

WIDE = torch.arange(-500.0, 501.0, dtype=torch.float64)
"""So many whole numbers that none is too large."""


def samples(seed: int, count: int, inputs: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(inputs, inputs, generator=generator, dtype=torch.float64)
    return torch.randn(count, inputs, generator=generator, dtype=torch.float64) @ mixed


def by_trying(weight: Tensor, x: Tensor, step: float, alphabet: Tensor, threshold: float) -> Tensor:
    """Return what the paper's minimum over the alphabet gives, input by input, on the samples themselves."""
    u, found = torch.zeros(len(x), dtype=torch.float64), torch.zeros_like(weight)
    for t in torch.argsort(x.square().sum(0), descending=True).tolist():
        tried = u.unsqueeze(1) + (weight[t] - step * alphabet) * x[:, t : t + 1]
        cost = tried.square().sum(0) / 2 + threshold * step * (step * alphabet).abs() * x[:, t].square().sum()
        found[t] = step * alphabet[cost.argmin()]
        u = u + (weight[t] - found[t]) * x[:, t]
    return found


@pytest.mark.parametrize(
    ("alphabet", "threshold"),
    [((-3, -2, -1, 0, 1, 2, 3), 0.0), ((-3, -2, -1, 0, 1, 2, 3), 0.4), ((-1, 1), 0.0), ((-4, -2, -1, 0, 1, 2, 4), 0.2)],
)
def test_each_weight_is_the_best_of_any_alphabet(alphabet: tuple[int, ...], threshold: float) -> None:
    x, levels = samples(0, 40, 24), torch.tensor(alphabet, dtype=torch.float64)
    weight = torch.randn(1, 3, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = followed(weight, (x.T @ x / 40).unsqueeze(0), torch.full_like(weight, 0.5), levels, threshold)
    for own, row in zip(found[0], weight[0], strict=True):
        assert torch.allclose(own, by_trying(row, x, 0.5, levels, threshold))


def test_the_relative_error_falls_with_the_number_of_weights() -> None:
    """As the paper says: with the samples' number fixed, E|u|^2 / E|Xw|^2 falls as one over the number of weights."""
    relative, plain = [], []
    for inputs in (64, 256, 1024):
        generator = torch.Generator().manual_seed(inputs)
        x = torch.randn(16, inputs, generator=generator, dtype=torch.float64)
        weight = torch.randn(1, 24, inputs, generator=generator, dtype=torch.float64)
        moments, steps = (x.T @ x / 16).unsqueeze(0), torch.full_like(weight, 0.5)
        whole = error(weight, torch.zeros_like(weight), moments)
        relative.append(float(error(weight, followed(weight, moments, steps, WIDE), moments) / whole))
        plain.append(float(error(weight, (weight / 0.5).round() * 0.5, moments) / whole))
    assert relative[0] > 3 * relative[1] and relative[1] > 3 * relative[2], "four times the weights, a quarter at most"
    assert 0.7 < plain[0] / plain[2] < 1.4


@pytest.mark.parametrize("threshold", [0.0, 0.25])
def test_the_error_stays_below_its_bound_and_reaches_it(threshold: float) -> None:
    x = samples(2, 50, 32)
    weight = torch.randn(1, 64, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    moments, steps = (x.T @ x / 50).unsqueeze(0), torch.full_like(weight, 0.3)
    steps[..., ::2] = 0.6
    lost = weight - followed(weight, moments, steps, WIDE, threshold)
    found, bound = ((lost @ moments) * lost).sum(-1), error_bound(moments, steps, threshold)
    assert (found <= bound).all() and found.max() > 0.1 * bound.max()
    assert torch.allclose(bound[0], (0.5 + threshold) ** 2 * (steps[0] ** 2 @ moments[0].diagonal()))
    diagonal = torch.diag_embed(moments.diagonal(dim1=-2, dim2=-1))
    worst = steps * (0.5 + threshold - 1e-9)
    lost = worst - followed(worst, diagonal, steps, WIDE, threshold)
    assert torch.allclose(((lost @ diagonal) * lost).sum(-1), bound)


def test_on_a_grid_it_errs_less_than_rounding_to_nearest_and_more_than_compensation() -> None:
    x, grid = samples(4, 200, 24), Grid(4)
    moments = (x.T @ x / 200).unsqueeze(0)
    weight = torch.randn(1, 32, 24, generator=torch.Generator().manual_seed(5))
    found, scale = path_following(weight, moments, grid)
    nearest = (grid.integers(weight[0], scale) * scale.unsqueeze(1)).unsqueeze(0)
    errors = [float(error(weight, q, moments)) for q in (nearest, found, compensated(weight, moments, grid, scale))]
    assert errors[1] < 0.7 * errors[0] and errors[2] < errors[1]
    diagonal = torch.diag_embed(moments.diagonal(dim1=-2, dim2=-1))
    alone, scale = path_following(weight, diagonal, grid)
    assert torch.allclose(alone[0], grid.integers(weight[0], scale) * scale.unsqueeze(1))


def test_the_sparse_variant_has_more_zeros() -> None:
    x, grid = samples(6, 200, 24), Grid(3)
    moments = torch.stack([x.T @ x / 200, torch.zeros(24, 24, dtype=torch.float64)])
    weight = torch.randn(2, 16, 24, generator=torch.Generator().manual_seed(7))
    plain, sparse = path_following(weight, moments, grid)[0][0], sparse_path_following(weight, moments, grid)[0][0]
    assert (sparse == 0).sum() > 1.3 * (plain == 0).sum()


def test_groups_have_steps_of_their_own() -> None:
    weight = torch.zeros(2, 3, 8)
    steps = steps_of(weight, Grid(4, group=4), torch.arange(12.0))
    assert steps[1, 0].tolist() == [6.0] * 4 + [7.0] * 4
