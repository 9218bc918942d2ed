"""Which layers `auto` takes for hints, and what their distance is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import whet
from whet.graph.blocks import drop_blocks
from whet.graph.cut import cut
from whet.graph.fold import fold_batch_norms
from whet.networks.resnet import resnet
from whet.train.hints import Taps, alike_layers


def net() -> whet.Net:
    return whet.lift(resnet(20).eval(), (torch.randn(2, 3, 32, 32),))


def test_hint_layers_are_spread_over_those_of_one_shape_in_both() -> None:
    teacher = net()
    student = drop_blocks(teacher, ["layer1.1", "layer2.1"])
    found = alike_layers(student, teacher)
    assert len(found) == 3 and len(set(found)) == 3
    assert not any(name.startswith(("layer1.1.", "layer2.1.", "linear")) for name in found)
    order = list(teacher.layers())
    assert [order.index(n) for n in found] == sorted(order.index(n) for n in found)


def test_layers_whose_width_was_cut_are_not_taken() -> None:
    teacher = net()
    names = [f"layer{s}.{b}.conv1" for s in (1, 2, 3) for b in (0, 1, 2)]
    student = cut(teacher, {name: range(8) for name in names})
    found = alike_layers(student, teacher, count=50)
    assert not set(found) & set(names)
    assert {f"layer{s}.{b}.conv2" for s in (1, 2, 3) for b in (0, 1, 2)} <= set(found)


def test_layers_that_took_in_their_batch_norm_are_not_taken() -> None:
    teacher = net()
    assert alike_layers(fold_batch_norms(teacher), teacher, count=50) == []


def test_the_distance_is_relative_to_the_teachers_scale() -> None:
    teacher, student = nn.Sequential(nn.Linear(3, 4)), nn.Sequential(nn.Linear(3, 4))
    x = torch.randn(5, 3)
    for scale in (1.0, 100.0):
        for module in (teacher, student):
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.mul_(scale)
        taps = Taps(student, teacher, ["0"], {})
        with torch.no_grad():
            wanted, got = teacher(x), student(x)
        expected = (got - wanted).square().mean() / wanted.square().mean()
        torch.testing.assert_close(taps.distance(), expected)
        taps.remove()


def test_all_layers_but_the_output_may_be_hints_and_the_chosen_are_spread_over_them() -> None:
    """ResNet-20 has 19 convolutions and a linear layer that gives the output; of 19, three lie at the quarters."""
    teacher = net()
    every = alike_layers(teacher, teacher.copy(), count=50)
    assert len(every) == 19 and "linear" not in every
    assert alike_layers(teacher, teacher.copy()) == [every[i] for i in (4, 9, 14)]


def test_the_distances_of_several_hints_add_up() -> None:
    torch.manual_seed(0)
    teacher, student = (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)) for _ in range(2))
    x, parts = torch.randn(5, 3), []
    for hints in (["0"], ["1"], ["0", "1"]):
        taps = Taps(student, teacher, hints, {})
        with torch.no_grad():
            teacher(x), student(x)
        parts.append(float(taps.distance()))
        assert float(taps.distance()) == 0.0, "the outputs are forgotten"
        taps.remove()
    assert parts[2] == pytest.approx(parts[0] + parts[1]) and min(parts) > 0
