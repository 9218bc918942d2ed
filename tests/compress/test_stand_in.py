from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from architectures import lifted
from shared_nets import shared_net
from torch import Tensor, nn

import whet
from whet.compress.depth import Depth
from whet.compress.moments import Sums
from whet.compress.repair import Repair, output_error, reference_of
from whet.compress.stand_in import Form, StandIn, _solved
from whet.core.errors import CalibrationError, DecisionError
from whet.core.net import Net
from whet.core.passes import Chain
from whet.core.run import Run
from whet.core.space import Decision
from whet.testing.passes import check
from whet.testing.runs import AlignedTarget, planning_run


class Residual(nn.Module):
    """Three residual branches, with what the shortcut of the middle one is, and a head behind them."""

    def __init__(self, middle: nn.Module, shortcut: nn.Module, layer: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.first, self.last = (nn.Sequential(layer(), nn.ReLU(), layer()) for _ in range(2))
        self.middle, self.shortcut = middle, shortcut

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.first(x)
        x = self.shortcut(x) + self.middle(x)
        y: Tensor = x + self.last(x)
        return y


def dense() -> nn.Module:
    return nn.Linear(6, 6)


def image() -> nn.Module:
    return nn.Conv2d(6, 6, 3, padding=1)


LINEAR: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "features": (lambda: Residual(nn.Sequential(nn.Linear(6, 24), nn.Linear(24, 6)), nn.Identity(), dense), (6,)),
    "tokens": (lambda: Residual(nn.Sequential(nn.Linear(6, 24), nn.Linear(24, 6)), nn.Identity(), dense), (5, 6)),
    "channels": (
        lambda: Residual(nn.Sequential(nn.Conv2d(6, 24, 1), nn.Conv2d(24, 6, 1)), nn.Identity(), image), (6, 8, 8)
    ),
    "strided, another shortcut": (
        lambda: Residual(
            nn.Sequential(nn.Conv2d(6, 24, 1, stride=2), nn.Conv2d(24, 6, 1)), nn.AvgPool2d(2), image
        ),
        (6, 8, 8),
    ),
}  # fmt: skip


def relative_error(net: Net, other: Net, x: Tensor) -> float:
    with torch.no_grad():
        return float((net(x) - other(x)).norm() / net(x).norm())


@pytest.mark.parametrize("name", LINEAR)
def test_a_block_that_is_a_linear_map_is_replaced_without_loss(name: str) -> None:
    torch.manual_seed(0)
    module, shape = LINEAR[name]
    net = whet.lift(module().eval(), torch.randn(2, *shape))
    run = planning_run(net)
    assert "middle:stand_in" in StandIn().space(net, run.target).choices
    result = StandIn().apply(net, Decision({"middle:stand_in": True}), run)
    x = torch.randn(20, *shape)
    dropped = Depth().apply(net, Decision({"middle:keep": False}), run).net
    assert relative_error(net, result.net, x) < 1e-5 < 0.05 < relative_error(net, dropped, x)
    assert not result.skipped and [c.kind for c in result.changed] == ["linear"]
    assert len(list(result.net.module.parameters())) == len(list(net.module.parameters())) - 2
    run.teacher = net
    again = Chain((StandIn(), Repair())).apply(net, Decision({"middle:stand_in": True}), run)
    assert relative_error(net, again.net, x) < 1e-5


@pytest.mark.parametrize("name", ["mlp", "encoder", "hf_resnet", "hf_convnext", "hf_swin", "hf_mamba"])
def test_the_error_never_exceeds_that_of_dropping_for_the_mean(name: str) -> None:
    net = lifted(name)[2].copy()
    item = StandIn(samples=16, share=1.0)
    forms, skipped = item.forms(net)
    solved = item.solve(net, forms, planning_run(net))
    assert set(solved) == set(forms) and all(reason.endswith(".") for reason in skipped.values())
    for site, found in solved.items():
        assert found.error <= found.dropped_error * (1 + 1e-6) + 1e-9, site


