"""Every quantizer of the catalogue keeps the promises of `whet.testing.quantizers`, at each of its bit widths."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import whet
from whet.catalogue import METHODS
from whet.compress.quantize import (
    dynamic,
    expansion,
    few_bit_inputs,
    mixed_bits,
    safety_guided,
    static,
    vector_wise,
    weight_only,
)
from whet.compress.quantize.allocation import ENGINES
from whet.compress.quantize.rounders import NEAREST, ROUNDERS
from whet.core.net import Net
from whet.core.passes import Pass
from whet.core.space import Decision
from whet.testing.networks import ResidualNet
from whet.testing.quantizers import Form, check
from whet.testing.runs import planning_run

IMAGES, VECTORS = "images", "vectors"
GRIDS = {"int2": 2, "5 levels": 2.3, "int3": 3, "int4": 4, "int4 in groups of 32": 4, "int8": 8}


class Residual(nn.Module):
    """Linear layers alone, two of them within a block that can be dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(24, 64), nn.Linear(64, 10)
        self.up, self.down = nn.Linear(64, 128), nn.Linear(128, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).relu()
        return torch.as_tensor(self.last(x + self.down(self.up(x).relu())))


def stored(item: Pass, *names: str, choice: str = weight_only.NETWORK) -> list[Form]:
    return [Form(GRIDS[name], item, Decision({choice: name})) for name in names]


def of_eight(item: Pass, choice: str, value: str) -> list[Form]:
    return [Form(8, item, Decision({choice: value}))]


FEW = ("int2", "int3", "int4", "int8")
STATIC = [Form(b, static.StaticQuantization(weight_bits=b), Decision({static.NETWORK: "all"})) for b in (3, 4, 8)]
GROUPED = [
    Form(b, static.StaticQuantization(weight_bits=b, group=8), Decision({static.NETWORK: "all"})) for b in (3, 4)
]
POINTS = [
    Form(math.log2(n), static.StaticQuantization(points=n), Decision({static.NETWORK: "all"})) for n in (3, 7, 15)
]
BY_POWER = [
    Form(math.log2(n), static.StaticQuantization(points=n, spaced="by-power"), Decision({static.NETWORK: "all"}))
    for n in (3, 7, 15)
]
ASYMMETRIC = [Form(f.bits, f.item, Decision({static.NETWORK: "asymmetric"})) for f in STATIC]
SIMULATED = [
    Form(b, few_bit_inputs.FewBitInputs(b, b, b), Decision({few_bit_inputs.NETWORK: "simulated"}), b < 8)
    for b in (2, 3, 4, 8)
]
EXPANDED = {name: terms * math.log2(2 * grid.most) for name, (grid, terms) in expansion.Expansion().forms().items()}
"""Each term divides what is left by twice the largest integer."""
FORMS: dict[str, tuple[str, list[Form]]] = {
    "quantize.static": (IMAGES, STATIC),
    "quantize.static asymmetric": (IMAGES, ASYMMETRIC),
    "quantize.static in groups": (IMAGES, GROUPED),
    "quantize.static of points": (IMAGES, POINTS),
    "quantize.static of points by a power": (IMAGES, BY_POWER),
    "quantize.dynamic": (VECTORS, of_eight(dynamic.DynamicQuantization(), dynamic.NETWORK, dynamic.ALL)),
    "quantize.vector-wise": (VECTORS, of_eight(vector_wise.VectorWise(), vector_wise.NETWORK, vector_wise.INT8)),
    "quantize.few-bit-inputs": (IMAGES, SIMULATED),
    "quantize.expansion": (
        IMAGES,
        [Form(EXPANDED[n], expansion.Expansion(), Decision({expansion.NETWORK: n})) for n in ("int2 x 2", "int4 x 2")],
    ),
    "quantize.safety-guided": (
        VECTORS,
        [
            Form(b, safety_guided.SafetyGuided(), Decision({safety_guided.NETWORK: v}))
            for b, v in ((4.5, 0.2), (6, 0.05))
        ],
    ),
    **{
        f"quantize.weight-only {name}": (IMAGES, stored(weight_only.WeightOnly(rounding=name), *FEW))
        for name in (NEAREST, *ROUNDERS)
    },
    **{
        f"quantize.mixed-bits {name}": (
            VECTORS, stored(mixed_bits.MixedBits(name), "5 levels", "int3", "int4", choice=mixed_bits.BITS)
        )
        for name in ENGINES
    },
}  # fmt: skip


def net_of(kind: str) -> Net:
    torch.manual_seed(0)
    if kind == VECTORS:
        return whet.lift(Residual().eval(), (torch.randn(2, 24),))
    return whet.lift(ResidualNet(1, 8).eval(), (torch.randn(2, 3, 8, 8),))


@pytest.mark.parametrize("name", FORMS)
def test_conforms(name: str, tmp_path: Path) -> None:
    kind, forms = FORMS[name]
    net = net_of(kind)
    assert len(check(forms, net, planning_run(net), tmp_path)) == len(forms)


def test_every_quantizer_of_the_catalogue_is_checked() -> None:
    rows = {m.name for m in METHODS if m.family == "pass" and m.name.startswith("quantize.")}
    assert {name.partition(" ")[0] for name in FORMS} == rows
