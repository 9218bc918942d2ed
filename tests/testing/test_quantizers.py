"""The suite of quantizers must catch each broken promise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

import whet
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.net import Net
from whet.core.passes import Result
from whet.core.run import Run
from whet.core.space import Decision
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.grids import Grid
from whet.testing.networks import ResidualNet
from whet.testing.quantizers import Form, check, holds
from whet.testing.runs import planning_run

calls = [0]


@dataclass(frozen=True)
class Faulty(WeightOnly):
    """Weights on grids, wrongly in the way that `fault` names."""

    fault: str = ""

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        result = super().apply(net, decision, run)
        layers = [m for m in result.net.layers().values() if isinstance(m, IntegerWeight)]
        calls[0] += 1
        with torch.no_grad():
            if self.fault == "lossy":
                layers[0].weight_scale.mul_(0.5)
            if self.fault == "worse with more bits" and decision[NETWORK] == "int8":
                return super().apply(net, Decision({NETWORK: "int3"}), run)
            if self.fault == "a draw":
                layers[0].weight_scale.mul_(1 + 1e-3 * calls[0])
            if self.fault == "mutates":
                next(net.module.parameters()).mul_(1.001)
        if self.fault == "silent":
            return Result(result.net, result.changed)
        return result


def forms(item: WeightOnly) -> list[Form]:
    return [Form(Grid(bits).bits, item, Decision({NETWORK: f"int{bits}"})) for bits in (3, 4, 8)]


def net() -> Net:
    torch.manual_seed(0)
    return whet.lift(ResidualNet(1, 8).eval(), (torch.randn(2, 3, 8, 8),))


@pytest.mark.parametrize(
    "fault, said",
    [
        ("lossy", "outputs are off by"),
        ("worse with more bits", "bits allow"),
        ("a draw", "two different nets"),
        ("mutates", "mutated the network"),
        ("silent", "says nothing of a transposed convolution"),
    ],
)
def test_each_broken_promise_is_named(fault: str, said: str, tmp_path: Path) -> None:
    small = net()
    with pytest.raises(AssertionError, match=said):
        check(forms(Faulty(rounding="nearest", fault=fault)), small, planning_run(small), tmp_path)


def test_what_is_called_simulated_has_no_file(tmp_path: Path) -> None:
    small = net()
    some = [Form(8, WeightOnly(rounding="nearest"), Decision({NETWORK: "int8"}), simulated=True)]
    with pytest.raises(AssertionError, match="only simulated"):
        check(some, small, planning_run(small), tmp_path)


def test_an_integer_that_is_another_is_seen() -> None:
    weight = torch.arange(6.0).view(2, 3)
    other = weight.clone()
    other[0, 1] += 1
    assert holds(weight.T.numpy(), weight.numpy()) and not holds(weight.T.numpy(), other.numpy())


def test_errors_are_those_of_the_bits(tmp_path: Path) -> None:
    """Uniform steps: four bits more divide the error by about sixteen."""
    small = net()
    three, four, eight = check(forms(WeightOnly(rounding="nearest")), small, planning_run(small), tmp_path)
    assert eight < four < three and 8 < four / eight < 40
    assert isinstance(small.layer("fc"), nn.Linear)
