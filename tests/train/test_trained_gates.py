"""Gates that learn: their gradient, their step, the share that closes, and what closed is cut without a difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from toy_training import F32, Blind, interrupted, network, task

import whet
from whet.core.checks import ValueRangeError
from whet.core.net import Net
from whet.graph.axes import analyze
from whet.graph.empty import without_empty
from whet.graph.probe import apart
from whet.tasks.bundle import TensorBatches
from whet.train.fit import fit
from whet.train.trained_gates import Gates, TrainedGates, stepped


def lifted(module: nn.Module | None = None) -> Net:
    return whet.lift((module or network()).eval(), (torch.randn(4, 6, generator=torch.Generator().manual_seed(1)),))


def test_a_gate_has_the_gradient_of_what_its_opening_changes_times_the_sigmoid() -> None:
    net = lifted()
    gates = Gates(net, analyze(net).groups["0"])
    with torch.no_grad():
        gates.weights[::2] = -0.5
    x = torch.randn(16, 6)
    hidden = net.layer("0")(x).relu()  # type: ignore[operator, union-attr]
    weight, bias = (net.module.get_parameter(f"2.{name}").detach() for name in ("weight", "bias"))
    handles = gates.hooked()
    out = net(x)
    torch.testing.assert_close(out, (hidden * (gates.weights > 0)) @ weight.T + bias)
    out.square().sum().backward()
    for handle in handles:
        handle.remove()
    wanted = ((2 * out.detach() @ weight) * hidden.detach()).sum(0) * gates.weights.detach().sigmoid()
    torch.testing.assert_close(gates.weights.grad, wanted)
    assert (gates.weights.grad[::2] != 0).any(), "closed ones have one, too"  # type: ignore[index]


def test_a_step_is_its_closed_form_and_one_of_a_site_stays_open() -> None:
    net = lifted()
    gates = Gates(net, analyze(net).groups["0"])
    slope = torch.linspace(-1, 2, 32)
    gates.weights.grad = slope.clone()
    stepped([gates], 0.5, 1.0, 0.5)
    mean = 0.1 * slope
    sigmoid = torch.ones(32).sigmoid()
    torch.testing.assert_close(gates.weights.detach(), 1 - 0.5 * (mean / mean.abs().mean() + sigmoid))
    before = gates.weights.detach().clone()
    stepped([gates], 0.5, 1.0, 1.0)  # nothing is to close: no cost
    torch.testing.assert_close(gates.weights.detach(), before - 0.5 * mean / mean.abs().mean())
    stepped([gates], 1000.0, 10.0, 0.0)
    gates.mean.zero_()
    stepped([gates], 1000.0, 10.0, 0.0)
    assert int((gates.weights > 0).sum()) == 1


def test_all_gates_close_that_do_nothing_and_what_was_needed_opens_again() -> None:
    """The weights rest and the targets are the network's own outputs: whatever else stays closed costs something."""
    module, planted = network(), [3, 4, 7, 12, 20, 21, 30, 31]
    with torch.no_grad():
        module[0].get_parameter("weight")[planted] = torch.tensor([0.9, 0.7, 0.0, 0.0, 0.0, 0.0])
        module[0].get_parameter("bias")[planted] = 0.0
    net = lifted(nn.Sequential(Blind(), *module))
    x = torch.randn(256, 6, generator=torch.Generator().manual_seed(0))
    wanted = net(x).detach()
    own = replace(task(functional.mse_loss), train=TensorBatches(x, wanted, 64, shuffle=True))
    resting = replace(F32, learning_rate=1e-9)
    fit(net, own, recipe=resting, samples=64 * 200, techniques=(TrainedGates(0.25, speed=4.0),))
    gone = (net.module.get_parameter("1.weight") == 0).all(1)
    assert gone[planted].all() and gone.sum() <= 10, "24 do something"
    assert (net.module.get_parameter("3.weight")[:, gone] == 0).all(), "what reads them, too"


def test_gates_stand_still_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """They learn for the first half of the training; the weights train on."""
    made: list[Gates] = []
    seen: list[tuple[bool, ...]] = []

    class Seen(Gates):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            made.append(self)

    def observed(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(tuple((made[0].weights > 0).tolist()))
        return functional.cross_entropy(outputs, targets)

    monkeypatch.setattr("whet.train.trained_gates.Gates", Seen)
    fit(lifted(), task(observed), recipe=F32, samples=32 * 60, techniques=(TrainedGates(speed=4.0),))
    half = len(seen) // 2 + 1
    assert len(set(seen[:half])) > 2 and len(set(seen[half:])) == 1


class Convolutions(nn.Sequential):
    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(
            nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.Sigmoid(),
            nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.ReLU(), nn.Conv2d(12, 8, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(48, 3),
        )  # fmt: skip


def test_the_share_closes_and_is_cut_without_a_difference() -> None:
    net = lifted(Convolutions())
    report = fit(net, task(), recipe=F32, epochs=8, techniques=(TrainedGates(cost=1.0),))
    assert not report.skipped
    narrow, x = without_empty(net), torch.randn(50, 6)
    left = [narrow.layer(site).weight.shape[0] for site in ("1", "6")]  # type: ignore[union-attr, index]
    assert sum(left) == pytest.approx(10, abs=2) and min(left) >= 1, "half of 20"
    assert apart(narrow(x).detach(), net(x).detach()) < 1e-5


def test_what_something_averages_over_or_multiplies_is_skipped() -> None:
    torch.manual_seed(0)
    net = lifted(nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)))
    report = fit(net, task(), recipe=F32, epochs=4, techniques=(TrainedGates(),))
    assert report.skipped == {"0": "its atoms cannot be cut without changing the outputs"}
    weight = net.module.get_parameter("2.weight")
    assert (weight == 0).all(1).any() and not (net.module.get_parameter("0.weight") == 0).all(1).any()


def test_it_goes_on_exactly_after_an_interruption(tmp_path: Path) -> None:
    whole, resumed = interrupted(TrainedGates(), lifted, tmp_path)
    assert all(map(torch.equal, *(n.module.state_dict().values() for n in (whole, resumed))))
    assert (whole.module.get_parameter("0.weight") == 0).all(1).any()


def test_a_module_is_told_that_its_channels_are_not_known() -> None:
    report = fit(network(), task(), recipe=F32, samples=32, techniques=(TrainedGates(),))
    assert "of a Net" in report.skipped["trained-gates"]


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"speed": 0.0}, {"cost": -1.0}])
def test_values_that_cannot_be_meant_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueRangeError):
        TrainedGates(**wrong)
