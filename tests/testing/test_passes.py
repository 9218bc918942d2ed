"""The suite must catch each broken promise of a pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

import whet
from whet.compress.depth import Depth
from whet.compress.width import Width
from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.testing.networks import make
from whet.testing.passes import check
from whet.testing.runs import AlignedTarget, planning_run


@dataclass(frozen=True)
class Scale:
    """Multiply the head's weights by `head:scale`, wrongly in the way that `fault` names."""

    fault: str = ""
    traits = Traits("structure")

    def space(self, net: Net, target: Target) -> Space:
        values = (torch.rand(1).item(), 1.0) if self.fault == "unstable space" else (0.5, 1.0)
        return Space([Choice("head:scale", values, 1.0)])

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        scale = float(decision.get("head:scale", 1.0))
        out = net if self.fault == "mutates" else net.copy()
        weight = out.layer("head").weight
        with torch.no_grad():
            if self.fault == "identity":
                weight.mul_(1.0001)  # type: ignore[operator]
            if self.fault == "not seeded":
                weight.add_(torch.rand(()))  # type: ignore[operator, arg-type]
            if scale != 1.0:
                weight.mul_(float("nan") if self.fault == "not finite" else scale)  # type: ignore[operator]
        if self.fault == "heeds others" and len(decision) > 1:
            out.layer("head").bias.data.zero_()  # type: ignore[operator, union-attr]
        if self.fault == "frozen" and scale != 1.0:
            out.module.register_parameter("unread", torch.nn.Parameter(torch.ones(3)))
        silent = scale == 1.0 or self.fault == "silent"
        return Result(out, () if silent else changes("scaled", {"head": f"weights times {scale}"}))


@pytest.fixture(scope="module")
def net() -> Net:
    return whet.lift(*make("encoder"))


def test_a_sound_pass_conforms(net: Net) -> None:
    assert len(check(Scale(), net, AlignedTarget(), planning_run(net))) == 1


def test_passes_conform_on_a_network_of_several_outputs() -> None:
    net = whet.lift(*make("detector"))
    for item in (Width(), Depth()):
        assert len(check(item, net, AlignedTarget(), planning_run(net), count=2)) >= 1


@pytest.mark.parametrize(
    "fault, message",
    [
        ("mutates", "must return a copy|mutated"),
        ("identity", "to the bit"),
        ("not seeded", "to the bit|two different nets"),
        ("not finite", "not finite"),
        ("heeds others", "heeded another"),
        ("frozen", "no gradient reaches"),
        ("silent", "neither changed nor skipped"),
        ("unstable space", "same each time"),
    ],
)
def test_the_suite_catches(net: Net, fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(replace(Scale(), fault=fault), net, AlignedTarget(), planning_run(net))


def test_a_lost_layer_is_caught(net: Net) -> None:
    @dataclass(frozen=True)
    class ChangesShape(Depth):
        def apply(self, net: Net, decision: Decision, run: Run) -> Result:
            result = Depth.apply(self, net, decision, run)
            if result.changed:
                result.net.layer("head").weight = torch.nn.Parameter(torch.ones(3, 32))
                result.net.layer("head").bias = None  # type: ignore[assignment]
            return result

    with pytest.raises(AssertionError, match="changed the output's shape"):
        check(ChangesShape(), net, AlignedTarget(), planning_run(net))
