"""A net run node by node gives what it gives at once, from its inputs or from what is remembered of another run."""

from __future__ import annotations

import pytest
import torch
from masked import Masked, MeanOfAll
from torch import Tensor, nn

import whet
from whet.compress.lockstep import Checkpoint, Lockstep, alive_behind, limited, pieces, same_prefix, survey
from whet.core.net import Net


def convolutions() -> Net:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3)
    )
    return whet.lift(module.eval(), torch.randn(2, 2, 8, 8))


def batches() -> list[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(rows, 2, 8, 8, generator=generator),) for rows in (3, 5)]


def test_batches_in_lockstep_give_what_each_gives_alone_and_every_mode_comes_back() -> None:
    net = convolutions()
    with torch.no_grad():
        expected = [net(*inputs) for inputs in batches()]
    net.train()
    found = Lockstep(net, batches()).run()
    torch.testing.assert_close(found, expected)
    assert net.module.training and all(layer.training for layer in net.layers().values())


def test_a_layer_that_is_changed_before_its_node_counts_from_there_on() -> None:
    net, order = convolutions(), list[str]()

    def silence(node: torch.fx.Node) -> None:
        order.append(node.name)
        if str(node.target) == "5":
            net.layer("5").get_parameter("weight").data.zero_()

    (one, _) = Lockstep(net, batches()).run(before=silence)
    torch.testing.assert_close(one, net.layer("5").get_parameter("bias").expand(3, 3))
    assert order == [n.name for n in net.graph.nodes]


def test_what_no_later_node_reads_is_forgotten() -> None:
    net, most = convolutions(), list[int]()
    steps = Lockstep(net, batches())
    steps.run(after=lambda node: most.append(sum(n.op not in ("placeholder", "get_attr") for n in steps.values[0])))
    assert max(most) <= 2 and survey(net, batches()[0]).most < 2 * 4 * 3 * 4 * 6 * 6 + 4 * 3 * 2 * 64


def test_from_a_checkpoint_only_the_nodes_behind_it_run() -> None:
    net, kept = convolutions(), list[dict[str, torch.Tensor]]()
    steps = Lockstep(net, batches())
    middle = next(n.name for n in net.graph.nodes if str(n.target) == "3")

    def keep(node: torch.fx.Node) -> None:
        if node.name == middle:
            kept.extend({n.name: v for n, v in values.items()} for values in steps.values)

    expected = steps.run(after=keep)
    start, ran = Checkpoint(middle, tuple(kept)), list[str]()
    found = Lockstep(net, batches(), start).run(before=lambda node: ran.append(str(node.target)))
    torch.testing.assert_close(found, expected)
    assert "0" not in ran and "3" not in ran and "5" in ran
    (last,) = Lockstep(net, batches()[1:], start.part(slice(1, 2))).run()
    torch.testing.assert_close(last, expected[1])


@pytest.mark.parametrize("changed, before", [("3", "1"), ("5", "3")])
def test_nets_are_the_same_up_to_the_first_layer_of_other_weights(changed: str, before: str) -> None:
    net, other = convolutions(), convolutions()
    assert len(same_prefix(net, other)) == len(list(net.graph.nodes))
    with torch.no_grad():
        other.layer(changed).get_parameter("bias")[0] += 1e-6
    found = [str(n.target) for n in same_prefix(net, other)]
    assert changed not in found and before in found
    nodes = list(net.graph.nodes)
    at = next(i for i, n in enumerate(nodes) if str(n.target) == changed)
    assert [n.name for n in alive_behind(nodes, at)] == [nodes[at].name]


def test_samples_are_cut_and_divided_in_order() -> None:
    whole = torch.cat([x for (x,) in batches()])
    assert [len(x) for (x,) in limited(batches(), 4)] == [3, 1] and [len(x) for (x,) in limited(batches(), 2)] == [2]
    divided = pieces(batches(), 2)
    assert [len(x) for (x,) in divided] == [2, 1, 2, 2, 1] and torch.equal(torch.cat([x for (x,) in divided]), whole)


class Counted(nn.Linear):
    """A linear layer that counts the rows that it is given."""

    rows = 0

    def forward(self, x: Tensor) -> Tensor:
        Counted.rows += x[..., 0].numel()
        return super().forward(x)


@pytest.mark.parametrize("kind", ["mean of the shown", "mean of all", "batch norm"])
def test_padding_is_computed_only_where_an_output_or_a_norm_depends_on_it(kind: str) -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(30, 8, 3), (torch.rand(30, 8) < 0.4).float()
    mask[:, 0] = 1
    module = Masked() if kind == "mean of the shown" else MeanOfAll()
    if kind == "batch norm":
        module = Masked()
        module.add_module("norm", nn.BatchNorm1d(2))
        module.register_forward_hook(lambda m, _, y: m.get_submodule("norm")(y))
    net = whet.lift(module.eval(), (x[:2], mask[:2]))
    counted = Counted(40, 2)
    counted.load_state_dict(net.layer("read").state_dict())
    net.module.add_submodule("read", counted)
    expected = net(x, mask)
    Lockstep(net, [(x, mask)], shown=True)
    Counted.rows = 0
    (found,) = Lockstep(net, [(x, mask)], shown=True).run()
    assert Counted.rows == (int(mask.sum()) if kind == "mean of the shown" else 240)
    assert torch.allclose(found, expected, atol=1e-6)
    Counted.rows = 0
    Lockstep(net, [(x, mask)]).run()
    assert Counted.rows == 240
