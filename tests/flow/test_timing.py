"""Ratios hold thread counts equal; nets that cost the same are recognised."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import whet
from whet.compress.depth import Depth
from whet.core.errors import TargetError
from whet.core.target import Artifact
from whet.flow import timing
from whet.flow.timing import Timing, cost_signature
from whet.graph.blocks import drop_blocks
from whet.hardware import targets
from whet.hardware.measure import Latency
from whet.networks.resnet import resnet


@pytest.fixture(scope="module")
def net() -> whet.Net:
    return whet.lift(resnet(20).eval(), (torch.randn(2, 3, 32, 32),))


def test_alike_blocks_cost_the_same_and_others_do_not(net: whet.Net) -> None:
    assert Depth().space(net, targets.get("cpu")).choices
    second, third = drop_blocks(net, ["layer1.1"]), drop_blocks(net, ["layer1.2"])
    assert cost_signature(second) == cost_signature(third)
    assert len({cost_signature(n) for n in (net, second, drop_blocks(net, ["layer2.1"]))}) == 3
    other = net.copy()
    for parameter in other.module.parameters():
        parameter.data.normal_()
    assert cost_signature(other) == cost_signature(net)


class Paper:
    """A target on paper: two settings that differ in threads; `missing` names files that it cannot open."""

    name, alignment = "paper", 1

    def __init__(self, missing: str = "") -> None:
        self.missing = missing

    def all_settings(self) -> list[dict[str, Any]]:
        return [{"runtime": "openvino", "precision": "f32", "threads": n} for n in (1, 2)]

    def open(self, artifact: Artifact, batch: int) -> Any:
        if artifact.path.name == self.missing:
            raise TargetError("no kernel")
        return lambda *inputs: None


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second thread helps nobody but the original; the candidate halves the time of one thread."""
    monkeypatch.setattr(timing, "every_setting", lambda device: Paper().all_settings())
    ms = {"bar 1": 8.0, "bar 2": 4.0, "small openvino/f32/1": 4.0, "small openvino/f32/2": 3.0}

    def measure(sessions: dict[str, Any], baseline: str, seconds: float) -> dict[str, Latency]:
        base = ms[baseline]
        return {n: Latency(n, ms[n], base / ms[n], base / ms[n] / 2, base / ms[n] * 2, 5, "p", "d") for n in sessions}

    monkeypatch.setattr(timing, "measure", measure)


LATENCIES_MS = {"openvino/f32/2": 4.0, "openvino/f32/1": 8.0, "inductor/f32/2": 1.0}


@pytest.mark.usefixtures("measured")
def test_ratio_is_the_geometric_mean_over_thread_counts(net: whet.Net) -> None:
    clock = Timing(Paper(), net, Path("original.onnx"), LATENCIES_MS, {})  # type: ignore[arg-type]
    timed = clock({"small": Path("small.onnx")}, seconds=1.0)
    assert math.isclose(timed.latency.ratio, math.sqrt((8 / 4) * (4 / 3)))
    assert math.isclose(timed.latency.ratio_high / timed.latency.ratio_low, 4.0)
    assert timed.settings["threads"] == 2 and timed.how == "small"


@pytest.mark.usefixtures("measured")
def test_a_file_that_no_setting_runs_is_an_error_with_the_reason(net: whet.Net) -> None:
    unfit: dict[str, str] = {}
    clock = Timing(Paper("small.onnx"), net, Path("original.onnx"), LATENCIES_MS, unfit)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match=r"no setting of paper runs small\.onnx.*no kernel"):
        clock({"small": Path("small.onnx")}, seconds=1.0)
    assert set(unfit) == {"small openvino/f32/1", "small openvino/f32/2"}
