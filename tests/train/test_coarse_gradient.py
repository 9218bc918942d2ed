"""Coarse gradients: the nearest weights, the mean gradient, visits of the optimum, and the best that is kept."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from toy_training import F32, interrupted, layers_of, rounded, task

from whet.core.checks import ValueRangeError
from whet.core.task import Task
from whet.graph.fake_quantize import quantize_weight
from whet.graph.grids import Grid
from whet.train.coarse_gradient import CoarseGradient, nearest_scale
from whet.train.fit import fit
from whet.train.fit_report import FitReport
from whet.train.technique import Hooks, Session

RATE, STEPS = 0.05, 400
PLAIN = replace(
    F32, learning_rate=RATE, momentum=0.0, weight_decay=0.0, schedule="constant", warmup=0.0, clip_norm=0.0,
)  # fmt: skip


def nearest(row: Tensor, most: int) -> tuple[float, Tensor]:
    """Return the least |v - s q|^2 over all integers q, each with its own best s, and s q."""
    found = []
    for values in itertools.product(range(-most, most + 1), repeat=len(row)):
        q = torch.tensor(values, dtype=torch.float64)
        s = float(row @ q / (q @ q).clamp(min=1e-12))
        if s > 0:
            found.append((float((row - s * q).square().sum()), s * q))
    return min(found, key=lambda pair: pair[0])


@pytest.mark.parametrize("most", [1, 2, 3])
def test_weights_are_projected_exactly(most: int) -> None:
    rows = torch.randn(4, 5, generator=torch.Generator().manual_seed(most), dtype=torch.float64)
    scale = nearest_scale(rows, most).unsqueeze(1)
    projected = scale * (rows / scale).round().clamp(-most, most)
    for row, got in zip(rows, projected, strict=True):
        assert torch.allclose(got, nearest(row, most)[1], atol=1e-9)


class OneRow:
    """A layer of one row that is told how far its weights are from `wanted`; what it computed with, step by step."""

    def __init__(self, seed: int, window: int, wanted: Tensor | None = None) -> None:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(2, 6, generator=generator)
        self.wanted, self.start = drawn[:1] if wanted is None else wanted, drawn[1:]
        linear = nn.Linear(6, 1, bias=False)
        with torch.no_grad():
            linear.weight.copy_(self.start)
        self.module = nn.Sequential(quantize_weight(linear, Grid(2)))
        self.last, self.seen, self.losses = self.start, list[Tensor](), list[float]()
        x = torch.eye(6)
        job = Task("one row", train=[(x, self.wanted.t())], val=[(x, self.wanted.t())], loss=self.loss)
        fit(self.module, job, recipe=PLAIN, samples=6 * STEPS, techniques=(CoarseGradient(window), Watch(self)))

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Return half the squared distance, whose gradient is the difference."""
        self.seen.append(outputs.detach().t().clone())
        found = (outputs - wanted).square().sum() / 2
        self.losses.append(float(found.detach()))
        return found


class Watch:
    """Remembers the float weights behind the last step."""

    def __init__(self, path: OneRow) -> None:
        self.path = path

    def begin(self, session: Session) -> Hooks:
        def after_step() -> None:
            self.path.last = session.module[0].weight.detach().clone()  # type: ignore[index]

        return Hooks(after_step=after_step)


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_the_mean_gradient_is_how_far_float_weights_went(seed: int) -> None:
    """mean_t grad L(w_t) = (v_0 - v_T) / (rate T), whatever the grid cuts off."""
    path = OneRow(seed, 1)
    mean = torch.stack(path.seen).double().mean(0) - path.wanted
    assert torch.allclose(mean, (path.start - path.last).double() / (RATE * STEPS), atol=1e-5)
    assert float(path.last.abs().max()) < 5


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_the_optimum_is_visited_again_and_again_and_kept(seed: int) -> None:
    path = OneRow(seed, 1)
    least, best = nearest(path.wanted[0].double(), 1)
    at = [torch.equal(w[0].sign(), best.sign()) for w in path.seen[STEPS // 2 :]]
    assert sum(a and not b for a, b in itertools.pairwise(at)) > 20, "it is left, and come back to"
    (layer,) = layers_of(path.module)
    kept = float((layer.weight.detach() - path.wanted).square().sum())
    assert kept == pytest.approx(2 * min(path.losses), rel=1e-5)
    assert kept < least * 1.05 and kept < 1.9 * path.losses[-1]


def test_the_best_is_that_of_the_least_mean_of_the_last_losses() -> None:
    path = OneRow(0, 7)
    means = [sum(path.losses[i - 7 : i]) / 7 for i in range(7, STEPS + 1)]
    best = min(range(len(means)), key=means.__getitem__) + 6
    (layer,) = layers_of(path.module)
    assert torch.allclose(layer.weight.detach(), path.seen[best], atol=1e-6)


def test_all_of_the_gradient_passes_also_beyond_the_end_of_the_grid() -> None:
    module = rounded(Grid(3)).train()
    CoarseGradient().begin(Session(module, None, F32, FitReport(), lambda: 0.0))
    for layer in layers_of(module):
        form = layer.integer_weight(layer.weight)
        assert (layer.weight.abs() > 3.5 * layer.weight_scale.unsqueeze(1)).any(), "some are beyond"
        (slope,) = torch.autograd.grad(form.sum(), layer.weight)
        assert (slope == 1).all()


def test_training_gains_and_ends_on_the_grid() -> None:
    module = rounded(Grid(2))
    ((x, y),) = task().val
    before = float(nn.functional.cross_entropy(module.eval()(x), y).detach())
    fit(module, task(), recipe=F32, epochs=12, techniques=(CoarseGradient(8),))
    assert float(nn.functional.cross_entropy(module(x), y).detach()) < 0.5 * before
    for layer in layers_of(module):
        assert layer.in_training is None
        integers = layer.grid.integers(layer.weight, layer.weight_scale)
        assert torch.allclose(layer.weight.detach(), integers * layer.weight_scale.unsqueeze(1), atol=1e-6)


def test_a_training_that_was_interrupted_goes_on_exactly(tmp_path: Path) -> None:
    whole, other = interrupted(CoarseGradient(3), lambda: rounded(Grid(2)), tmp_path)
    assert all(map(torch.equal, whole.state_dict().values(), other.state_dict().values()))


def test_layers_of_eight_bits_are_left_and_a_window_of_none_is_refused() -> None:
    eight = rounded(Grid(8))
    assert CoarseGradient().begin(Session(eight, None, F32, FitReport(), lambda: 0.0)).end is None
    with pytest.raises(ValueRangeError, match="window"):
        CoarseGradient(0)
