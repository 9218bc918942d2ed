"""The moves between the layout inside of a net, the batch first, and the one outside."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx, nn

from whet.core.net import Net, Port
from whet.graph.outside import aten, inward, outward, rows_of, unwrap


def steps_net(axis: int) -> Net:
    """Return a net of x, (time, batch, features) or in another order, and a constant that all rows share: x + c."""
    ports = Port("x", axis), Port("c", None)
    graph = fx.Graph()
    x, c = inputs = [graph.placeholder(port.name) for port in ports]
    moved = outward(graph, x, ports[0], 3), outward(graph, c, ports[1], 4)
    total = graph.call_function(aten.add.Tensor, moved)
    twice = graph.call_function(aten.mul.Tensor, (moved[1], 2))
    graph.output(
        (
            inward(graph, total, ports[0], 3, lambda: rows_of(graph, inputs, [axis, None])),
            inward(graph, twice, ports[1], 3, lambda: rows_of(graph, inputs, [0, None])),
        )
    )
    shape = [5, 4, 3]
    shape[axis] = 2
    example = ports[0].inside(torch.randn(shape), 2), torch.randn(2, *[1, 1, 1])
    return Net(fx.GraphModule(nn.Module(), graph), example, "moved", ports, (Port("y", axis), Port("twice", None)))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("rows", [1, 3])
def test_inside_the_batch_is_first_and_outside_it_is_where_it_was(axis: int, rows: int) -> None:
    net = steps_net(axis)
    x, c = torch.randn(5, 4, 3).transpose(0, axis)[:rows].transpose(0, axis), torch.randn(1, 1, 1)
    inside = net(net.inputs[0].inside(x, rows), net.inputs[1].inside(c, rows))
    assert [len(t) for t in inside] == [rows, rows]
    assert torch.equal(net.outputs[0].outside(inside[0]), x + c)
    assert torch.equal(net.outputs[1].outside(inside[1]), 2 * c)
    outside = unwrap(net)(x, c)
    assert torch.equal(outside[0], x + c) and torch.equal(outside[1], 2 * c)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_move_and_its_reverse_leave_nothing(axis: int) -> None:
    kinds = [n.target for n in unwrap(steps_net(axis)).graph.nodes if n.op == "call_function"]
    assert kinds == [aten.add.Tensor, aten.mul.Tensor]


def test_what_a_pass_has_put_between_stays() -> None:
    net = steps_net(1)
    move = next(n for n in net.graph.nodes if n.target is aten.permute.default)
    with net.graph.inserting_before(move):
        double = net.graph.call_function(aten.mul.Tensor, (move.args[0], 2.0))
    move.args = (double, *move.args[1:])
    net.settle()
    x, c = torch.randn(5, 3, 4), torch.randn(1, 1, 1)
    assert torch.equal(unwrap(net)(x, c)[0], 2 * x + c)


def test_a_net_of_batches_first_is_copied_as_it_is() -> None:
    layer = nn.Module()
    layer.register_parameter("scale", nn.Parameter(torch.ones(3)))
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(aten.mul.Tensor, (x, graph.get_attr("scale"))))
    net = Net(fx.GraphModule(layer, graph), (torch.randn(2, 3),))
    module = unwrap(net)
    scale: Tensor = module.get_parameter("scale")
    assert scale is not net.module.get_parameter("scale")
    assert str(module.graph) == str(net.graph)
