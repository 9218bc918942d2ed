from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import whet
from whet.core.net import Net
from whet.graph.readers import Reader, find_readers

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(5, 3), (4, 5)),
    "linear of sequences": (lambda: nn.Linear(5, 3, bias=False), (4, 7, 5)),
    "convolution": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1), (2, 4, 9, 8)),
    "uneven": (lambda: nn.Conv2d(4, 6, (3, 2), (1, 2), (2, 1), (2, 1), bias=False), (2, 4, 9, 8)),
    "same, even kernel": (lambda: nn.Conv1d(4, 6, 4, padding="same", dilation=3), (2, 4, 20)),
    "reflected": (lambda: nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"), (2, 4, 6, 6)),
    "circular": (lambda: nn.Conv1d(4, 6, 5, padding=2, padding_mode="circular"), (2, 4, 11)),
    "groups": (lambda: nn.Conv2d(8, 12, 3, padding=1, groups=4), (2, 8, 5, 5)),
    "depthwise": (lambda: nn.Conv2d(6, 12, 3, groups=6), (2, 6, 5, 5)),
    "volume": (lambda: nn.Conv3d(2, 3, (1, 2, 3), padding=(0, 1, 1)), (2, 2, 4, 5, 6)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1), (2, 4, 5, 6)),
    "transposed groups": (lambda: nn.ConvTranspose1d(6, 4, 4, 3, 2, groups=2, dilation=2), (2, 6, 7)),
}


def the_reader(net: Net) -> Reader:
    (reader,) = find_readers(net)[0].values()
    return reader


def rebuilt(net: Net, reader: Reader, x: Tensor, y: Tensor, chosen: Tensor) -> Tensor:
    """Return the outputs at chosen positions from the matrix and what is read."""
    read = reader.inputs(net, x, reader.positions(y), chosen)
    product = (read @ reader.matrix(net).mT).transpose(0, 1).flatten(1)
    bias = net.module.get_parameter(reader.bias) if reader.bias else torch.zeros(())
    return product + bias


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_matrix_times_what_it_reads(name: str) -> None:
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    x = torch.randn(shape)
    net = whet.lift(nn.Sequential(build()), x)
    reader = the_reader(net)
    read: list[Tensor] = []
    net.layer(reader.site).register_forward_pre_hook(lambda module, given: read.append(given[0]))
    with torch.no_grad():
        y, x = net(x), read[0]
        positions = reader.positions(y)
        assert reader.fits(net, x, positions) and not reader.fits(net, x[:-1], positions)
        every = torch.randperm(y.numel() // y.shape[reader.channel_axis])
        torch.testing.assert_close(rebuilt(net, reader, x, y, every), reader.outputs(y, every), rtol=1e-4, atol=1e-5)
        before = net.module.get_parameter(reader.weight).clone()
        reader.assign(net, 2 * reader.matrix(net))
        assert torch.equal(net.module.get_parameter(reader.weight), 2 * before)


class Products(nn.Module):
    """A matrix as a parameter, multiplied as `kind` says."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.weight = nn.Parameter(torch.randn(*((3, 5) if kind == "linear" else (5, 3))))
        self.bias = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "linear":
            return F.linear(x, self.weight, self.bias)
        return torch.addmm(self.bias, x, self.weight) if self.kind == "addmm" else x @ self.weight


@pytest.mark.parametrize("kind", ["linear", "addmm", "matmul"])
def test_a_product_with_a_parameter_is_a_reader(kind: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 5)
    net = whet.lift(Products(kind), x)
    reader = the_reader(net)
    y = net(x)
    torch.testing.assert_close(rebuilt(net, reader, x, y, torch.arange(4)), y, rtol=1e-4, atol=1e-5)


class Tied(nn.Module):
    """Three ways of reading a weight twice."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.kind = kind
        if kind == "embedding":
            self.head.weight = self.table.weight
        if kind == "two layers":
            self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(self.table(x)).relu()
        return self.head((self.first if self.kind == "one layer" else self.second)(y))


@pytest.mark.parametrize(
    "kind, tied", [("embedding", {"head"}), ("two layers", {"first", "second"}), ("one layer", {"first"})]
)
def test_a_weight_that_is_read_twice_is_skipped_with_its_reason(kind: str, tied: set[str]) -> None:
    readers, skipped = find_readers(whet.lift(Tied(kind), torch.zeros(2, 3, dtype=torch.long)))
    assert {site for site, _ in skipped.values()} == tied
    assert all("several places" in reason for _, reason in skipped.values())
    assert tied.isdisjoint(r.site for r in readers.values())


class Recurrent(nn.Module):
    """Sequences through a recurrent layer."""

    def __init__(self, kind: Callable[..., nn.Module], **given: bool) -> None:
        super().__init__()
        self.rnn = kind(4, 6, batch_first=True, **given)
        self.head = nn.Linear(12 if given.get("bidirectional") else 6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.rnn(x)[0])
        return y


@pytest.mark.parametrize("kind, gates", [(nn.GRU, 3), (nn.LSTM, 4), (nn.RNN, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_recurrent_layer_reads_its_input_linearly(kind: Callable[..., nn.Module], gates: int, bias: bool) -> None:
    x = torch.randn(2, 3, 4)
    net = whet.lift(Recurrent(kind, bias=bias), x)
    readers, skipped = find_readers(net)
    reader = next(iter(readers.values()))
    assert [r.weight for r in readers.values()] == ["rnn.weight_ih_l0", "head.weight"] and not skipped
    y = reader.given(net, None, x)
    assert y.shape == (2, 3, 6 * gates) and reader.fits(net, x, reader.positions(y))
    torch.testing.assert_close(rebuilt(net, reader, x, y, torch.arange(6)), reader.outputs(y, torch.arange(6)))


def test_a_recurrent_layer_of_two_directions_is_skipped_with_its_reason() -> None:
    readers, skipped = find_readers(whet.lift(Recurrent(nn.GRU, bidirectional=True), torch.randn(2, 3, 4)))
    assert [r.site for r in readers.values()] == ["head"]
    assert ["two directions" in reason for _, reason in skipped.values()] == [True]


@pytest.mark.parametrize("build", [nn.Conv2d, nn.ConvTranspose2d])
def test_columns_are_those_of_an_atom(build: Callable[..., nn.Module]) -> None:
    x = torch.randn(2, 4, 5, 5)
    net = whet.lift(nn.Sequential(build(4, 3, 3)), x)
    reader = the_reader(net)
    columns = reader.columns(net, torch.tensor([1, 0, 1, 0]))
    assert columns.shape == (2, 18)
    y = net(x * torch.tensor([0.0, 1.0, 0.0, 1.0]).view(1, 4, 1, 1))
    matrix = reader.matrix(net).clone()
    matrix[..., columns[1]] = 0
    reader.assign(net, matrix)
    torch.testing.assert_close(net(x), y, rtol=1e-4, atol=1e-5)
