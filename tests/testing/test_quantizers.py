"""Every quantizer keeps the promises of the suite, and the suite catches each broken one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

import whet
from whet.compress.quantize.expansion import Expansion
from whet.compress.quantize.mixed_bits import MixedBits
from whet.compress.quantize.rounders import NEAREST, ROUNDERS
from whet.compress.quantize.static import StaticQuantization
from whet.compress.quantize.vector_wise import VectorWise
from whet.compress.quantize.weight_only import WeightOnly
from whet.core.net import Net
from whet.core.passes import Pass, Result
from whet.core.run import Run
from whet.core.space import Decision
from whet.hardware import targets
from whet.testing import quantizers
from whet.testing.runs import planning_run

WEIGHTS = [Decision({"network:weights": v}) for v in ("int2", "5 levels", "int3", "int4", "int8")]
SHARED = [Decision({"network:bits": v}) for v in ("5 levels", "int3", "int4")]


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 12, 3, groups=4), nn.ReLU(), nn.Flatten()
    return whet.lift(
        nn.Sequential(*layers, nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 5)).eval(), (torch.randn(2, 2, 6, 6),)
    )


@pytest.fixture(scope="module")
def run(net: Net) -> Run:
    return replace(planning_run(net), target=targets.get("openvino-cpu"))


@pytest.mark.parametrize("rounding", [NEAREST, *(name for name in ROUNDERS if name != "sparse-path-following")])
def test_roundings_conform(net: Net, run: Run, rounding: str) -> None:
    errors = quantizers.check(WeightOnly(rounding=rounding), WEIGHTS, net, run)
    assert errors[0] > 10 * errors[-1]


@pytest.mark.parametrize(
    "item", [WeightOnly(rounding=NEAREST, equalized=True, corrected=True), WeightOnly(calibration="distilled")]
)
def test_ways_without_data_conform(net: Net, run: Run, item: Pass) -> None:
    quantizers.check(item, WEIGHTS[2:], net, run)


def test_products_of_integers_conform(net: Net, run: Run) -> None:
    whole = [Decision({"network:int8": "all"})]
    few = quantizers.check(StaticQuantization(weight_bits=8), whole, net, run)
    assert few[0] > 0
    quantizers.check(VectorWise(), [Decision({"network:vector-wise": "int8"})], net, run)


def test_sums_conform(net: Net, run: Run) -> None:
    forms = [Decision({"network:expansion": f"{f}"}) for f in ("int2 x 2", "int2 x 3", "int4 x 2")]
    quantizers.check(Expansion(), forms, net, run)


@pytest.mark.parametrize("engine", ["perturbation", "orthogonality"])
def test_shared_bits_conform(net: Net, run: Run, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantizers, "HIGH", 0.2)
    quantizers.check(MixedBits(engine=engine), SHARED, net, run)


@dataclass(frozen=True)
class Broken:
    """Weight-only quantization with one promise broken."""

    how: str
    calls: list[int]

    @property
    def traits(self) -> object:
        """Return those of the pass that it breaks."""
        return WeightOnly.traits

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        """Apply the pass and break the promise."""
        self.calls.append(1)
        values = {"rising": {"int8": "int2", "int2": "int8"}, "coarse": dict.fromkeys(("int2", "int8"), "int2")}
        value = str(decision["network:weights"])
        result = WeightOnly(NEAREST and 32, NEAREST).apply(
            net, Decision({"network:weights": values.get(self.how, {}).get(value, value)}), run
        )
        if self.how == "silent":
            return replace(result, changed=result.changed[1:])
        layer = result.net.layer("6")
        if self.how == "drifting":
            layer.get_parameter("weight").data += 1e-3 * len(self.calls)
        if self.how == "other file":
            layer.register_buffer("weight_zero_point", layer.get_buffer("weight_zero_point") + 1)
        return result


@pytest.mark.parametrize(
    "how, message",
    [
        ("rising", "more bits and a larger error"), ("coarse", "at most 0.02 is the identity"),
        ("silent", "says nothing of"), ("drifting", "two different nets"),
        ("other file", "comes out of the file otherwise"),
    ],
)  # fmt: skip
def test_a_broken_promise_is_caught(net: Net, run: Run, how: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        quantizers.check(Broken(how, []), [WEIGHTS[0], WEIGHTS[-1]], net, run)  # type: ignore[arg-type]
