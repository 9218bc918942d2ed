"""Graphs of networks, and the encoder, clusters and heads that forecast from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, fx, nn
from torch.nn import functional

import whet
from whet.core.errors import StudyError
from whet.core.net import Net
from whet.networks.digits_cnn import DigitsCNN
from whet.networks.transformer import Encoder as Transformer
from whet.search.predictors.graph_encoder import (
    Encoder,
    GraphEncoder,
    _Heads,
    contrastive,
    fuzzy_means,
    memberships,
    positives,
)
from whet.search.predictors.graph_features import KINDS, SIZES, ComputationGraph, encode, spectrum, union

FAMILIES = ("plain", "residual")
Nets = tuple[list[Net], list[str]]


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.norm(self.conv(x)))


def build(family: str, depth: int, width: int) -> Net:
    """A small network, traced instead of lifted, which is quicker."""
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
    for _ in range(depth):
        if family == "plain":
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        else:
            layers.append(Residual(width))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]
    return Net(fx.symbolic_trace(nn.Sequential(*layers).eval()), (torch.randn(2, 1, 8, 8),), f"{family}{depth}")


def several(depths: tuple[int, ...], widths: tuple[int, ...]) -> Nets:
    rows = [(family, depth, width) for family in FAMILIES for depth in depths for width in widths]
    return [build(*row) for row in rows], [row[0] for row in rows]


@pytest.fixture(scope="module")
def seen() -> Nets:
    return several((1, 2, 3, 4), (8, 16, 32))


@pytest.fixture(scope="module")
def unseen() -> Nets:
    return several((1, 2, 3, 4), (12, 24))


def log_parameters(nets: list[Net]) -> np.ndarray:
    return np.log([net.parameter_count for net in nets])


# -- graphs --


def test_the_graph_of_a_lifted_network() -> None:
    """Counted by hand: digits_cnn(channels=8, blocks=1) has 2 blocks of two convolutions, a stem, a stride, a head."""
    graph = encode(whet.lift(DigitsCNN(8, 1).eval(), (torch.randn(2, 1, 8, 8),)))
    named = [KINDS[kind] for kind in graph.kinds.tolist()]
    counts = {kind: named.count(kind) for kind in set(named)}
    assert counts == {"input": 1, "conv": 6, "batchnorm": 6, "relu": 6, "add": 2, "mean": 1, "linear": 1}
    assert bool((graph.edges[0] < graph.edges[1]).all())
    added = torch.tensor([kind == "add" for kind in named])
    into = torch.bincount(graph.edges[1], minlength=len(named))
    assert into[added].tolist() == [2, 2] and into[~added].max() == 1
    sizes = dict(zip(graph.layers, graph.sizes.tolist(), strict=True))
    expected = [math.log2(1 + size) / 8 for size in (8, 16, 64, 16, 9, 8 * 16 * 9)]
    assert sizes["down"] == pytest.approx(expected, abs=1e-6)


def test_transformers_are_connected_and_known() -> None:
    net = whet.lift(Transformer(16, 5, 12, 32, 4, 2).eval(), (torch.randn(2, 12, 16),))
    graph = encode(net)
    named = {KINDS[kind] for kind in graph.kinds.tolist()}
    assert "unknown" not in named and {"linear", "layernorm", "attention", "add"} <= named
    reached = {i for i, kind in enumerate(graph.kinds.tolist()) if KINDS[kind] in ("input", "parameter")}
    for source, sink in sorted(graph.edges.T.tolist()):
        reached |= {sink} if source in reached else set()
    assert reached == set(range(len(graph.kinds)))


def test_encoding_changes_nothing_and_does_not_see_weights() -> None:
    net = build("residual", 1, 8).train()
    before = {name: tensor.clone() for name, tensor in net.module.state_dict().items()}
    first = encode(net)
    assert net.module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.module.state_dict().items())
    with torch.no_grad():
        for parameter in net.module.parameters():
            parameter.normal_()
    second = encode(net)
    assert torch.equal(first.sizes, second.sizes) and torch.equal(first.kinds, second.kinds)


@pytest.mark.parametrize("depth", [1, 3])
def test_the_spectrum_of_a_path(depth: int) -> None:
    """Chung 1997: the normalised Laplacian of a path of n nodes has the eigenvalues 1 - cos(pi k / (n - 1))."""
    graph = encode(build("plain", depth, 8))
    n = len(graph.kinds)
    assert graph.edges.shape == (2, n - 1)
    expected = [1 - math.cos(math.pi * k / (n - 1)) for k in range(n)] + [2.0] * 2
    assert spectrum(graph, n + 2).tolist() == pytest.approx(expected, abs=1e-9)


# -- the encoder --


def permuted(graph: ComputationGraph, order: list[int]) -> ComputationGraph:
    place = torch.empty(len(order), dtype=torch.long)
    place[torch.tensor(order)] = torch.arange(len(order))
    layers = tuple(graph.layers[i] for i in order)
    return ComputationGraph(layers, graph.kinds[order], graph.sizes[order], place[graph.edges])


def test_the_encoder_sees_the_graph_and_not_the_order_of_its_nodes() -> None:
    torch.manual_seed(0)
    encoder, graph = Encoder(16, 3), encode(build("residual", 2, 8))
    order = torch.randperm(len(graph.kinds)).tolist()
    backwards = ComputationGraph(graph.layers, graph.kinds, graph.sizes, graph.edges.flip(0))
    with torch.no_grad():
        one = encoder([graph])[0]
        torch.testing.assert_close(encoder([permuted(graph, order)])[0], one, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(encoder([backwards, graph])[0][1:], one, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(encoder([backwards])[0], one, atol=1e-3)


def test_graphs_side_by_side_do_not_touch() -> None:
    graphs = [encode(build("plain", depth, 8)) for depth in (1, 2)]
    merged, owner = union(graphs)
    assert torch.equal(owner[merged.edges[0]], owner[merged.edges[1]])
    assert owner.bincount().tolist() == [len(graph.kinds) for graph in graphs]
    with pytest.raises(StudyError, match="got none"):
        union([])


def test_positives_are_near_and_of_the_same_family() -> None:
    spectra = torch.tensor([[0.0], [1.0], [3.0], [9.0]], dtype=torch.float64)
    near = positives(spectra)
    torch.testing.assert_close(near.sum(1), torch.ones(4, dtype=torch.float64))
    assert near.diagonal().tolist() == [0.0] * 4 and near[0, 1] > near[0, 2] > near[0, 3] > 0
    kin = positives(spectra, torch.tensor([0, 1, 1, 2]))
    assert kin[1].tolist() == [0.0, 0.0, 1.0, 0.0] and kin[2].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert kin[0].tolist() == kin[3].tolist() == [0.0] * 4


def test_the_contrastive_loss_is_a_cross_entropy() -> None:
    """With all similarities equal it is log(N - 1); where similarities are log weights it is the weights' entropy."""
    weights = positives(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double())
    assert float(contrastive(torch.eye(6).double(), weights)) == pytest.approx(math.log(5))
    entropy = float(-(weights * weights.clamp_min(1e-30).log()).sum(1).mean())
    for seed in range(5):
        z = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed)).double()
        assert float(contrastive(functional.normalize(z, dim=1), weights)) >= entropy
    three = torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]).double()
    assert float(contrastive(torch.eye(3).double(), three)) == pytest.approx(math.log(2))


