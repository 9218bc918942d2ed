"""Heads are found by where the numbers of a layer's outputs go, in one layer for all three or in three of their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import whet
from whet.compress.quantize.heads import Attention, find_attention
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.space import Decision
from whet.graph.fake_quantize import IntegerWeight
from whet.networks.transformer import Decoder
from whet.testing.networks import Transformer
from whet.testing.runs import planning_run


def found(module: nn.Module, *example: Tensor) -> list[Attention]:
    net = whet.lift(module.eval(), example)
    return find_attention(net, tuple(x[:1] for x in net.example))


def features(call: Attention) -> list[Tensor]:
    """Return which features of which layer each part is, in the order of the fields."""
    return [part.features for part in (call.query, call.key, call.value, call.out) if part is not None]


def test_one_layer_gives_queries_keys_and_values() -> None:
    (call,) = found(Decoder(20, 8, 24, 3, 1), torch.randint(0, 20, (2, 8)))
    parts = (call.query, call.key, call.value)
    assert [part.reader.site for part in parts if part is not None] == ["blocks.0.attention.qkv"] * 3
    *given, read = features(call)
    assert torch.equal(torch.stack(given), torch.arange(72).view(3, 3, 8))
    assert torch.equal(read, torch.arange(24).view(3, 8))


def test_three_layers_give_them_in_every_block_and_in_cross_attention() -> None:
    memory = torch.randn(2, 9, 32)
    calls = found(Transformer(decoder=True, layers=2), torch.randint(0, 50, (2, 12)), memory)
    sites = [part.reader.site for call in calls for part in (call.query, call.key, call.value, call.out) if part]
    names = [f"{kind}.{part}" for kind in ("attention", "cross") for part in ("query", "key", "value", "out")]
    assert sites == [f"layers.{i}.{name}" for i in range(2) for name in names]
    assert all(torch.equal(each, torch.arange(32).view(4, 8)) for call in calls for each in features(call))


class Written(nn.Module):
    """Attention whose heads lie across the features, with what `change` makes of queries."""

    def __init__(self, change: str) -> None:
        super().__init__()
        self.query, self.both, self.out = nn.Linear(12, 12), nn.Linear(12, 24), nn.Linear(12, 12)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        q = self.query(x)
        q = q.relu() if self.change == "relu" else q
        q = q.unflatten(-1, (4, 3)).permute(0, 3, 1, 2)  # feature 3 f + h is head h's
        k, v = (t.unflatten(-1, (4, 3)).permute(0, 3, 1, 2) for t in self.both(x).split(12, -1))
        y = F.scaled_dot_product_attention(q, k, v).permute(0, 2, 3, 1).flatten(2)
        y = y + x if self.change == "sum" else y
        return self.out(y)  # type: ignore[no-any-return]


def test_heads_that_lie_across_features_are_told_apart() -> None:
    (call,) = found(Written(""), torch.randn(2, 5, 12))
    q, k, v, read = features(call)
    assert q.tolist() == read.tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    assert torch.equal(k, q) and torch.equal(v, q + 12)


@pytest.mark.parametrize(("change", "lost"), [("relu", "query"), ("sum", "out")])
def test_what_is_computed_on_the_way_is_no_head_s(change: str, lost: str) -> None:
    (call,) = found(Written(change), torch.randn(2, 5, 12))
    assert {name for name in ("query", "key", "value", "out") if getattr(call, name) is None} == {lost}


def test_the_layer_of_all_three_is_stored_as_it_was_rounded() -> None:
    torch.manual_seed(0)
    net = whet.lift(Decoder(20, 8, 24, 3, 1).eval(), (torch.randint(0, 20, (2, 8)),))
    result = WeightOnly(rounding="attention-aware").apply(net, Decision({NETWORK: "int4"}), planning_run(net))
    layer = result.net.layer("blocks.0.attention.qkv")
    assert isinstance(layer, IntegerWeight) and result.texts["blocks.0.attention.qkv"] == "int4, for attention"
    weight = layer.get_parameter("weight").detach()  # type: ignore[attr-defined]
    assert torch.allclose(layer.integer_weight(weight), weight, atol=1e-6)
