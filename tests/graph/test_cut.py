"""What `cut` refuses, what it keeps, and what it leaves behind."""

from __future__ import annotations

import copy

import pytest
import torch
from structures import build
from torch import Tensor, nn
from torch.nn import functional as F

import whet
from whet.core.errors import AxesError
from whet.core.net import Net
from whet.graph.axes import Axes, analyze
from whet.graph.cut import cut


def lifted(name: str) -> tuple[Net, Axes]:
    net = whet.lift(*build(name))
    return net, analyze(net)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"inner.conv.1": [0]}, r"unknown site to cut 'inner.conv.1'; did you mean 'inner.convs.1'\?"),
        ({"inner.convs.1": []}, r"'inner.convs.1' must keep at least one of its 4 channels; got none"),
        ({"inner.convs.1": [0, 4, 9]}, r"'inner.convs.1' has channels 0 to 3; got \[4, 9\]"),
        ({"inner.convs.1": [-1]}, r"got \[-1\]"),
    ],
)
def test_a_wrong_cut_is_refused(keep: dict[str, list[int]], message: str) -> None:
    net, axes = lifted("dense")
    with pytest.raises(AxesError, match=message):
        cut(net, keep, axes)


def test_axes_of_another_net_are_refused() -> None:
    with pytest.raises(AxesError, match="not made from this net"):
        cut(lifted("dense")[0], {"enter": [0]}, lifted("fused_attention")[1])


def test_the_input_is_left_as_it_was() -> None:
    net, axes = lifted("shifted_windows")
    state, code = copy.deepcopy(net.module.state_dict()), net.module.code
    cut(net, {site: [0] for site in axes.groups}, axes)
    assert net.module.code == code
    assert all(torch.equal(value, state[name]) for name, value in net.module.state_dict().items())


def test_cutting_nothing_changes_nothing() -> None:
    net, axes = lifted("padded_shortcut")
    same = cut(net, {site: range(group.size) for site, group in axes.groups.items()}, axes)
    assert torch.equal(same(*net.example), net(*net.example))
    assert same.module.code == net.module.code


def test_the_order_and_repetition_of_kept_atoms_do_not_matter() -> None:
    net, axes = lifted("dense")
    a, b = cut(net, {"enter": [5, 1, 1, 3]}, axes), cut(net, {"enter": [1, 3, 5]}, axes)
    assert torch.equal(a(*net.example), b(*net.example))


@pytest.mark.parametrize(
    "name", ["dense", "fused_attention", "padded_shortcut", "shuffled", "recurrent_lstm", "shifted_windows"]
)
def test_two_cuts_in_a_row_equal_one(name: str) -> None:
    net, axes = lifted(name)
    sites = {site: group.size for site, group in axes.groups.items() if group.size >= 3}
    first = cut(net, {site: range(1, size) for site, size in sites.items()}, axes)
    second = cut(first, {site: range(1, size - 1) for site, size in sites.items()})
    once = cut(net, {site: range(2, size) for site, size in sites.items()}, axes)
    assert torch.equal(second(*net.example), once(*net.example))


def test_layers_say_their_new_sizes() -> None:
    net, axes = lifted("shuffled")
    small = cut(net, {"enter#groups": [0, 2], "inner.first": [0, 2]}, axes)
    first, depth, norm = (small.layer(f"inner.{n}") for n in ("first", "depth", "norm"))
    assert isinstance(first, nn.Conv2d) and isinstance(depth, nn.Conv2d) and isinstance(norm, nn.GroupNorm)
    for conv in (first, depth):
        assert conv.weight.shape[:2] == (conv.out_channels, conv.in_channels // conv.groups)
    assert first.groups == 2 and depth.groups == depth.in_channels == depth.out_channels
    assert norm.num_channels == norm.weight.numel() == depth.out_channels
    text = repr(small.layer("leave"))
    assert f"in_features={small.layer('leave').weight.shape[1]}" in text


def test_tied_parameters_stay_tied() -> None:
    net, axes = lifted("tied_language_model")
    site = next(s for s, g in axes.groups.items() if g.size == 12 and len(g.members) > 3)
    small = cut(net, {site: [0, 3, 4]}, axes)
    tables = [p for p in small.module.parameters() if tuple(p.shape) == (20, 3)]
    names = [
        n for n, _ in small.module.named_parameters(remove_duplicate=False) if n.split(".")[0] in {"tokens", "head"}
    ]
    assert len(tables) == 1 and len(names) == 2


def test_flags_survive() -> None:
    net, axes = lifted("dense")
    net.train()
    net.layer("inner.convs.0").weight.requires_grad_(False)
    small = cut(net, {"enter": [0, 1]}, axes)
    assert small.module.training
    assert not small.layer("inner.convs.0").weight.requires_grad
    assert small.layer("inner.convs.1").weight.requires_grad


class Reversed(nn.Module):
    """Two halves of one layer that meet crosswise: cutting element i of one cuts element 3 - i of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 8), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.a(x).split(4, -1)
        return self.b(F.relu(left) * right.flip(-1))


def test_atoms_follow_elements_not_blocks() -> None:
    net = whet.lift(Reversed().eval(), (torch.randn(2, 5),))
    axes = analyze(net)
    [member] = [m for m in axes.groups["a"].members if m.parameter == "a.weight"]
    assert member.atom.tolist() == [0, 1, 2, 3, 3, 2, 1, 0]
    small = cut(net, {"a": [0, 2]}, axes)
    weight = net.layer("a").weight
    assert torch.equal(small.layer("a").weight, weight[[0, 2, 5, 7]])
    bias = net.layer("a").bias
    with torch.no_grad():
        x = net.example[0]
        y = F.linear(x, weight, bias)
        expected = net.layer("b")(F.relu(y[:, :4]) * y[:, 4:].flip(-1) * torch.tensor([1.0, 0, 1, 0]))
        assert torch.allclose(small(x), expected, atol=1e-6)
