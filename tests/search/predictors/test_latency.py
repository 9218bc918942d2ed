"""The latency model on machines whose costs are known, and its errors on a noisy one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import whet
from whet.compress.depth import Depth
from whet.compress.width import Width
from whet.core.errors import StudyError
from whet.core.passes import Chain
from whet.decisions.enumerate import point, size
from whet.hardware import targets
from whet.networks.resnet import resnet
from whet.search.predictors.latency import LatencyModel, costs, errors


@pytest.fixture(scope="module")
def nets() -> list[whet.Net]:
    torch.manual_seed(0)
    net = whet.lift(resnet(20).eval(), (torch.randn(2, 3, 32, 32),))
    passes, target = Chain((Depth(), Width())), targets.get("cpu")
    batches = [(net.example, torch.zeros(2, dtype=torch.long))]
    task = whet.Task("t", train=batches, val=batches, loss=functional.cross_entropy, metric=whet.accuracy)
    run = whet.Run(task, target, net)
    space = passes.space(net, target)
    ranks = np.random.default_rng(0).integers(0, min(size(space), 2**62), 24)
    return [passes.apply(net, point(space, int(r)), run).net for r in ranks]


def machine(net: whet.Net) -> float:
    """A machine that needs 1 ns for a thousand multiply-accumulates, and 2 microseconds a layer."""
    own = costs(net)
    return sum(v * (1e-3 if k.endswith("work") else 2000.0 if k.endswith("count") else 0.0) for k, v in own.items())


def test_the_costs_of_an_additive_machine_are_found(nets: list[whet.Net]) -> None:
    times = [machine(net) for net in nets]
    model = LatencyModel().fit(nets[:16], times[:16])
    for net, time in zip(nets[16:], times[16:], strict=True):
        assert model(net) == pytest.approx(time, rel=0.02)


def test_errors_are_of_networks_left_out_and_grow_with_noise(nets: list[whet.Net]) -> None:
    generator = np.random.default_rng(1)
    exact = errors(nets, [machine(net) for net in nets])
    noisy = errors(nets, [machine(net) * generator.lognormal(0, 0.2) for net in nets])
    assert exact.median < 0.02 and exact.median <= exact.percentile_95
    assert noisy.median > 3 * exact.median


def test_channels_count_in_whole_blocks_and_folded_norms_not_at_all(nets: list[whet.Net]) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 17, 1), torch.nn.BatchNorm2d(17)).eval()
    found = costs(whet.lift(module, (torch.randn(2, 3, 4, 4),)))
    assert found == {
        "convolution 4x4: work": 32.0 * 16 * 16, "convolution 4x4: outputs": 17.0 * 16, "convolution 4x4: count": 1.0
    }  # fmt: skip


def test_the_sum_of_squared_relative_errors_is_least() -> None:
    """For latencies 1 and 3, (a - 1)^2 + (a / 3 - 1)^2 is least at 1.2, where absolute errors say 2."""
    model = LatencyModel()._fit([{"x": 1.0}, {"x": 1.0}], [1.0, 3.0])
    assert model._predict({"x": 1.0}) == pytest.approx(1.2)


def test_no_kind_of_layer_saves_time() -> None:
    """The larger network was the faster: a least square would make b negative, and a network of b alone nothing."""
    model = LatencyModel()._fit([{"a": 1.0}, {"a": 1.0, "b": 1.0}], [2.0, 1.0])
    assert model._predict({"b": 1.0}) == 0.0
    assert model._predict({"a": 1.0}) == pytest.approx((1 / 2 + 1) / (1 / 4 + 1))


def test_what_was_left_out_had_no_part_in_the_fit() -> None:
    """Convolutions of three sizes are three kinds: known exactly to who saw them, and not at all to who did not."""
    nets = []
    for side in (6, 7, 8):
        module = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3)).eval()
        nets.append(whet.lift(module, (torch.randn(2, 2, side, side),)))
    assert len({name for net in nets for name in costs(net)}) == 9
    assert errors(nets, [1.0, 2.0, 3.0], folds=3).median == pytest.approx(1.0)


def test_a_depthwise_convolution_reads_one_channel_for_each_that_it_writes() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(32, 32, 3, groups=32, padding=1)).eval()
    found = costs(whet.lift(module, (torch.randn(2, 32, 4, 4),)))
    assert found["depthwise convolution 4x4: work"] == 32 * 9 * 16


def test_asked_too_early_or_with_too_little(nets: list[whet.Net]) -> None:
    with pytest.raises(StudyError, match="before it had data"):
        LatencyModel()(nets[0])
    with pytest.raises(StudyError, match="got 2"):
        errors(nets[:2], [1.0, 2.0])
