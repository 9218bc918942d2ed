from __future__ import annotations

import types
from dataclasses import replace
from itertools import product

import pytest
import torch
from shared_nets import shared_net
from torch import nn

import whet
from whet.compress.depth import Depth
from whet.compress.width import Width
from whet.core.errors import DecisionError, UnknownNameError
from whet.core.net import Net
from whet.core.passes import Chain
from whet.core.run import Run
from whet.core.space import Decision
from whet.graph.axes import analyze
from whet.testing.networks import ResidualNet
from whet.testing.passes import check
from whet.testing.runs import AlignedTarget, planning_run

TARGET = AlignedTarget()
INNER = {f"layer{s}.{{0..2}}.conv1:width": 0.5 for s in (1, 2, 3)}


def lifted(name: str) -> Net:
    return shared_net(name)


@pytest.mark.parametrize(
    ("name", "tie"),
    [
        *product(("mobilenet", "vision_transformer", "decoder", "unet"), ("none", "stage", "network")),
        # A choice for each of the groups of ResNet-20 would take as long as all others.
        *product(("resnet20",), ("stage", "network")),
    ],
)
def test_conforms(name: str, tie: str) -> None:
    net = lifted(name)
    assert len(check(Width(tie=tie), net, TARGET, planning_run(net), count=2))  # type: ignore[arg-type]


@pytest.mark.parametrize("importance", ["taylor", "batch_norm_scale", "weight_norm"])
def test_conforms_with_every_importance(importance: str) -> None:
    net = lifted("mobilenet")
    assert len(check(Width(importance=importance), net, TARGET, planning_run(net), count=2))  # type: ignore[arg-type]


def test_halving_the_inner_channels_of_resnet20_halves_their_parameters() -> None:
    net = whet.lift(ResidualNet(3), torch.randn(2, 3, 32, 32))
    result = Width().apply(net, Decision(INNER), planning_run(net))
    inner = [n for n in net.layers() if n.endswith((".conv1", ".bn1", ".conv2"))]
    assert len(inner) == 27
    for name in inner:
        whole, half = (sum(p.numel() for p in n.layer(name).parameters()) for n in (net, result.net))
        assert whole == 2 * half, name
    removed = sum(sum(p.numel() for p in net.layer(n).parameters()) for n in inner) // 2
    assert net.parameter_count - result.net.parameter_count == removed
    assert result.texts["layer2.1.conv1"] == "32 to 16 channels"
    assert len(result.changed) == 9
    assert not result.skipped


def test_stage_ties_of_resnet20_leave_five_choices() -> None:
    assert [c.name for c in Width().space(lifted("resnet20"), TARGET)] == [
        "{conv1,layer2.0.conv2}:width",
        "layer1.{0..2}.conv1:width",
        "layer2.{0..2}.conv1:width",
        "layer3.{0..2}.conv1:width",
        "layer3.0.conv2:width",
    ]
    assert len(Width(tie="none").space(lifted("resnet20"), TARGET)) == 12
    assert [c.name for c in Width(streams=False).space(lifted("resnet20"), TARGET)] == list(INNER)


def test_known_zero_filters_are_cut_first() -> None:
    net = lifted("resnet20")
    zero = [1, 4, 5, 9, 11, 13, 14, 15]
    with torch.no_grad():
        net.layer("layer1.1.conv1").weight[zero] = 0  # type: ignore[index, operator]
    before = net.layer("layer1.1.conv1").weight
    result = Width(importance="weight_norm", tie="none").apply(
        net, Decision({"layer1.1.conv1:width": 0.5}), planning_run(net)
    )
    kept = [i for i in range(16) if i not in zero]
    assert torch.equal(result.net.layer("layer1.1.conv1").weight, before[kept])  # type: ignore[arg-type, index]
    read = net.layer("layer1.1.conv2").weight
    assert torch.equal(result.net.layer("layer1.1.conv2").weight, read[:, kept])  # type: ignore[arg-type, index]


@pytest.mark.parametrize(
    "alignment, round_to, size, kept",
    [
        (16, None, 16, [4, 8, 12, 16]),  # a step of 16 would leave no choice: 4
        (16, None, 32, [8, 16, 24, 32]),
        (16, None, 64, [16, 32, 48, 64]),
        (16, None, 100, [32, 48, 80, 100]),
        (64, None, 96, [32, 48, 80, 96]),  # a step of 16: 24 and 72 lie halfway
        (16, 1, 10, [3, 5, 8, 10]),
        (1, None, 3, [1, 2, 2, 3]),
    ],
)
def test_widths_are_aligned_where_the_group_is_large_enough(
    alignment: int, round_to: int | None, size: int, kept: list[int]
) -> None:
    net = whet.lift(
        torch.nn.Sequential(torch.nn.Linear(5, size), torch.nn.ReLU(), torch.nn.Linear(size, 3)), torch.randn(2, 5)
    )
    width = Width(round_to=round_to)
    group = analyze(net).groups["0"]
    assert [width.kept(net, group, f, alignment) for f in width.fractions] == kept
    result = width.apply(net, Decision({"0:width": 0.25}), planning_run(net, alignment))
    assert result.net.layer("0").weight.shape == (kept[0], 5)


