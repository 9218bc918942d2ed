"""The average of a training's weights: what counts in it, and when it is taken."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_training import F32, network, task

from whet.core.checks import ValueRangeError
from whet.core.errors import TrainingError
from whet.graph.zeros import hold
from whet.train.fit import fit
from whet.train.fit_report import FitReport
from whet.train.moving_average import MovingAverage
from whet.train.technique import Session


def average_of(values: list[float], spread: float) -> float:
    """Return the average of one weight that takes the given values, step by step."""
    module, report = nn.Linear(1, 1, bias=False), FitReport()
    hooks = MovingAverage(spread).begin(Session(module, None, F32, report, lambda: 1.0))
    assert hooks.after_step is not None and hooks.end is not None
    for value in values:
        report.steps += 1
        module.weight.data.fill_(value)
        hooks.after_step()
    hooks.end()
    return float(module.weight.detach())


@pytest.mark.parametrize("spread", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("steps", [200, 1000])
def test_the_steps_that_count_spread_by_the_same_share_of_any_training(spread: float, steps: int) -> None:
    """The paper's profile, s^gamma: of its mean (gamma + 1) / (gamma + 2), and of the spread that was asked for."""
    shares = [(s + 1) / steps for s in range(steps)]
    mean, square = average_of(shares, spread), average_of([s * s for s in shares], spread)
    gamma = MovingAverage(spread).gamma
    assert mean == pytest.approx((gamma + 1) / (gamma + 2), abs=0.01)
    assert math.sqrt(square - mean**2) == pytest.approx(spread, rel=0.05)


def test_what_the_weights_were_before_the_training_does_not_count() -> None:
    assert average_of([3.0], 0.1) == 3.0


def test_what_became_zero_in_the_training_stays_zero() -> None:
    assert average_of([1.0] * 50 + [0.5], 0.1) > 0.5
    assert average_of([1.0] * 50 + [0.0], 0.1) == 0.0


def trained(**options: Any) -> tuple[nn.Sequential, FitReport]:
    net = network()
    return net, fit(net, task(), recipe=F32, samples=1280, **options)


def test_the_training_itself_is_as_without_and_the_better_is_kept() -> None:
    plain, _ = trained()
    for kept_is_last in (True, False):
        losses = iter([0.0, 1.0] if kept_is_last else [1.0, 0.0])
        net, report = trained(techniques=(MovingAverage(judge=lambda losses=losses: next(losses)),))
        assert report.averaged is not kept_is_last
        assert torch.equal(net[0].weight, plain[0].weight) is kept_is_last


def test_the_average_of_a_noisy_training_is_nearer_to_the_optimum() -> None:
    """Gradients of a quadratic with noise: the last weights are as far away as the rate makes them."""

    def noisy(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.mean(0) - torch.randn(3)).square().sum()

    recipe = F32.__class__(learning_rate=0.05, precision="f32", schedule="constant", weight_decay=0.0)
    errors = []
    for techniques in ((), (MovingAverage(0.2),)):
        net = nn.Sequential(nn.Linear(6, 3))
        fit(net, task(noisy), recipe=recipe, samples=32 * 400, techniques=techniques)
        errors.append(float(net[0].bias.detach().square().sum()))
    assert errors[1] < errors[0] / 4


def test_statistics_are_averaged_counters_are_not_and_zeros_stay() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.Linear(32, 3))
    net[0].weight.data[:, :3] = 0.0
    hold(net[0])
    plain = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.Linear(32, 3))
    plain.load_state_dict(net.state_dict())
    hold(plain[0])
    fit(plain, task(), recipe=F32, samples=1280)
    fit(net, task(), recipe=F32, samples=1280, techniques=(MovingAverage(),))
    assert not torch.equal(net[1].running_mean, plain[1].running_mean)
    assert net[1].num_batches_tracked == plain[1].num_batches_tracked == 40
    assert not net[0].weight[:, :3].any() and net[0].weight[:, 3:].all()


def test_a_training_that_fails_keeps_its_last_good_weights() -> None:
    calls: list[int] = []

    def failing(outputs: Tensor, targets: Tensor) -> Tensor:
        calls.append(1)
        return outputs.square().mean() * (math.nan if len(calls) > 3 else 1.0)

    net = network()
    with pytest.raises(TrainingError):
        fit(net, task(failing), recipe=F32, samples=1280, techniques=(MovingAverage(),))
    assert torch.equal(net[0].weight, network()[0].weight), "the last good ones are those of the beginning"


@pytest.mark.parametrize("spread", [0.0, -1.0, 0.3])
def test_a_spread_that_no_average_has_is_refused(spread: float) -> None:
    with pytest.raises(ValueRangeError, match="spread must be"):
        MovingAverage(spread)
