"""Zeros: the smallest weights go, groups hold their share, what is left is solved, and files become smaller."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from shared_nets import shared_net
from torch import Tensor, nn

import whet
from whet.compress.prune.magnitude import Magnitude
from whet.compress.quantize.weight_only import WeightOnly
from whet.compress.repair import Repair
from whet.compress.width import Width
from whet.core.errors import DecisionError, UnknownNameError
from whet.core.net import Net
from whet.core.passes import Chain
from whet.core.space import Decision
from whet.graph.fold import fold_batch_norms
from whet.graph.zeros import zeros_of
from whet.testing.passes import check
from whet.testing.runs import AlignedTarget, planning_run

TARGET = AlignedTarget()


def perceptron(width: int = 64) -> Net:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(32, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))
    return whet.lift(module.eval(), (torch.randn(8, 32),))


def weights(net: Net, *names: str) -> Tensor:
    return torch.cat([net.layer(n).get_parameter("weight").detach().flatten() for n in names])


@pytest.mark.parametrize("item", [Magnitude(), Magnitude(tie="layer"), Magnitude((0.0, 0.5), group=4)])
def test_conforms(item: Magnitude) -> None:
    net = perceptron(32)
    assert len(check(item, net, TARGET, planning_run(net), count=1))


def test_the_smallest_of_all_layers_go_and_no_other() -> None:
    net = perceptron()
    result = Magnitude().apply(net, Decision({"network:zeros": 0.7}), planning_run(net))
    names = ("0", "2")
    before, after = weights(net, *names), weights(result.net, *names)
    gone = after == 0
    assert int(gone.sum()) == int(0.7 * len(before) + 0.5)
    assert float(before[gone].abs().max()) <= float(before[~gone].abs().min())
    assert torch.equal(after[~gone], before[~gone])
    assert [c.site for c in result.changed] == list(names), "the last layer has fewer weights than `least`"
    assert torch.equal(weights(net, "4"), weights(result.net, "4"))


def test_layers_of_their_own_rank_their_own() -> None:
    net = perceptron()
    decision = Decision({"0:zeros": 0.5, "2:zeros": 0.9, "9:zeros": 0.5})
    result = Magnitude(tie="layer").apply(net, decision, planning_run(net))
    assert [zeros_of(result.net.layer(n)) for n in ("0", "2")] == [1024, int(0.9 * 4096 + 0.5)]
    assert "no layer" in result.skipped["9"]


def test_groups_hold_exactly_so_many_of_so_many() -> None:
    net = perceptron()
    item = Magnitude((0.0, 0.5, 0.75), group=4)
    for share, left in ((0.5, 2), (0.75, 1)):
        result = item.apply(net, Decision({"network:zeros": share}), planning_run(net))
        for name in ("0", "2"):
            rows, old = (n.layer(name).get_parameter("weight").detach().view(-1, 4) for n in (result.net, net))
            assert ((rows != 0).sum(1) == left).all()
            assert torch.equal(rows.abs().amax(1), old.abs().amax(1)), "the largest of a group stays"
    with pytest.raises(DecisionError, match="whole numbers"):
        Magnitude((0.0, 0.6), group=4)
    with pytest.raises(DecisionError, match="include"):
        Magnitude((0.5,))
    with pytest.raises(UnknownNameError, match="network"):
        Magnitude(tie="netwrok")


def test_groups_that_do_not_fit_are_skipped() -> None:
    net = whet.lift(nn.Sequential(nn.Linear(35, 64)).eval(), (torch.randn(2, 35),))
    result = Magnitude((0.0, 0.5), group=4).apply(net, Decision({"network:zeros": 0.5}), planning_run(net))
    assert not result.changed and "do not divide" in result.skipped["0"]


def test_the_damage_foretold_is_the_share_of_the_squares_that_goes() -> None:
    net = perceptron()
    found = Magnitude().damages(net, planning_run(net))["network:zeros"]
    squares = weights(net, "0", "2").square().sort().values
    expected = [float(squares[: int(z * len(squares) + 0.5)].sum() / squares.sum()) for z in Magnitude().levels]
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_repair_keeps_zeros_and_lowers_the_error() -> None:
    net = perceptron()
    run = replace(planning_run(net), teacher=net)
    x = torch.randn(2048, 32, generator=torch.Generator().manual_seed(1))
    run = replace(run, task=replace(run.task, calibration=[(x[:1024], None)]))
    chain = Chain((Width(), Magnitude()))
    decision = Decision({"network:zeros": 0.7, next(c.name for c in Width().space(net, TARGET)): 0.5})  # type: ignore[arg-type]
    cut = chain.apply(net, decision, run).net
    solved = Repair().apply(cut, Decision(), run).net
    for name in ("0", "2"):
        a, b = (n.layer(name).get_parameter("weight") for n in (cut, solved))
        assert zeros_of(cut.layer(name)) and torch.equal(a == 0, b == 0)
    errors = [float((n(x[1024:]) - net(x[1024:])).detach().square().mean()) for n in (cut, solved)]
    assert errors[1] < 0.7 * errors[0]


def test_zeros_survive_folding_and_integers() -> None:
    net = shared_net("resnet20")
    pruned = Magnitude().apply(net, Decision({"network:zeros": 0.8}), planning_run(net)).net
    folded = fold_batch_norms(pruned)
    stored = WeightOnly().apply(pruned, Decision({"network:weights": "int4"}), planning_run(net)).net
    for name, layer in pruned.layers().items():
        if zeros_of(layer):
            zero = layer.get_parameter("weight") == 0
            assert zeros_of(folded.layer(name)) == int(zero.sum())
            on_grid = stored.layer(name).integer_weight(stored.layer(name).weight)  # type: ignore[operator]
            assert not on_grid[zero].any()