def test_heads_are_aligned_by_the_channels_they_hold() -> None:
    net = lifted("encoder")  # four heads of eight channels: one head is eight channels, two are sixteen
    group = analyze(net).groups["layers.0.attention.query#heads"]
    assert [Width().kept(net, group, f, 8) for f in (0.25, 0.5, 0.75, 1.0)] == [1, 2, 3, 4]
    result = Width().apply(net, Decision({"layers.{0..2}.attention.query#heads:width": 0.25}), planning_run(net, 8))
    assert result.net.layer("layers.2.attention.value").weight.shape == (8, 32)
    assert result.net.layer("layers.2.attention.out").weight.shape == (32, 8)


def test_width_after_depth_is_decided_on_what_is_left() -> None:
    net = lifted("resnet20")
    chain = Chain((Depth(), Width()))
    space = chain.space(net, TARGET)  # type: ignore[arg-type]
    decision = Decision({**INNER, "layer1.0:keep": False, "layer3.2:keep": False})
    space.check(decision)
    result = chain.apply(net, decision, planning_run(net))
    assert result.skipped == {
        "layer1.0.conv1": "no such group of atoms is left in the network.",
        "layer3.2.conv1": "no such group of atoms is left in the network.",
    }
    assert result.net.layer("layer1.1.conv1").weight.shape == (8, 16, 3, 3)
    assert result.net.layer("layer3.1.conv1").weight.shape == (32, 64, 3, 3)
    assert result.net(*net.example).shape == (2, 10)


def test_group_without_a_score_is_skipped_with_the_reason() -> None:
    net = lifted("encoder")
    result = Width(importance="batch_norm_scale").apply(
        net, Decision({"layers.{0..2}.up:width": 0.5}), planning_run(net)
    )
    assert set(result.skipped) == {f"layers.{i}.up" for i in range(3)}
    assert "'batch_norm_scale' has no tensor to go by" in result.skipped["layers.0.up"]
    assert not result.changed
    assert result.net.parameter_count == net.parameter_count


def test_fields_are_checked_at_once() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'weight_norm'"):
        Width(importance="weights_norm")
    with pytest.raises(DecisionError, match=r"include 1\.0; got \(0\.5,\)"):
        Width(fractions=(0.5,))
    with pytest.raises(DecisionError, match="at least 1; got 0"):
        Width(round_to=0)


@pytest.mark.parametrize("task", [None, types.SimpleNamespace(calibration=None, train=None)], ids=["none", "no inputs"])
def test_without_inputs_the_default_keeps_what_weights_say(task: object) -> None:
    net = whet.lift(ResidualNet(3), torch.randn(2, 3, 32, 32))
    run = types.SimpleNamespace(target=types.SimpleNamespace(alignment=1), task=task, seed=0, teacher=None)
    decision = Decision(dict.fromkeys(Width().space(net, run.target).choices, 0.5))
    found, by_norm = (w.apply(net, decision, run).net for w in (Width(), Width(importance="weight_norm")))  # type: ignore[arg-type]
    with torch.no_grad():
        assert torch.equal(found(*net.example), by_norm(*net.example))


def test_the_damage_of_each_value_is_the_error_that_solving_leaves() -> None:
    """Of 16 channels, each there twice, half go for nothing; of the others what the least squares miss is told."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 5))
    with torch.no_grad():
        module[0].weight[8:], module[0].bias[8:] = module[0].weight[:8], module[0].bias[:8]  # type: ignore[index]
    net = whet.lift(module, torch.randn(2, 6))
    run = planning_run(net)
    run = replace(run, task=replace(run.task, calibration=[((torch.randn(256, 6),), None)]))
    width = Width(fractions=(0.0625, 0.125, 0.25, 0.5, 0.75, 1.0), tie="none", round_to=1)
    row = width.damages(net, run)["0:width"]
    assert row[3:] == pytest.approx([0.0, 0.0, 0.0], abs=2e-3)
    errors = [missed(net, run, width.apply(net, Decision({"0:width": f}), run).net) for f in width.fractions[:3]]
    assert row[:3] == pytest.approx(errors, abs=0.01)


def missed(net: Net, run: Run, cut: Net) -> float:
    """Return the share of the original's outputs' variance that the channels left of a cut give by no affine map."""
    (((inputs,), _),) = run.task.calibration  # type: ignore[misc]
    with torch.no_grad():
        left, y = torch.relu(cut.layer("0")(inputs)).double(), net(inputs).double()
    x, y = left - left.mean(0), y - y.mean(0)
    return float((y - x @ torch.linalg.lstsq(x, y, driver="gelsd").solution).square().sum() / y.square().sum())


def test_without_errors_no_damage_is_told() -> None:
    net = lifted("resnet20")
    assert not Width(importance="weight_norm").damages(net, planning_run(net))
    rows = Width().damages(net, planning_run(net))
    assert set(rows) == {c.name for c in Width().space(net, TARGET)}
    assert all(row[-1] == 0.0 and row == sorted(row, reverse=True) for row in rows.values())


def test_the_share_of_the_work_that_a_width_leaves_is_told_by_layer() -> None:
    net = lifted("resnet20")
    run = planning_run(net)
    shares = Width().shares(net, run)["layer2.{0..2}.conv1:width"]
    assert shares[Width().fractions.index(0.5)] == {f"layer2.{i}.conv{j}": 0.5 for i in range(3) for j in (1, 2)}
    assert set(shares[-1].values()) == {1.0}