def test_similarities_are_divided_by_the_temperature_before_they_compete() -> None:
    """Chen et al. 2020: with cosines 1 and 0 to the other two, the first is taken with odds of exp(1 / t)."""
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double()
    weights = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]).double()
    for temperature in (0.1, 1.0):
        expected = (2 * math.log(1 + math.exp(-1 / temperature)) + math.log(2)) / 3
        assert float(contrastive(z, weights, temperature)) == pytest.approx(expected)
    assert float(contrastive(z, weights)) == float(contrastive(z, weights, 0.1))


def test_what_is_read_is_a_mean_over_nodes_and_the_logarithm_of_their_number() -> None:
    """Two copies of a graph as one are read as one copy is, but for their number."""
    torch.manual_seed(0)
    encoder, graph = Encoder(8, 2), encode(build("residual", 1, 8))
    twice, _ = union([graph, graph])
    with torch.no_grad():
        one, two = (encoder([g])[0][0] for g in (graph, twice))
    torch.testing.assert_close(two[:-1], one[:-1])
    assert float(two[-1] - one[-1]) == pytest.approx(math.log(2), abs=1e-5)


@pytest.mark.parametrize("way", ["forwards", "backwards"])
def test_nodes_hear_of_what_comes_before_them_and_of_what_comes_after(way: str) -> None:
    """One node tells two and its twin none, or each tells one: what the told hear is alike, the tellers differ."""
    kinds, sizes = torch.tensor([5, 5, 6, 14]), torch.zeros(4, SIZES)
    torch.manual_seed(0)
    encoder = Encoder(8, 1)
    read = []
    for pairs in ([[0, 0], [2, 3]], [[0, 1], [2, 3]]):
        edges = torch.tensor(pairs)
        graph = ComputationGraph(("",) * 4, kinds, sizes, edges.flip(0) if way == "forwards" else edges)
        read.append(encoder([graph])[0].detach())
    assert not torch.allclose(*read, atol=1e-4)


