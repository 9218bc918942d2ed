"""The batch may lie anywhere; rows that depend on each other are no batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.core.errors import LiftError, UnknownNameError
from whet.core.spec import check
from whet.graph.outside import unwrap


class Steps(nn.Module):
    """A recurrent layer, (time, batch, features), and its next state, (layers, batch, hidden)."""

    def __init__(self, kind: type[nn.Module] = nn.GRU) -> None:
        super().__init__()
        self.layer, self.head = kind(6, 8, 2), nn.Linear(8, 3)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.layer(x, state)
        return self.head(y), state


class Encoder(nn.Module):
    def __init__(self, first: bool = False) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 16, 0.0, batch_first=first)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class Last(Encoder):
    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)[-1]  # type: ignore[no-any-return]


class Streaming(nn.Module):
    """Sound, a state of (2, batch, hidden), a scalar rate and a table that all rows share."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.layer = nn.Linear(10, 8), nn.LSTMCell(8, 8)

    def forward(self, sound: Tensor, state: Tensor, rate: Tensor, table: Tensor) -> dict[str, Tensor]:
        h, c = self.layer(self.encode(sound * rate), (state[0], state[1]))
        return {"speech": (h @ table).sigmoid(), "state": torch.stack([h, c])}


CASES: list[tuple[nn.Module, tuple[Tensor, ...], Any, list[int | None], list[int | None]]] = [
    (Steps(), (torch.randn(5, 2, 6), torch.randn(2, 2, 8)), 1, [1, 1], [1, 1]),
    (Steps(nn.RNN), (torch.randn(5, 3, 6), torch.randn(2, 3, 8)), (1, 1), [1, 1], [1, 1]),
    (Encoder(), (torch.randn(7, 2, 6),), 1, [1], [1]),
    (Encoder(), (torch.randn(7, 1, 6),), -2, [1], [1]),
    (Last(), (torch.randn(7, 2, 6),), {"x": 1}, [1], [0]),
    (Encoder(first=True), (torch.randn(2, 7, 6),), None, [0], [0]),
    (
        Streaming(),
        (torch.randn(2, 10), torch.randn(2, 2, 8), torch.tensor(0.5), torch.randn(8, 1)),
        (0, 1, None, None), [0, 1, None, None], [0, 1],
    ),
    (
        Streaming(),
        (torch.randn(3, 10), torch.randn(2, 3, 8), torch.tensor(0.5), torch.randn(8, 1)),
        ((0, 1, None, None), (0, 1)), [0, 1, None, None], [0, 1],
    ),
]  # fmt: skip


@pytest.mark.parametrize("module, example, axis, inputs, outputs", CASES)
def test_inside_the_batch_is_first_and_outside_it_stays(
    module: nn.Module, example: tuple[Tensor, ...], axis: Any, inputs: list[Any], outputs: list[Any]
) -> None:
    net = check(whet.lift(module.eval(), example, batch_axis=axis))
    assert [p.batch_axis for p in net.inputs] == inputs and [p.batch_axis for p in net.outputs] == outputs
    rows = {len(x) for x in net.example}
    assert len(rows) == 1 and rows.pop() >= 2
    with torch.no_grad():
        expected = net.results(module(*example))
        given = [p.inside(x, example[0].shape[inputs[0]]) for p, x in zip(net.inputs, example, strict=True)]
        found = net.results(net(*given))
        outside = net.results(unwrap(net)(*example))
    for port, wanted, inner, outer in zip(net.outputs, expected, found, outside, strict=True):
        torch.testing.assert_close(port.outside(inner), wanted)
        torch.testing.assert_close(outer, wanted)


@pytest.mark.parametrize(
    "module, example, advice",
    [
        (Encoder(), (torch.randn(7, 2, 6),), "dimension 1 of input 'x': give batch_axis=1"),
        (Encoder(), (torch.zeros(7, 4, 6),), "give batch_axis=1"),
        (Last(), (torch.randn(7, 3, 6),), "give batch_axis=1"),
        (Steps(), (torch.randn(5, 3, 6), torch.randn(2, 3, 8)), "give batch_axis=1"),
        (Encoder(first=True), (torch.randn(7, 2, 6).transpose(0, 1),), ""),
    ],
)
def test_rows_that_depend_on_each_other_are_refused_with_the_axis_that_is_right(
    module: nn.Module, example: tuple[Tensor, ...], advice: str
) -> None:
    if not advice:
        assert whet.lift(module, example).inputs[0].batch_axis == 0
        return
    with pytest.raises(LiftError, match=advice):
        whet.lift(module, example)


class Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean((0, 1), keepdim=True)


class Frames(nn.Module):
    """Four frames of a clip lie in the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, 4, x.shape[1]).cumsum(1).flatten(0, 1)


@pytest.mark.parametrize("module", [Centred(), Frames(), nn.BatchNorm1d(5, track_running_stats=False)])
def test_rows_that_depend_on_each_other_along_every_axis_are_refused(module: nn.Module) -> None:
    with pytest.raises(LiftError, match=r"Rows of a batch must not depend on each other|batch_axis="):
        whet.lift(module, torch.randn(8, 5))


def test_axes_that_are_not_there_are_refused() -> None:
    x = torch.randn(7, 2, 6)
    with pytest.raises(LiftError, match=r"batch_axis of input 'x' is 3; its shape is \(7, 2, 6\)"):
        whet.lift(Encoder(), x, batch_axis=3)
    with pytest.raises(LiftError, match="2 entries; there are 1 inputs"):
        whet.lift(Encoder(), x, batch_axis=(1, 1))
    with pytest.raises(UnknownNameError, match="did you mean 'x'"):
        whet.lift(Encoder(), x, batch_axis={"xs": 1})


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(9, 8), nn.Linear(8, 3)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        y = self.head(self.embed(tokens) * mask[..., None])
        return y, y.mean(1)


def test_lengths_are_left_open_by_name() -> None:
    example = torch.randint(0, 9, (2, 6)), torch.ones(2, 6)
    net = check(whet.lift(Words(), example, free_axes={"tokens": {1: "sequence"}, "mask": {1: "sequence"}}))
    assert [p.free for p in net.inputs] == [((1, "sequence"),), ((1, "sequence"),)]
    assert [p.free for p in net.outputs] == [((1, "sequence"),), ()]
    assert net(torch.randint(0, 9, (3, 11)), torch.ones(3, 11))[0].shape == (3, 11, 3)
    with pytest.raises(UnknownNameError, match="did you mean 'tokens'"):
        whet.lift(Words(), example, free_axes={"token": {1: "sequence"}})


class Fixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)  # type: ignore[no-any-return]


def test_a_length_that_the_network_fixes_cannot_be_left_open() -> None:
    with pytest.raises(LiftError, match="cannot be exported"):
        whet.lift(Fixed(), torch.randn(2, 6), free_axes={"x": {1: "features"}})
