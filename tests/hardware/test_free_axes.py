"""The layout and the free axes that a network is written with."""

from dataclasses import replace

import torch
from torch import nn
from torch.export import Dim

import whet
from whet.core.net import Port
from whet.hardware.free_axes import MOST_ROWS, example_sizes, free_axes, outside_example


def test_the_batch_lies_where_the_port_says_and_named_lengths_are_left_to_the_exporter() -> None:
    net = whet.lift(nn.Linear(6, 4), torch.randn(2, 5, 6))
    net = replace(net, inputs=(Port("x", 1, ((0, "time"),)),))
    (axes,) = free_axes(net)
    assert axes[0] is Dim.AUTO and (axes[1].__name__, axes[1].min, axes[1].max) == ("batch", 1, MOST_ROWS)
    (outside,) = outside_example(net)
    assert outside.shape == (5, 2, 6) and outside.is_contiguous()
    assert example_sizes(net.inputs[0], net.example[0]) == [5, "batch", 6]


def test_an_input_without_a_batch_has_none() -> None:
    net = whet.lift(nn.Linear(6, 4), torch.randn(2, 6))
    net = replace(net, inputs=(Port("x", None),))
    assert free_axes(net) == ({},)
    assert example_sizes(net.inputs[0], net.example[0][:1]) == [6]
