"""Rows of the operator table: which groups an operator leaves of the layer before it; cuts of these are right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from silence import Silenced, in_double
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_flatten

import whet
from whet.core.net import Net
from whet.graph.axes import Axes, analyze
from whet.graph.cut import cut, removal

aten = torch.ops.aten
Function = Callable[[Tensor], Tensor]


class Between(nn.Module):
    """`function` between a layer of eight neurons, (batch, 5, 6) to (batch, 5, 8), and one of three."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.function = nn.Linear(6, 8), function
        with torch.no_grad():
            shape = function(torch.randn(2, 5, 8)).shape
        self.leave = nn.Linear(shape[-1], 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.leave(self.function(self.enter(x)))
        return y.sum(list(range(1, y.ndim - 1)))


def sizes(axes: Axes, layer: str = "enter") -> list[int]:
    """Return the sizes of the groups that hold rows of a layer's weight."""
    held = [g.size for g in axes.groups.values() for m in g.members if m.parameter == f"{layer}.weight" and m.dim == 0]
    return sorted(held)


@torch.no_grad()
def wrong_cuts(net: Net, axes: Axes) -> list[str]:
    """Return the sites at which keeping every second atom differs from silencing the others."""
    wrong = []
    for site, group in axes.groups.items():
        keep = {site: range(group.size % 2, group.size, 2)}
        outs = cut(net, keep, axes)(*net.example), Silenced(net, axes, removal(axes, keep)).run(*net.example)
        flat = [[t for t in tree_flatten(out)[0] if t is not None] for out in outs]
        if not all(torch.allclose(a, b, rtol=1e-7, atol=1e-9) for a, b in zip(*flat, strict=True)):
            wrong.append(site)
    return wrong


def channels_first(x: Tensor) -> Tensor:
    """(batch, 5, 8) as (batch, 8, 5, 1)."""
    return x.transpose(1, 2).unsqueeze(-1)


def signals(x: Tensor) -> Tensor:
    """(batch, 5, 8) as (batch x 8, 40) signals in time."""
    return x.transpose(1, 2).flatten(0, 1).repeat(1, 8)


def spectrogram(x: Tensor) -> Tensor:
    return torch.stft(signals(x), 8, 4, window=torch.ones(8, dtype=x.dtype), return_complex=True)


def back(x: Tensor) -> Tensor:
    """(batch x 8, ...) as (batch, ..., 8)."""
    return x.reshape(-1, 8, *x.shape[1:]).movedim(1, -1)


EVERY_SECOND = torch.tensor([0, 2, 4, 6])
FEW = torch.tensor([0, 2, 4])

ROWS: dict[str, tuple[Function, list[int]]] = {
    # one element
    "a slice of one, squeezed": (lambda x: x[..., 1:2].squeeze(-1).unsqueeze(1) * x.sum(-1).unsqueeze(1), [7]),
    "the rest gated by one": (lambda x: x[..., 2:] * x[..., 0:1].sigmoid(), [6]),
    "one of two parts": (lambda x: x.split([1, 7], -1)[0] * x, [7]),
    "one, selected": (lambda x: x[..., 5].unsqueeze(-1) * x, [7]),
    "all of a split by one": (lambda x: torch.cat([part.relu() for part in x.split(1, -1)], -1), []),
    "one, reshaped": (lambda x: x[..., :1].reshape(-1, 1, 5) * x.sum(-1).unsqueeze(1), [7]),
    "one head": (lambda x: x.view(-1, 5, 1, 8).transpose(1, 2).squeeze(1), [8]),
    "one feature a head": (lambda x: x.view(-1, 5, 8, 1).squeeze(-1), [8]),
    "one, stretched": (lambda x: x[..., 7:].expand(-1, -1, 4), [7]),
    "one of the positions": (lambda x: x[:, 0:1].squeeze(1).unsqueeze(1) * x, [8]),
    "one head of four": (lambda x: x.view(-1, 5, 4, 2)[:, :, 1:2].squeeze(2) * x.view(-1, 5, 4, 2)[:, :, 2], [2, 2]),
    "a part averaged": (lambda x: x[..., 4:] * x[..., :4].mean(-1, keepdim=True), [4, 4]),
    "one weight a sum (ASFF)": (lambda x: x[..., :1] * x[..., 2:5] + x[..., 1:2] * x[..., 5:], [3]),
    "a slice of nothing": (lambda x: torch.cat([x[..., 8:], x, x[..., :0]], -1), [8]),
    # shapes
    "expand_as": (lambda x: x / (x.norm(dim=-1, keepdim=True) + 1).expand_as(x), [8]),
    "expand_as, over positions": (lambda x: x / (x.norm(dim=1, keepdim=True) + 1).expand_as(x), [8]),
    "normalize": (lambda x: F.normalize(x, dim=-1), [8]),
    "view_as": (lambda x: x[..., :4].flatten(1).view_as(x[..., 4:]), [4]),
    "reshape_as": (lambda x: x[..., 4:].transpose(1, 2).reshape_as(x[..., :4]), []),
    "reshape_as, split and merged": (lambda x: x.view(-1, 5, 2, 4).tanh().reshape_as(x), [2, 4]),
    "fill": (lambda x: aten.fill(x, 0.5) * x, [8]),
    "zero": (lambda x: aten.zero(x) + x, [8]),
    "copy": (lambda x: aten.copy(x, x.relu()), [8]),
    "where": (lambda x: torch.where(x > 0, x, x.flip(1)), [8]),
    "masked_fill": (lambda x: x.masked_fill(x < 0, 0.3), [8]),
    "channel_shuffle": (lambda x: F.channel_shuffle(channels_first(x), 4).squeeze(-1).transpose(1, 2), [2, 4]),
    "pixel_unshuffle": (lambda x: F.pixel_unshuffle(channels_first(x).repeat(1, 1, 2, 2), 2).movedim(1, -1), [8]),
    # signals
    "unfold": (lambda x: F.unfold(channels_first(x), (2, 1)).transpose(1, 2), [8]),
    "unfold over the neurons": (lambda x: F.unfold(x.unsqueeze(1), 2).transpose(1, 2), []),
    "fold": (lambda x: F.fold(x.transpose(1, 2), (6, 1), (2, 1)).movedim(1, -1), [4]),
    "unfold and fold": (lambda x: F.fold(F.unfold(channels_first(x), 1), (5, 1), 1).movedim(1, -1), [8]),
    "windows": (lambda x: x.unfold(1, 2, 1).sum(-1), [8]),
    "windows of neurons": (lambda x: x.unfold(2, 2, 1).sum(-1), []),
    "rfft": (lambda x: torch.fft.rfft(x, dim=1).abs(), [8]),
    "rfft over neurons": (lambda x: torch.fft.rfft(x).abs(), []),
    "fft": (lambda x: torch.fft.fft(x, dim=1).real, [8]),
    "irfft": (lambda x: torch.fft.irfft(torch.fft.rfft(x, 10, 1) * 2, 10, 1)[:, :5], [8]),
    "fft over neurons": (lambda x: torch.fft.fft(x).real, []),
    "fft2": (lambda x: torch.fft.fft2(x).real, []),
    "fft2 over others": (lambda x: torch.fft.ifft2(torch.fft.fft2(x.unsqueeze(2), dim=(1, 2)), dim=(1, 2)).real, [8]),
    "fftn": (lambda x: torch.fft.rfftn(x, dim=(1,)).imag, [8]),
    "pairs": (lambda x: torch.view_as_real(torch.fft.rfft(x, dim=1))[..., 1], [8]),
    "pairs of reals": (lambda x: torch.view_as_complex(x.view(-1, 5, 4, 2)).abs(), [4]),
    "stft": (lambda x: back(spectrogram(x).abs()), [8]),
    "istft": (lambda x: back(torch.istft(spectrogram(x), 8, 4, window=torch.ones(8, dtype=x.dtype))), [8]),
    "stft of neurons": (lambda x: torch.stft(x.flatten(0, 1), 4, return_complex=True).abs().reshape(-1, 5, 27), []),
    # writing
    "slice_scatter": (lambda x: torch.slice_scatter(x, x[..., :4].relu(), -1, 0, 4), [4, 4]),
    "slice_scatter of nothing": (lambda x: torch.slice_scatter(x, x[..., 8:], -1, 8, 9), [8]),
    "slice_scatter, shifted": (lambda x: torch.slice_scatter(x, x[:, 1:], 1, 0, 4), [8]),
    "slice_scatter with a step": (lambda x: torch.slice_scatter(x, x[..., ::2].relu(), -1, 0, 8, 2), [4, 4]),
    "slice_scatter with another part": (lambda x: torch.slice_scatter(x, x[..., 4:].relu(), -1, 1, 5), [2]),
    "select_scatter": (lambda x: torch.select_scatter(x, x[..., 0].relu(), -1, 3), [6]),
    "select_scatter of a position": (lambda x: torch.select_scatter(x, x[:, 0].relu(), 1, 3), [8]),
    "index_copy": (lambda x: x.index_copy(1, FEW, x[:, :3].relu()), [8]),
    "index_copy of neurons": (lambda x: x.index_copy(2, FEW, x[..., :3].relu()), []),
    "index_add": (lambda x: x[..., :4].index_add(1, FEW, x[:, 1:4, 4:]), [4]),
    "index_fill": (lambda x: x.index_fill(1, FEW, 0.2), [8]),
    "index_put": (lambda x: aten.index_put(x, [None, FEW], x[:, 2:]), [8]),
    "index_put of neurons": (lambda x: aten.index_put(x, [None, None, EVERY_SECOND], x[..., :4].relu()), []),
    "index_put by a mask": (lambda x: aten.index_put(x, [x > 0.3], x.new_zeros(())), []),
    "scatter": (lambda x: x[..., :4].scatter(1, x[..., 4:].argsort(1), x[..., 4:]), [4]),
    "scatter over neurons": (lambda x: x.scatter(2, x.argsort(1), x.relu()), []),
    "scatter_add": (lambda x: x[..., 4:].scatter_add(1, x[..., :4].argsort(1), x[..., 4:]), [4]),
    "gather": (lambda x: x[..., :4].gather(1, x[..., 4:].argsort(1)), [4]),
    "gather over neurons": (lambda x: x.gather(2, x.argsort(1)), []),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_keeps_or_freezes_as_it_should(name: str) -> None:
    function, expected = ROWS[name]
    net = in_double(whet.lift(Between(function).eval(), (torch.randn(2, 5, 6),)))
    axes = analyze(net)
    assert sizes(axes) == expected
    assert not wrong_cuts(net, axes)
    assert not any("no row" in reason or "not fit" in reason for reason in axes.skipped.values()), axes.skipped


@pytest.mark.parametrize("both", [False, True])
def test_a_projected_lstm_is_cut_in_its_projection_and_its_cells(both: bool) -> None:
    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTM(6, 9, 2, batch_first=True, bidirectional=both, proj_size=4)
            self.leave = nn.Linear(8 if both else 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.leave(self.cell(x)[0])

    net = in_double(whet.lift(Projected().eval(), (torch.randn(2, 5, 6),)))
    axes = analyze(net)
    # Five of nine units stay, one more than the projection has.
    assert sorted(g.size for g in axes.groups.values()) == [4, 4]
    assert not wrong_cuts(net, axes) and not axes.skipped


def test_an_element_that_is_alone_in_a_dimension_is_reported() -> None:
    net = whet.lift(Between(lambda x: x[..., 2:] * x[..., 0:1]).eval(), (torch.randn(2, 5, 6),))
    reasons = analyze(net).skipped
    assert len(reasons) == 1 and "one element" in next(iter(reasons.values()))


def several(nested: bool) -> Net:
    """A net with a hidden layer, two outputs and a tensor that is no output; `nested` puts one into a dictionary."""
    net = whet.lift(Between(lambda x: x.relu()).eval(), (torch.randn(2, 5, 6),))
    output = next(n for n in net.graph.nodes if n.op == "output")
    hidden = next(n for n in net.graph.nodes if n.target == "enter")
    with net.graph.inserting_before(output):
        part = net.graph.call_function(aten.narrow.default, (hidden, 2, 0, 3))
    result: fx.node.Argument = output.args[0]
    output.args = ({"first": result, "more": (part, [None])} if nested else (result, part),)
    return Net(net.module, net.example).settle()


@pytest.mark.parametrize("nested", [False, True])
def test_every_output_is_frozen_however_deep(nested: bool) -> None:
    net = in_double(several(nested))
    axes = analyze(net)
    assert sizes(axes) == [5]
    assert not wrong_cuts(net, axes)
    small = cut(net, {site: [0] for site in axes.groups}, axes)(*net.example)
    assert [t.shape for t in tree_flatten(small)[0] if t is not None] == [(2, 3), (2, 5, 3)]
