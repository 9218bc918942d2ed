"""The graph hypernetwork: how states travel, what is generated of them, and what the scores of networks are worth."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, fx, nn

import whet
from whet.core.errors import StudyError, TaskError, TrainingError, UnknownNameError
from whet.core.net import Net
from whet.graph.fake_quantize import quantize_weight
from whet.networks.ds_cnn import DSCNN
from whet.networks.transformer import Encoder as Transformer
from whet.search.predictors import hypernetwork
from whet.search.predictors.graph_features import SIZES, ComputationGraph, encode
from whet.search.predictors.hypernetwork import TILE, GraphHyperNetwork, HyperNetwork, schedule
from whet.tasks.digits import digits

SEEN, UNSEEN = (2, 4, 8, 16, 32), (3, 6, 12, 24)


def traced(*layers: nn.Module, example: Tensor) -> Net:
    return Net(fx.symbolic_trace(nn.Sequential(*layers).eval()), (example,), "made")


def build(depth: int, width: int) -> Net:
    """`depth` convolutions of `width` channels, then a linear layer of the means of quarters of the image."""
    layers: list[nn.Module] = []
    for index in range(depth):
        inside = width if index else 1
        layers += [nn.Conv2d(inside, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10)]
    return traced(*layers, example=torch.randn(2, 1, 8, 8))


@pytest.fixture(scope="module")
def task() -> whet.Task:
    return digits().task


@pytest.fixture(scope="module")
def trained(task: whet.Task) -> HyperNetwork:
    """Trained on networks of some widths; those of the widths in between are never seen."""
    nets = [build(depth, width) for depth in (1, 2, 3) for width in SEEN]
    return HyperNetwork(steps=250, networks=3).fit(nets, task)


def path(nodes: int) -> ComputationGraph:
    edges = torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)])
    sizes = torch.rand(nodes, SIZES, generator=torch.Generator().manual_seed(0))
    return ComputationGraph(("",) * nodes, torch.ones(nodes, dtype=torch.long), sizes, edges)


def model(propagation: str = "forward-backward") -> GraphHyperNetwork:
    torch.manual_seed(0)
    return GraphHyperNetwork(16, 1, propagation)


# -- propagation --


def test_levels_give_the_states_of_a_pass_node_by_node() -> None:
    """Against the equations of the propagation as they stand, on a graph with skips and branches."""
    edges = torch.tensor([[0, 0, 1, 1, 2, 3, 4], [1, 4, 2, 3, 5, 5, 5]])
    sizes = torch.rand(6, SIZES, generator=torch.Generator().manual_seed(1))
    graph = ComputationGraph(("",) * 6, torch.tensor([1, 5, 6, 5, 14, 26]), sizes, edges)
    network = model()
    with torch.no_grad():
        states = list(network.kinds(graph.kinds) + network.sizes(graph.sizes))
        pairs = [(int(source), int(sink)) for source, sink in edges.T]
        for order, arrows in ((range(6), pairs), (range(5, -1, -1), [(sink, source) for source, sink in pairs])):
            for node in order:
                heard = [network.message(states[source]) for source, sink in arrows if sink == node]
                message = torch.stack(heard).sum(0) if heard else torch.zeros(16)
                states[node] = network.update(message, states[node])
        torch.testing.assert_close(network(graph), torch.stack(states), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("propagation", ["forward-backward", "synchronous"])
def test_one_round_reaches_both_ends_only_when_it_goes_forward_and_back(propagation: str) -> None:
    """Why the paper goes forward and back: a synchronous round carries no further than to the next node."""
    graph = path(7)
    graph.sizes.requires_grad_()
    states = model(propagation)(graph)
    for reader, writer in ((6, 0), (0, 6)):
        [slope] = torch.autograd.grad(states[reader].sum(), graph.sizes, retain_graph=True)
        assert bool(slope[writer].abs().sum() > 0) == (propagation == "forward-backward")
        assert slope[abs(reader - 1)].abs().sum() > 0


def test_every_edge_is_in_one_step_of_each_direction() -> None:
    graph = encode(build(3, 4))
    both = sorted(
        (int(teller), int(nodes[told])) for nodes, tellers, places in schedule(graph, "forward-backward")
        for teller, told in zip(tellers, places, strict=True)
    )  # fmt: skip
    pairs = [tuple(pair) for pair in graph.edges.T.tolist()]
    assert both == sorted(pairs + [(sink, source) for source, sink in pairs])


# -- generation --


@pytest.mark.parametrize("name", ["ds_cnn", "transformer", "odd"])
def test_every_convolution_and_linear_layer_gets_weights_that_fit(name: str) -> None:
    torch.manual_seed(0)
    if name == "odd":
        layers = [nn.Conv1d(6, 9, 5, padding=2, groups=3), nn.ReLU(), nn.Flatten(), nn.Linear(9 * 7, 3)]
        net = traced(*layers, example=torch.randn(2, 6, 7))
    elif name == "ds_cnn":
        net = whet.lift(DSCNN(channels=20, blocks=1).eval(), (torch.randn(2, 1, 49, 10),))
    else:
        net = whet.lift(Transformer(16, 5, 12, 32, 4, 1).eval(), (torch.randn(2, 12, 16),))
    graph, network = encode(net), model()
    made = network.generate(net, graph.layers, network(graph))
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    expected = {
        f"{layer}.{own}": tuple(tensor.shape)
        for layer, module in net.layers().items() if isinstance(module, kinds)
        for own, tensor in module.named_parameters()
    }  # fmt: skip
    assert {name: tuple(tensor.shape) for name, tensor in made.items()} == expected
    output = torch.func.functional_call(net.module, made, net.example)
    output.square().mean().backward()
    for part in (network.kinds, network.update, network.message, network.decode):
        assert any(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in part.parameters())


def test_weights_begin_at_the_scale_of_their_fan_in_and_pieces_differ() -> None:
    net = traced(nn.Conv2d(3 * TILE, 2 * TILE, 3), nn.ReLU(), example=torch.randn(2, 3 * TILE, 5, 5))
    graph, network = encode(net), model()
    with torch.no_grad():
        made = network.generate(net, graph.layers, network(graph))
    weight = made["0.weight"]
    assert float(weight.square().mean()) == pytest.approx(2 / (9 * 3 * TILE), rel=1e-3)
    pieces = weight.unflatten(0, (2, TILE)).unflatten(2, (3, TILE)).permute(0, 2, 4, 5, 1, 3).flatten(4).flatten(0, 3)
    assert pieces.shape == (2 * 3 * 9, TILE * TILE)
    likeness = torch.corrcoef(pieces) - torch.eye(len(pieces))
    assert float(likeness.max()) < 0.999 and float(likeness.mean()) < 0.9
    assert float(made["0.bias"].std()) > 0


def test_a_piece_lies_where_its_coordinates_say() -> None:
    """A smaller tensor of the same node is the corner of a larger one."""
    network, state = model(), torch.randn(16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        large, small = network.pieces(state, (20, 11, 3, 3)), network.pieces(state, (5, 9, 2, 1))
    assert large.shape == (20, 11, 3, 3)
    torch.testing.assert_close(small, large[:5, :9, :2, :1], rtol=1e-4, atol=1e-5)


# -- scores --


def test_generated_weights_are_far_better_than_chance(trained: HyperNetwork, task: whet.Task) -> None:
    """On a width that no training step saw; the batch norms of a network in training mode use the batch as well."""
    assert trained.predict([build(1, 24), build(2, 24)]).min() > 0.4
    net = build(1, 24).train()
    inputs, targets = next(iter(task.val))
    with torch.no_grad():
        outputs = torch.func.functional_call(net.module, trained.weights(net), inputs)
    assert float(task.loss(outputs, targets)) < 0.75 * math.log(10)


def test_scores_rank_networks_by_what_they_can_hold(trained: HyperNetwork) -> None:
    """Three channels cannot tell ten digits apart as well as 24 can: the ranking must say so for unseen widths."""
    rows = [(depth, width) for depth in (1, 2) for width in UNSEEN]
    scores = trained.predict([build(*row) for row in rows])
    assert spearmanr(scores, [width for _, width in rows]).statistic > 0.5
    assert scores[[3, 7]].mean() > scores[[0, 4]].mean() + 0.1


def test_a_score_does_not_depend_on_the_weights_that_a_network_had(trained: HyperNetwork) -> None:
    net = build(2, 8)
    other = net.copy()
    with torch.no_grad():
        for tensor in (*other.module.parameters(), *(b for b in other.module.buffers() if b.is_floating_point())):
            tensor.uniform_(0.5, 3.0)
    before = {name: tensor.clone() for name, tensor in net.module.state_dict().items()}
    scores = trained.predict([net, other, net])
    assert scores[0] == scores[1] == scores[2]
    assert all(torch.equal(before[name], tensor) for name, tensor in net.module.state_dict().items())
    assert net.module.get_submodule("1").track_running_stats


def test_every_step_draws_networks_anew_from_all_that_are_given(
    task: whet.Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is an expectation over networks: each is drawn as often as any other, with its own graph."""
    drawn: list[int] = []

    def recorded(model: GraphHyperNetwork, bodies: list[Net], graphs: list[ComputationGraph], *rest: object) -> Tensor:
        widths = [int(body.layer("0").weight.shape[0]) for body in bodies]  # type: ignore[union-attr, arg-type]
        assert [len(graph.kinds) for graph in graphs] == [len(encode(body).kinds) for body in bodies]
        drawn.extend(widths)
        return sum((p.square().sum() for p in model.parameters()), torch.zeros(()))

    monkeypatch.setattr(hypernetwork, "_loss", recorded)
    HyperNetwork(steps=60, networks=4).fit([build(1, width) for width in SEEN], task)
    assert len(drawn) == 240
    counts = [drawn.count(width) for width in SEEN]
    assert min(counts) > 24 and max(counts) < 75