def test_a_forecast_is_the_mean_of_its_clusters_heads_by_membership() -> None:
    torch.manual_seed(0)
    heads, features = _Heads(4, 3), torch.randn(5, 4)
    alone = torch.stack([heads(features, functional.one_hot(torch.full((5,), k), 3).float()) for k in range(3)], 1)
    torch.testing.assert_close(alone[:, 1], heads.heads[1](features)[:, 0])
    shares = torch.rand(5, 3).softmax(1)
    torch.testing.assert_close(heads(features, shares), (alone * shares).sum(1))


def gap(model: GraphEncoder, nets: list[Net]) -> float:
    """How far the loss is above the least that there can be."""
    weights = positives(torch.stack([spectrum(encode(net), 21) for net in nets]))
    entropy = float(-(weights * weights.clamp_min(1e-30).log()).sum(1).mean())
    return float(contrastive(model.embeddings(nets).double(), weights)) - entropy


def test_pretraining_learns_what_is_near_in_topology(seen: Nets) -> None:
    nets, _ = seen
    before, after = (gap(GraphEncoder(pretraining_steps=steps).pretrain(nets), nets) for steps in (0, 150))
    assert 0.0 <= after < 0.5 * before


# -- fuzzy c-means --


def spread(points: Tensor, centres: Tensor, shares: Tensor, fuzziness: float) -> Tensor:
    return (shares**fuzziness * (points.unsqueeze(1) - centres).square().sum(2)).sum()


