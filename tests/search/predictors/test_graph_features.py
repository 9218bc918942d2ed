"""Networks as graphs: edges follow tensors, kinds gather variants, spectra know what is connected."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.core.errors import StudyError
from whet.search.predictors.graph_features import KINDS, SIZES, ComputationGraph, encode, kind, spectrum, union


class Small(nn.Module):
    """A depthwise and a plain convolution whose sum goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.depth, self.plain = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.depth(x) + self.plain(x))


def test_nodes_edges_and_sizes_are_those_of_the_network() -> None:
    graph = encode(whet.lift(Small(), torch.randn(2, 4, 6, 6)))
    kinds = [KINDS[k] for k in graph.kinds.tolist()]
    assert kinds == ["input", "depthwise", "conv", "add", "relu"]
    assert graph.layers == ("", "depth", "plain", "", "")
    assert sorted(map(tuple, graph.edges.T.tolist())) == [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)]
    assert graph.sizes.shape == (5, SIZES)
    wanted = [math.log2(1 + n) / 8 for n in (4, 4, 36, 36, 9, 40)]
    torch.testing.assert_close(graph.sizes[1], torch.tensor(wanted))


def test_weights_do_not_matter() -> None:
    torch.manual_seed(0)
    one, other = (encode(whet.lift(Small(), torch.randn(2, 4, 6, 6))) for _ in range(2))
    assert torch.equal(one.sizes, other.sizes) and torch.equal(one.edges, other.edges)


def path(nodes: int) -> ComputationGraph:
    edges = torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)])
    return ComputationGraph(("",) * nodes, torch.zeros(nodes, dtype=torch.long), torch.zeros(nodes, SIZES), edges)


def test_a_spectrum_has_a_zero_for_each_part_that_hangs_together() -> None:
    both, which = union([path(3), path(4)])
    assert which.tolist() == [0] * 3 + [1] * 4 and int(both.edges.max()) == 6
    values = spectrum(both, 9)
    assert (values[:2].abs() < 1e-9).all() and values[2] > 0.1
    assert values[7:].tolist() == [2.0, 2.0], "what is missing is the largest there can be"
    torch.testing.assert_close(spectrum(path(3), 3), torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64))


def test_no_graph_and_unknown_operations() -> None:
    with pytest.raises(StudyError, match="at least one; got none"):
        union([])
    assert kind("ConvTranspose2d") == "convtranspose" and kind("hypot") == "unknown"