@pytest.mark.parametrize("name", ["encoder_post_norm", "unet"])
def test_conforms(name: str) -> None:
    net = shared_net(name)
    assert len(check(StandIn(samples=16), net, AlignedTarget(), planning_run(net), count=0))  # type: ignore[arg-type]


def test_what_cannot_be_replaced_is_skipped_with_its_reason() -> None:
    torch.manual_seed(0)
    net = whet.lift(Residual(nn.Linear(6, 6), nn.Identity(), dense), torch.randn(2, 6))
    run = planning_run(net)
    assert "middle:stand_in" not in StandIn().space(net, run.target).choices
    said = StandIn().apply(net, Decision({"middle:stand_in": True, "gone:stand_in": True}), run).skipped
    assert said["middle"] == "a linear map takes 1.00 of its work, more than 0.5."
    assert said["gone"] == "no such residual block is left in the network."
    assert StandIn(share=1.0).forms(net)[0].keys() == {"first", "middle", "last"}
    with pytest.raises(DecisionError, match="share must lie"):
        StandIn(share=0.0)


def test_infinite_values_are_an_error_that_names_the_block() -> None:
    net = whet.lift(Residual(nn.Sequential(nn.Linear(6, 24), nn.Linear(24, 6)), nn.Identity(), dense), torch.ones(2, 6))
    run = planning_run(net)
    with torch.no_grad():
        net.module.get_parameter("middle.0.bias").fill_(torch.nan)
    with pytest.raises(CalibrationError, match="block 'middle' reads or gives NaN"):
        StandIn().apply(net, Decision({"middle:stand_in": True}), run)


def test_damages_and_shares_tell_what_is_lost_and_left() -> None:
    net = shared_net("resnet20")
    item, run = StandIn(samples=16), planning_run(net)
    name = "layer2.1:stand_in"
    nothing, lost = item.damages(net, run)[name]
    assert nothing == 0.0 < lost == item.solve(net, item.forms(net)[0], run)["layer2.1"].error
    left = item.shares(net, run)[name]
    assert left[0] == {} and set(left[1].values()) == {1 / 18}  # of two convolutions of 3 x 3
    first = {name.partition(":")[0] for name in item.obvious(net, run.target)[1]}
    dropped = {name.partition(":")[0] for name in Depth().obvious(net, run.target)[1]}
    assert first == {f"layer{i}.{j}" for i, j in ((1, 0), (1, 2), (2, 1), (3, 0), (3, 2))} and not first & dropped


def test_repair_solves_a_stand_in_behind_a_dropped_block_for_what_both_gave() -> None:
    net = shared_net("resnet20")
    run = Run(planning_run(net).task, AlignedTarget(), teacher=net)  # type: ignore[arg-type]
    chain = Chain((StandIn(samples=32), Depth(), Repair(samples=32)))
    result = chain.apply(net, Decision({"layer1.1:keep": False, "layer1.2:stand_in": True}), run)
    assert {"layer1.0.conv2", "layer1.2_stand_in", "layer2.1.conv2"} <= set(result.texts)
    reference = reference_of(net, run, 32)
    alone = StandIn(samples=32).apply(net, Decision({"layer1.2:stand_in": True}), run)
    strided = chain.apply(net, Decision({"layer2.0:stand_in": True}), run)
    assert "layer2.0_stand_in" in strided.texts and not strided.skipped
    dropped = Depth().apply(net, Decision({"layer1.2:keep": False}), run).net
    assert output_error(reference, alone.net) < output_error(reference, dropped)


def test_what_the_inputs_do_not_tell_is_left_as_a_dropped_block_leaves_it() -> None:
    # Only the first feature varies, and the block doubles it: of the second nothing is known.
    x = torch.zeros(1, 64, 2)
    x[..., 0] = torch.linspace(-1, 1, 64)
    for whole, unknown in ((True, 1.0), (False, 0.0)):
        sums = Sums(), Sums()
        for half in sums:
            half.add(x, 2 * x)
        weight = _solved(Form(2, 2, 1, (), whole), sums, "block").weight
        assert weight[0, 0].item() == pytest.approx(2.0, abs=0.1) and weight[1, 1].item() == pytest.approx(unknown)
