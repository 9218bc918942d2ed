"""Merging: equal channels become one without a difference, near ones within the bound, the nearest first."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.compress.merging import Features, Merging, duplicated
from whet.core.errors import DecisionError
from whet.core.net import Net
from whet.core.space import Decision
from whet.graph.axes import analyze
from whet.graph.cut import cut as cut_only
from whet.graph.empty import exact
from whet.testing.passes import check
from whet.testing.runs import AlignedTarget, planning_run

TARGET = AlignedTarget()


class Residual(nn.Module):
    """A stream that a convolution both reads and writes, and a norm with statistics inside of a block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.same = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.up, self.norm = nn.Conv2d(8, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.deep, self.down = nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.Conv2d(12, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = x + self.same(x).relu()
        x = x + self.down(self.deep(self.norm(self.up(x)).relu()).relu())
        found: Tensor = self.head(x.mean((2, 3)))
        return found


def planted(copies: dict[str, dict[int, int]]) -> Net:
    """Return the network with atoms that are copies of others, by site: what reads them is their own."""
    torch.manual_seed(0)
    module = Residual().eval()
    with torch.no_grad():
        for tensor in (*module.parameters(), module.norm.running_mean, module.norm.running_var):
            tensor.copy_(torch.rand_like(tensor) - (0.0 if tensor is module.norm.running_var else 0.3))
    net = whet.lift(module, (torch.randn(2, 3, 6, 6),))
    for site, pairs in copies.items():
        group = analyze(net).groups[site]
        matrix = torch.eye(group.size).double()
        for copy, of in pairs.items():
            matrix[copy], matrix[copy, of] = 0.0, 1.0
        Features(net, group).assign(matrix, torch.eye(group.size).double())
    return net


@pytest.mark.parametrize("site, size", [("up", 12), ("stem", 8)])
def test_equal_atoms_become_one_and_no_output_changes(site: str, size: int) -> None:
    copies = {1: 0, 5: 0, 7: 3}
    net = planted({site: copies})
    fraction = (size - 3) / size
    item = Merging((fraction, 1.0), tie="none", round_to=1)
    result = item.apply(net, Decision({f"{site}:merged": fraction}), planning_run(net))
    assert result.texts == {site: f"{size} to {size - 3} channels, 3 of them without any difference"}
    assert result.net.layer(site).out_channels == size - 3
    x = torch.randn(4, 3, 6, 6)
    torch.testing.assert_close(result.net(x), net(x), rtol=1e-4, atol=1e-4)
    cut = {site: [i for i in range(size) if i not in copies]}
    assert (cut_only(net, cut)(x) - net(x)).abs().max() > 1e-2, "what reads the copies counts"


def test_conforms() -> None:
    net = planted({})
    assert len(check(Merging((0.5, 1.0), round_to=2), net, TARGET, planning_run(net), count=1)) == 2


def linear(seed: int = 0) -> tuple[Net, Tensor, Tensor]:
    """Return a perceptron without biases, what writes its 5 neurons, and what reads them."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(4, 5, False), nn.ReLU(), nn.Linear(5, 3, False)).eval()
    net = whet.lift(module, (torch.randn(2, 4),))
    first, second = (net.module.get_parameter(f"{name}.weight").detach().clone() for name in ("0", "2"))
    return net, first, second


def test_several_atoms_become_their_mean_and_what_reads_them_their_sum() -> None:
    net, _, _ = linear()
    weight = net.module.get_parameter("0.weight")
    with torch.no_grad():
        weight[1:3] = weight[0] + torch.tensor([[0.01], [0.03]])
    first, second = weight.detach().clone(), net.module.get_parameter("2.weight").detach().clone()
    result = Merging((0.6, 1.0), tie="none", round_to=1).apply(net, Decision({"0:merged": 0.6}), planning_run(net))
    torch.testing.assert_close(result.net.module.get_parameter("0.weight")[0].detach(), first[:3].mean(0))
    torch.testing.assert_close(result.net.module.get_parameter("2.weight")[:, 0].detach(), second[:, :3].sum(1))
    torch.testing.assert_close(result.net.module.get_parameter("2.weight")[:, 1:].detach(), second[:, 3:])
    assert "0 of them without" in result.texts["0"]


def test_the_distance_bounds_what_two_that_become_one_change() -> None:
    net, first, second = linear()
    features = Features(net, analyze(net).groups["0"])
    scale = float(first.square().mean().sqrt() * second.square().mean().sqrt())
    x = torch.randn(400, 4)
    largest = []
    for i, j in itertools.combinations(range(5), 2):
        hidden = (x @ first.T).relu()
        mean = (x @ (first[i] + first[j]) / 2).relu()
        joined = hidden.index_copy(1, torch.tensor([i, j]), torch.stack([mean, mean], 1))
        changed = (hidden - joined) @ second.T
        bound = float(features.distance(i)[j]) * scale
        largest.append(float((changed.norm(dim=1) / x.norm(dim=1)).max()) / bound)
    assert 0.3 < max(largest) <= 1.0


def test_the_two_that_cost_least_are_the_first() -> None:
    net, _, _ = linear()
    features = Features(net, analyze(net).groups["0"])
    every = torch.stack([features.distance(i) for i in range(5)])
    one, other = sorted(divmod(int(every.argmin()), 5))
    kept = features.merge(4)
    assert kept == [i for i in range(5) if i != other] and features.joined[one].tolist()[other] == 1.0


def test_what_something_averages_over_or_multiplies_is_skipped() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    net = whet.lift(module, (torch.randn(2, 6),))
    assert exact(net, analyze(net), None, duplicated) == ["2"]
    result = Merging((0.5, 1.0), tie="network", round_to=1).apply(net, Decision({"*:merged": 0.5}), planning_run(net))
    assert "cannot be one" in result.skipped["0"] and result.net.layer("2").out_features == 4
    assert result.net.layer("0").out_features == 8


def test_choices_are_those_of_width_by_another_name() -> None:
    net = planted({})
    item = Merging()
    names = [c.name for c in item.space(net, TARGET)]
    assert names == ["stem:merged", "up:merged"] and list(item.shares(net, planning_run(net))) == names
    assert {n for d in item.obvious(net, TARGET) for n, _ in d.items()} == set(names)
    with pytest.raises(DecisionError, match="must lie in"):
        Merging((0.5,))
