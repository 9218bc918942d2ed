"""Rounding for attention: the Hessians are those of what attention makes of errors, and the solver is that of both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import whet
from whet.compress.quantize.attention_aware import across_heads, error, head_hessians
from whet.compress.quantize.rounding import compensated, weighted_scale
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.net import Net
from whet.core.run import Run
from whet.core.space import Decision
from whet.graph.grids import Grid
from whet.graph.zeros import hold
from whet.testing.networks import Attention
from whet.testing.runs import planning_run

WIDTH, HEADS, PLACES = 16, 4, 6
FEATURES = WIDTH // HEADS


class Seen(nn.Module):
    """Attention, and what its heads make of their inputs."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.attention, self.causal = Attention(WIDTH, HEADS), causal

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.attention(x, causal=self.causal)
        return y

    def heads(self, name: str, x: Tensor) -> Tensor:
        found: Tensor = self.attention.get_submodule(name)(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        return found

    def products(self, x: Tensor, head: int) -> Tensor:
        """Return q k of each pair of places of a head: (N, places, places)."""
        return (self.heads("query", x) @ self.heads("key", x).mT)[:, head]

    def given(self, x: Tensor, head: int) -> Tensor:
        """Return what one head gives to the output: (N, places, width)."""
        q, k, v = (self.heads(name, x) for name in ("query", "key", "value"))
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)[:, head]
        return seen @ self.attention.out.weight[:, FEATURES * head : FEATURES * (head + 1)].mT


def case(samples: int, causal: bool = False) -> tuple[Seen, Net, Run, Tensor]:
    """Return attention, lifted, with a run whose calibration data are so many samples."""
    torch.manual_seed(0)
    module, x = Seen(causal).eval(), torch.randn(samples, PLACES, WIDTH) @ torch.randn(WIDTH, WIDTH)
    net = whet.lift(module, (torch.randn(2, PLACES, WIDTH),))
    run = planning_run(net)
    data = [((x,), torch.zeros(samples, dtype=torch.long))]
    return module, net, replace(run, task=replace(run.task, calibration=data, train=None)), x


@torch.no_grad()
def made_of(module: Seen, name: str, head: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a change of a head's weight, and the mean squared change a place of what attention makes of it."""
    look = module.given if name == "value" else module.products
    before, weight = look(x, head), module.attention.get_submodule(name).get_parameter("weight")
    change = torch.randn(FEATURES, WIDTH)
    weight[FEATURES * head : FEATURES * (head + 1)] += change
    after = look(x, head)
    weight[FEATURES * head : FEATURES * (head + 1)] -= change
    return change, (after - before).square().sum() / (len(x) * PLACES)


@pytest.mark.parametrize("name", ["query", "key"])
def test_of_one_sample_the_hessian_is_that_of_the_products_of_queries_and_keys(name: str) -> None:
    module, net, run, x = case(samples=1)
    (heads,) = head_hessians(net, run)[f"attention.{name}"]
    for head in range(HEADS):
        change, lost = made_of(module, name, head, x)
        told = error(change[None], torch.zeros(1, FEATURES, WIDTH), heads.inputs[[head]], heads.outputs[[head]])
        assert told.item() == pytest.approx(lost.item(), rel=1e-4)


@pytest.mark.parametrize("causal", [False, True])
def test_of_values_it_is_that_of_what_a_head_gives(causal: bool) -> None:
    module, net, run, x = case(samples=20, causal=causal)
    (heads,) = head_hessians(net, run)["attention.value"]
    for head in range(HEADS):
        change, lost = made_of(module, "value", head, x)
        told = error(change[None], torch.zeros(1, FEATURES, WIDTH), heads.inputs[[head]], heads.outputs[[head]])
        assert told.item() / (len(x) * PLACES) == pytest.approx(lost.item(), rel=1e-4)


def problem(heads: int = 2, f: int = 3, d: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    x, y = torch.randn(heads, 40, d).double() + 1, torch.randn(heads, 40, f).double() + 1
    return torch.randn(heads, f, d), x.mT @ x / 40, y.mT @ y / 40


def test_it_is_rounding_by_second_moments_with_the_product_of_both_hessians() -> None:
    """The diagonals fall so fast along outputs that the weights of one come before those of the next in both."""
    weight, inputs, outputs = problem()
    fall = torch.tensor([1.0, 1e-2, 1e-4], dtype=torch.float64)
    outputs = outputs * fall.view(-1, 1) * fall
    found, scale = across_heads(weight, inputs, outputs, Grid(3), damping=1e-9)
    for head in range(2):
        whole = torch.kron(outputs[head], inputs[head])[None]
        row = weight[head].reshape(1, 1, -1)
        steps = scale.view(2, 3)[head]
        wanted = compensated(row, whole, Grid(3, group=5), steps, damping=1e-12)
        assert torch.allclose(found[head].flatten(), wanted.flatten(), atol=1e-6)


def test_outputs_that_count_alike_are_rounded_apart() -> None:
    weight, inputs, _ = problem()
    found, scale = across_heads(weight, inputs, torch.eye(3).double().expand(2, -1, -1), Grid(3))
    assert torch.equal(scale, weighted_scale(weight, inputs, Grid(3)))
    assert torch.allclose(found, compensated(weight, inputs, Grid(3), scale), atol=1e-6)


@torch.no_grad()
def test_attention_loses_less_than_with_layers_alone() -> None:
    lost = {}
    for rounding in ("compensated", "attention-aware"):
        module, net, run, x = case(samples=64)
        small = WeightOnly(rounding=rounding).apply(net, Decision({NETWORK: "int3"}), run)
        lost[rounding] = 0.0
        for head in range(HEADS):
            before = module.products(x, head)
            q, k = (small.net.eval().layer(f"attention.{name}")(x) for name in ("query", "key"))
            at = slice(FEATURES * head, FEATURES * (head + 1))
            lost[rounding] += float((q[..., at] @ k[..., at].mT - before).square().sum())
    assert {n: t.partition(", ")[2] for n, t in small.texts.items()} == {
        "attention.query": "for attention", "attention.key": "for attention", "attention.value": "for attention",
        "attention.out": "",
    }  # fmt: skip
    assert lost["attention-aware"] < 0.9 * lost["compensated"]


def test_zeros_that_are_held_stay_zero() -> None:
    weight, inputs, outputs = problem()
    held = torch.zeros_like(weight, dtype=torch.bool)
    held[..., ::2] = True
    found, _ = across_heads(weight, inputs, outputs, Grid(3), held)
    assert (found[held] == 0).all() and (found[~held] != 0).any()
    _, net, run, _ = case(samples=4)
    query = net.layer("attention.query")
    query.get_parameter("weight").data[:, ::2] = 0.0
    hold(query)
    small = WeightOnly(rounding="attention-aware").apply(net, Decision({NETWORK: "int3"}), run)
    assert (small.net.layer("attention.query").get_parameter("weight")[:, ::2] == 0).all()