@pytest.mark.parametrize("fuzziness", [1.5, 2.0, 3.0])
def test_fuzzy_means_are_stationary(fuzziness: float) -> None:
    """No centre moves the sum at first order, and no other memberships make it less: both conditions of Bezdek."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(40, 3, generator=generator).double()
    points[20:] += 4.0
    centres = fuzzy_means(points, 2, fuzziness).requires_grad_()
    shares = memberships(points, centres.detach(), fuzziness)
    torch.testing.assert_close(shares.sum(1), torch.ones(40).double())
    least = spread(points, centres, shares, fuzziness)
    [slope] = torch.autograd.grad(least, centres)
    assert float(slope.abs().max()) < 1e-5
    for _ in range(50):
        other = torch.rand(40, 2, generator=generator).double()
        other = 0.8 * shares + 0.2 * other / other.sum(1, keepdim=True)
        assert float(spread(points, centres, other, fuzziness)) >= float(least)


def test_two_heaps_have_two_centres() -> None:
    points = torch.tensor([[-3.0, 0.0], [-3.0, 0.0], [3.0, 0.0], [3.0, 0.0]]).double()
    centres = fuzzy_means(points, 2)
    torch.testing.assert_close(centres.abs(), torch.tensor([[3.0, 0.0], [3.0, 0.0]]).double(), atol=1e-5, rtol=0)
    halfway = memberships(torch.zeros(1, 2).double(), centres)
    torch.testing.assert_close(halfway, torch.full((1, 2), 0.5).double(), atol=1e-5, rtol=0)


# -- the predictor --


def cosine(z: Tensor, names: list[str]) -> tuple[float, float]:
    """Mean similarity within families and between them."""
    same = torch.tensor([[a == b for b in names] for a in names])
    alone = torch.eye(len(names), dtype=torch.bool)
    scores = z @ z.T
    return float(scores[same & ~alone].mean()), float(scores[~same].mean())


def test_families_are_told_apart(seen: Nets, unseen: Nets) -> None:
    """Of networks that it never saw: they are like their family, unlike the other, and of one cluster each."""
    (nets, names), (others, others_names) = seen, unseen
    model = GraphEncoder(clusters=2).pretrain(nets, names).fit(nets, log_parameters(nets))
    within, between = cosine(model.embeddings(others), others_names)
    assert within - between > 0.5
    shares = model.memberships(others)
    np.testing.assert_allclose(shares.sum(1), 1.0, atol=1e-9)
    mean = [shares[[name == family for name in others_names]].mean(0) for family in FAMILIES]
    assert mean[0].argmax() != mean[1].argmax() and min(m.max() for m in mean) > 0.7


def test_forecasts_rank_networks_it_never_saw(seen: Nets, unseen: Nets) -> None:
    model = GraphEncoder().fit(seen[0], log_parameters(seen[0]))
    forecast, truth = model.predict(unseen[0]), log_parameters(unseen[0])
    assert spearmanr(forecast, truth).statistic > 0.85
    assert np.abs(forecast - truth).mean() < 0.5 * truth.std()
    again = GraphEncoder().fit(seen[0], log_parameters(seen[0])).predict(unseen[0])
    np.testing.assert_allclose(again, forecast, rtol=1e-4)


def test_a_pretrained_encoder_is_kept(seen: Nets) -> None:
    nets, names = seen
    model = GraphEncoder(pretraining_steps=3, steps=3).pretrain(nets, names)
    before = model.embeddings(nets)
    model.fit(nets[:6], log_parameters(nets[:6]))
    assert torch.equal(model.embeddings(nets), before)


def test_equal_values_are_survived(seen: Nets) -> None:
    model = GraphEncoder(pretraining_steps=2, steps=50).fit(seen[0][:3], np.full(3, 5.0))
    assert model.predict(seen[0][:2]) == pytest.approx([5.0, 5.0], abs=0.5)


def test_asked_before_it_has_data_or_with_too_little() -> None:
    net = build("plain", 1, 8)
    for ask in (GraphEncoder().predict, GraphEncoder().embeddings, GraphEncoder().memberships):
        with pytest.raises(StudyError, match="before it had data"):
            ask([net])
    with pytest.raises(StudyError, match="got 1 networks and 1 values"):
        GraphEncoder().fit([net], np.ones(1))
    with pytest.raises(StudyError, match="got 2 networks and 3 values"):
        GraphEncoder().fit([net, net], np.ones(3))
    with pytest.raises(StudyError, match="got 1"):
        GraphEncoder().pretrain([net])
    with pytest.raises(StudyError, match="got 2 networks and 1 families"):
        GraphEncoder().pretrain([net, net], ["plain"])
    with pytest.raises(StudyError, match="fuzziness must be above 1"):
        GraphEncoder(fuzziness=1.0)
