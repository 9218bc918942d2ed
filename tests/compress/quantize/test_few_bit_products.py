"""Weights of few bits in products of integers: the bytes of four bits, the kernels of eight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import whet
from whet.compress.quantize.rounding import compensation, input_moments
from whet.compress.quantize.static import NETWORK, StaticQuantization
from whet.core.checks import ValueRangeError
from whet.core.space import Decision
from whet.core.target import Artifact
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.grids import Grid
from whet.hardware import targets
from whet.hardware.executed import executed
from whet.testing.runs import planning_run


def test_weights_of_four_bits_multiply_integers_of_eight(tmp_path: Path) -> None:
    """The file takes the bytes of four bits; once it is open both runtimes have int8 weights in integer kernels."""
    torch.manual_seed(0)
    net = whet.lift(
        nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 48, 3), nn.ReLU(), nn.Conv2d(48, 8, 1)).eval(),
        (torch.randn(4, 3, 12, 12),),
    )
    run, decision = planning_run(net), Decision({NETWORK: "all"})
    eight = StaticQuantization().apply(net, decision, run)
    four = StaticQuantization(weight_bits=4).apply(net, decision, run)
    assert four.texts == dict.fromkeys(four.texts, "int8, weights int4") and four.texts.keys() == eight.texts.keys()
    weight = four.net.layer("2").get_parameter("weight").detach()
    stored = four.net.layer("2")
    assert isinstance(stored, IntegerWeight) and stored.grid == Grid(4)
    rows = net.layer("2").get_parameter("weight").detach().view(1, 48, -1)
    wanted, _ = compensation(rows, input_moments(net, run)[0]["2"], Grid(4))
    assert torch.allclose(weight.flatten(1), wanted[0], atol=1e-6)
    target = targets.get("cpu")
    files = {name: target.save(made.net, tmp_path / name) for name, made in (("eight", eight), ("four", four))}
    sizes = {name: sum(t.ByteSize() for t in onnx.load(path).graph.initializer) for name, path in files.items()}
    assert sizes["four"] < 0.65 * sizes["eight"]
    layers = ["0", "2"]
    for runtime in ("openvino", "onnxruntime"):
        settings = {"runtime": runtime, "precision": "f32", "threads": 1}
        assert {e.precision for e in executed(files["four"], settings, layers).values()} == {"int8"}
        found = target.open(Artifact(files["four"], settings), 4)(*(x.numpy() for x in net.example))
        expected = four.net(*net.example).detach()
        assert np.abs(found - expected.numpy()).max() < 0.05 * float(expected.abs().max())


def test_few_bits_lose_more_than_eight_and_less_than_rounding_to_nearest() -> None:
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).eval(), (torch.randn(64, 64),))
    run, decision = planning_run(net), Decision({NETWORK: "all"})

    def error(item: StaticQuantization) -> float:
        small = item.apply(net, decision, run).net
        with torch.no_grad():
            return float((small(*net.example) - net(*net.example)).square().mean())

    errors = [error(StaticQuantization(weight_bits=bits)) for bits in (8, 4, 3, 2)]
    assert errors == sorted(errors)


def test_bits_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueRangeError, match="weight_bits must be from 2 to 8; got 16"):
        StaticQuantization(weight_bits=16)
