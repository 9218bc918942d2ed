"""Writes in place are kept; a state from call to call is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import whet
from whet.core.errors import LiftError
from whet.core.spec import check


def blanked(x: Tensor) -> Tensor:
    x[..., -2:] = 0
    return x


def scaled(x: Tensor) -> Tensor:
    x[:, ::2].mul_(0.5)
    x[:, 3] += 1.0
    return x


def chunked(x: Tensor) -> Tensor:
    left, right = x.chunk(2, 1)
    left.add_(right)
    right.sigmoid_()
    return x


def shifted(x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    out[:, :-1, :3] = x[:, 1:, :3]
    out[:, 1:, 3:] = x[:, :-1, 3:]
    return out


def clamped(x: Tensor) -> Tensor:
    torch.clamp_(x[:, 1:4], -0.1, 0.1)
    return x


def masked(x: Tensor) -> Tensor:
    x[x < 0] = 0.25
    return x


def put(x: Tensor) -> Tensor:
    x.transpose(0, 1).index_put_((torch.tensor([0, 2]),), torch.tensor(0.5))
    x.transpose(1, 2)[:, [0, 2]] = 1.5
    return x


def through_views(x: Tensor) -> Tensor:
    x.view(x.shape[0], -1)[:, 5:9].neg_()
    x.transpose(1, 2).select(1, 0).zero_()
    return x


def unused_result(x: Tensor) -> Tensor:
    F.relu_(x)
    return x


def unbound(x: Tensor) -> Tensor:
    for i, row in enumerate(x.unbind(2)):
        row.mul_(i)
    return x


def in_split(x: Tensor) -> Tensor:
    first, *_ = x.split([2, 4], 1)
    first.copy_(first.flip(1))
    return x


def diagonal(x: Tensor) -> Tensor:
    x.diagonal(0, 1, 2).fill_(3.0)
    return x


def without_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        mask = torch.ones_like(x)
        mask[:, :2] = 0
    return x * mask


WRITES = (
    blanked, scaled, chunked, shifted, clamped, masked, put, through_views, unused_result, unbound, in_split, diagonal,
    without_gradient,
)  # fmt: skip


class Writes(nn.Module):
    def __init__(self, write: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Conv1d(6, 6, 3, padding=1), nn.BatchNorm1d(6), nn.Dropout(0.1)
        self.last, self.write = nn.Linear(7, 4), write

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(self.write(self.norm(self.first(x)))))  # type: ignore[no-any-return]


@pytest.mark.parametrize("write", WRITES, ids=lambda w: w.__name__)
def test_writes_in_place_are_kept_and_layers_too(write: Callable[[Tensor], Tensor]) -> None:
    module = Writes(write).eval()
    module.norm.running_mean.normal_()  # type: ignore[union-attr, operator]
    net = check(whet.lift(module, torch.randn(2, 6, 7)))
    x = torch.randn(3, 6, 7)
    with torch.no_grad():
        torch.testing.assert_close(net(x), module(x.clone()))
    assert list(net.layers()) == ["first", "norm", "drop", "last"]
    net.train()
    net(x).square().mean().backward()
    assert all(p.grad is not None for p in net.module.parameters())


class Ordinary(nn.Module):
    """relu(inplace=True) and `y += x`, as residual networks have them: nothing else sees the writes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv1d(6, 6, 1), nn.BatchNorm1d(6), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm(self.conv(x)))
        z = self.conv(y)
        z += y
        return self.act(z)  # type: ignore[no-any-return]


def test_writes_that_nothing_else_sees_stay_as_they_are() -> None:
    net = check(whet.lift(Ordinary().eval(), torch.randn(2, 6, 7)))
    assert [n.name for n in net.graph.nodes if n.op == "call_function"] == [
        "relu__default",
        "add__tensor",
        "relu__default_1",
    ]


class Stateful(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.layer, self.how = nn.Linear(4, 4), how
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("cache", torch.zeros(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        if self.how == "counter":
            self.calls += 1
        elif self.how == "statistics":
            self.cache.lerp_(y.mean(0, keepdim=True), 0.1)  # type: ignore[operator]
        elif self.how == "assigned":
            self.cache = y[:1] * 2
        elif self.how == "remembered":
            y = y + self.cache
            self.cache = y[:1] * 2
        elif self.how == "scratch":
            self.cache.copy_(self.layer.bias[None])  # type: ignore[operator]
            y = y + self.cache
        elif self.how == "average":
            self.cache.mul_(0.9).add_(0.1 * y[:1])  # type: ignore[operator]
            y = y - self.cache
        elif self.how == "position":
            y = y * self.calls
            self.calls += 1
        elif self.how == "input":
            x.add_(1)
        return y


@pytest.mark.parametrize(
    "how, note",
    [
        ("counter", "the buffer 'calls', which forward updates and no output reads, is left out"),
        ("statistics", "the buffer 'cache', which forward updates"),
        ("assigned", "no output depends on 'calls', 'cache'"),
        ("scratch", "the buffer 'cache', which forward updates"),
        ("input", "forward changes its input 'x' in place"),
    ],
)
def test_a_state_that_no_output_reads_is_left_out_and_noted(how: str, note: str) -> None:
    module = Stateful(how)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    x = torch.randn(2, 4)
    given = x.clone()
    net = whet.lift(module, x)
    assert any(note in text for text in net.notes), net.notes
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in before.items()), "the source is left alone"
    assert torch.equal(x, given)


@pytest.mark.parametrize("how", ["average", "position", "remembered"])
@pytest.mark.parametrize("checked", [True, False])
def test_a_state_that_outputs_read_is_refused_by_name(how: str, checked: bool) -> None:
    with pytest.raises(LiftError, match=r"keeps a state between calls|buffer '(cache|calls)'.*as an input and return"):
        whet.lift(Stateful(how), torch.randn(2, 4), check=checked)
