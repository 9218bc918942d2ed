"""Scales by the similarity of outputs: the most similar of all, of the right length."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from whet.compress.quantize.rounding import error
from whet.compress.quantize.similarity import SHARES, similarity
from whet.graph.grids import Grid, widest_scale


def case(seed: int, out: int = 6, inputs: int = 24) -> tuple[Tensor, Tensor]:
    """Return a weight and the inputs that it reads, which depend on each other."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(inputs, inputs, generator=generator, dtype=torch.float64)
    x = torch.randn(100, inputs, generator=generator, dtype=torch.float64) @ mixed
    return torch.randn(out, inputs, generator=generator), x


def tried(weight: Tensor, grid: Grid) -> list[Tensor]:
    """Return the weight rounded to nearest on every step that is looked at."""
    rows = grid.rows(weight)
    scales = [widest_scale(rows, grid.most) * share for share in (1.0, *SHARES.tolist())]
    return [(grid.integers(rows, scale) * scale.unsqueeze(1)).view_as(weight) for scale in scales]


@pytest.mark.parametrize("grid", [Grid(2), Grid(4), Grid(3, group=8)], ids=lambda g: g.name)
def test_no_step_that_was_tried_gives_outputs_more_alike(grid: Grid) -> None:
    weight, x = case(0)
    found = similarity(weight.unsqueeze(0), (x.T @ x).unsqueeze(0), grid)[0][0]
    outputs = x @ weight.double().T
    cosines = torch.stack([F.cosine_similarity(x @ q.double().T, outputs, dim=0) for q in tried(weight, grid)])
    own = F.cosine_similarity(x @ found.double().T, outputs, dim=0)
    assert torch.allclose(own, cosines.max(0).values, atol=1e-6) and (own > cosines[0]).any()


@pytest.mark.parametrize("grid", [Grid(2), Grid(4)], ids=lambda g: g.name)
def test_the_error_is_what_the_similarity_lacks(grid: Grid) -> None:
    """E(w x - s q x)^2 = (1 - cos^2) E(w x)^2, and so no more than on any of the steps."""
    weight, x = case(1)
    moments = (x.T @ x / len(x)).unsqueeze(0)
    found, scale = similarity(weight.unsqueeze(0), moments, grid)
    outputs, rounded = x @ weight.double().T, x @ found[0].double().T
    lacking = 1 - F.cosine_similarity(rounded, outputs, dim=0) ** 2
    assert torch.allclose((outputs - rounded).square().mean(0), lacking * outputs.square().mean(0), rtol=1e-4)
    for q in tried(weight, grid):
        each = (outputs - x @ q.double().T).square().mean(0)
        assert ((outputs - rounded).square().mean(0) <= each * (1 + 1e-6)).all()
    integers = found[0] / scale.unsqueeze(1)
    assert torch.allclose(integers, integers.round(), atol=1e-4) and integers.abs().max() <= grid.most + 1e-4


def test_steps_go_by_what_is_read_and_not_by_the_weight_alone() -> None:
    """A large weight that reads next to nothing is clipped."""
    weight = torch.cat([torch.full((1, 1, 1), 5.0), torch.linspace(-1, 1, 40).view(1, 1, 40)], -1)
    moments = torch.eye(41, dtype=torch.float64).unsqueeze(0)
    plain = similarity(weight, moments, Grid(4))[1]
    moments[0, 0, 0] = 1e-6
    assert similarity(weight, moments, Grid(4))[1] < 0.6 * plain


def test_channels_without_outputs_are_rounded_to_nearest() -> None:
    weight, grid = case(2)[0].unsqueeze(0), Grid(4)
    found, scale = similarity(weight, torch.zeros(1, 24, 24, dtype=torch.float64), grid)
    assert torch.allclose(scale, widest_scale(weight[0], grid.most))
    assert torch.allclose(found[0], grid.integers(weight[0], scale) * scale.unsqueeze(1))
    assert error(weight, found, torch.eye(24, dtype=torch.float64).unsqueeze(0)) > 0
