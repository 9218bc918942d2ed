from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from written import Function, check, onnx_runtime

GENERATOR = torch.Generator().manual_seed(0)
STEPS = torch.randn(2, 4, 6, generator=GENERATOR)
HEADS = torch.randn(2, 2, 5, 4, generator=GENERATOR)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], ends: bool = False, **options: Any) -> None:
        super().__init__()
        self.cells = kind(6, 5, batch_first=True, **options)
        self.ends = ends

    def forward(self, x: Tensor) -> Tensor:
        y, state = self.cells(x)
        last = state[0] + state[1] if isinstance(state, tuple) else state
        return last.transpose(0, 1) if self.ends else y


OPTIONS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "two layers": {"num_layers": 2},
    "both ways": {"bidirectional": True},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
    "no bias": {"bias": False},
    "its last state": {"num_layers": 2, "bidirectional": True, "ends": True},
}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("name", OPTIONS)
def test_recurrent_layers(kind: type[nn.RNNBase], name: str) -> None:
    check(Recurrent(kind, **OPTIONS[name]), STEPS, [onnx_runtime])


def test_a_rectified_recurrent_layer() -> None:
    check(Recurrent(nn.RNN, nonlinearity="relu", bidirectional=True), STEPS)


def masked(x: Tensor) -> Tensor:
    mask = torch.ones(5, 5, dtype=torch.bool).triu(-1)
    return functional.scaled_dot_product_attention(x, x, x, attn_mask=mask)


ATTENTION = {
    "plain": lambda x: functional.scaled_dot_product_attention(x, x + 1, 2 * x),
    "causal": lambda x: functional.scaled_dot_product_attention(x, x, x, is_causal=True),
    "masked": masked,
    "biased and scaled": lambda x: functional.scaled_dot_product_attention(
        x, x, x, attn_mask=torch.linspace(-1, 1, 25).view(5, 5), scale=0.3
    ),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name: str) -> None:
    check(Function(ATTENTION[name]), HEADS)


def test_products() -> None:
    check(Function(lambda x: x @ x.transpose(-1, -2) + torch.einsum("bhij,bhkj->bhik", x, x)), HEADS)
    check(Function(lambda x: torch.bmm(x.flatten(0, 1), x.flatten(0, 1).mT).view(-1, 2, 25)), HEADS)


@pytest.mark.parametrize("rank", [2, 3])
def test_linear_layers(rank: int) -> None:
    x = STEPS if rank == 3 else STEPS[:, 0]
    for bias in (True, False):
        check(nn.Sequential(nn.Linear(6, 9, bias=bias), nn.ReLU(), nn.Linear(9, 3)), x)


def test_a_weight_that_two_layers_share_is_stored_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
            self.second.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x).relu())

    model = check(Tied(), STEPS[:, 0])
    assert sum(list(t.dims) == [6, 6] for t in model.graph.initializer) == 1