def test_training_leaves_networks_as_they_are(task: whet.Task) -> None:
    net = build(1, 4)
    before = {name: tensor.clone() for name, tensor in net.module.state_dict().items()}
    made = [HyperNetwork(steps=2).fit([net], task).weights(net) for _ in range(2)]
    assert all(torch.equal(before[name], tensor) for name, tensor in net.module.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.module.parameters())
    assert all(torch.allclose(made[0][name], made[1][name]) for name in made[0])


def test_asked_before_it_has_data_or_with_what_it_cannot_use(task: whet.Task) -> None:
    net = build(1, 4)
    with pytest.raises(StudyError, match="before it had data"):
        HyperNetwork().predict([])
    with pytest.raises(StudyError, match="before it had data"):
        HyperNetwork().weights(net)
    with pytest.raises(StudyError, match="no network"):
        HyperNetwork().fit([], task)
    with pytest.raises(StudyError, match="no convolution or linear layer"):
        HyperNetwork(steps=1).fit([traced(nn.ReLU(), nn.Flatten(), example=torch.randn(2, 1, 8, 8))], task)
    quantized = traced(nn.Flatten(), nn.Linear(64, 10), example=torch.randn(2, 1, 8, 8))
    quantized.module.add_module("1", quantize_weight(quantized.layer("1")))
    with pytest.raises(StudyError, match="is quantized"):
        HyperNetwork(steps=1).fit([quantized], task)
    with pytest.raises(TaskError, match="no training batch"):
        HyperNetwork(steps=1).fit([net], replace(task, train=[]))
    with pytest.raises(TrainingError, match="nan"):
        HyperNetwork(steps=1).fit([net], replace(task, loss=lambda outputs, targets: outputs.sum() * math.nan))
    with pytest.raises(UnknownNameError, match="did you mean 'synchronous'"):
        HyperNetwork(propagation="synchronus")
