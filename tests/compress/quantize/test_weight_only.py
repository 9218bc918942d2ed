"""Weights as integers: what is stored, in which runtimes it runs, and what is left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from shared_nets import shared_net
from torch import nn

import whet
from whet.compress.quantize.static import StaticQuantization
from whet.compress.quantize.weight_only import EACH, NETWORK, WeightOnly
from whet.core.passes import Chain
from whet.core.space import Decision
from whet.core.target import Artifact
from whet.graph.fake_quantize import IntegerWeight, QuantizedEmbedding
from whet.hardware import targets
from whet.testing.passes import check
from whet.testing.runs import AlignedTarget, planning_run

TARGET = AlignedTarget()
KINDS = ("int8", "int4 in groups of 32", "int4")


@pytest.mark.parametrize("name", ["resnet20", "encoder", "mobilenet"])
def test_conforms(name: str) -> None:
    net = shared_net(name)
    assert len(check(WeightOnly(), net, TARGET, planning_run(net), count=3)) > 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["resnet20", "encoder"])
def test_a_file_holds_the_integers_and_gives_the_networks_outputs_in_every_runtime(
    name: str, kind: str, tmp_path: Path
) -> None:
    net = shared_net(name)
    small = WeightOnly().apply(net, Decision({NETWORK: kind}), planning_run(net)).net.eval()
    target = targets.get("cpu")
    plain, path = target.save(net.eval(), tmp_path / "plain"), target.save(small, tmp_path / "small")
    sizes = [Artifact(p, {}).size_bytes for p in (plain, path)]
    weights = sum(m.weight.numel() for m in small.layers().values() if isinstance(m, IntegerWeight))  # type: ignore[misc,arg-type]
    saved = {"int8": 3.0, "int4 in groups of 32": 3.35, "int4": 3.45}[kind]  # of the four bytes of a float
    assert sizes[0] - sizes[1] > 0.9 * saved * weights
    expected = small(*net.example)
    for settings in target.all_settings():
        if settings["precision"] == "f32":
            session = target.open(Artifact(path, settings), len(net.example[0]))
            found = session(*(x.numpy() for x in net.example))
            wanted = expected.detach().numpy()  # OpenVINO rounds what layers of compressed weights read
            np.testing.assert_allclose(found, wanted, atol=0.015 * float(np.abs(wanted).max()))


def test_four_bits_are_stored_as_four_bits(tmp_path: Path) -> None:
    net = whet.lift(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 7)).eval(), (torch.randn(2, 64),))
    small = WeightOnly().apply(net, Decision({NETWORK: "int4"}), planning_run(net)).net
    path = targets.get("onnxruntime-cpu").save(small.eval(), tmp_path)
    kinds = {t.name: t.data_type for t in onnx.load(path).graph.initializer}
    assert [n for n, kind in kinds.items() if kind == onnx.TensorProto.INT4] == ["0.weight.int4", "2.weight.int4"]
    assert not [n for n, kind in kinds.items() if kind == onnx.TensorProto.FLOAT and n.endswith("weight")]


def test_each_layer_has_what_was_decided_for_it() -> None:
    net = whet.lift(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 33), nn.Linear(33, 7)).eval(),
                    (torch.randn(2, 64),))  # fmt: skip
    decision = Decision({NETWORK: EACH, "0:weights": "int4 in groups of 32", "3:weights": "int4 in groups of 32"})
    result = WeightOnly().apply(net, decision.merge({"gone:weights": "int8"}), planning_run(net))
    grids = {n: m.grid.name for n, m in result.net.layers().items() if isinstance(m, IntegerWeight)}
    assert grids == {"0": "int4 in groups of 32", "3": "int4 in groups of 32"}
    assert result.texts["0"] == "int4 in groups of 32" and "32 do not divide" in result.texts["3"]
    assert {c.kind for c in result.changed} == {"int4 weights"} and "gone" in result.skipped


def test_layers_on_a_grid_already_keep_it() -> None:
    net = shared_net("resnet20")
    chain, run = Chain((StaticQuantization(), WeightOnly())), planning_run(net)
    result = chain.apply(net, Decision({"network:int8": "all", NETWORK: "int4"}), run)
    grids = {m.grid.bits for m in result.net.layers().values() if isinstance(m, IntegerWeight)}
    assert grids == {8} and "already" in result.skipped["fc"]


def test_a_large_embedding_has_int8_rows() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.out = nn.Embedding(2000, 64), nn.Linear(64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.out(self.table(x).mean(1))
            return y

    net = whet.lift(Words().eval(), (torch.randint(0, 2000, (2, 5)),))
    result = WeightOnly().apply(net, Decision({NETWORK: "int4"}), planning_run(net))
    assert isinstance(result.net.layer("table"), QuantizedEmbedding)
    assert result.texts["table"].startswith("int8 rows") and result.texts["out"] == "int4"


def test_offered_is_what_every_runtime_of_the_target_loads() -> None:
    net = whet.lift(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 7)).eval(), (torch.randn(2, 64),))

    class Few(AlignedTarget):
        def kernels(self) -> tuple[str, ...]:
            return ("int8",)

    class None_(AlignedTarget):
        def kernels(self) -> tuple[str, ...]:
            return ()

    values = {c.name: c.values for c in WeightOnly().space(net, Few())}
    assert values[NETWORK] == ("float", "int8", "int3", "5 levels", "int2", EACH)
    assert not len(WeightOnly().space(net, None_())) and not WeightOnly().obvious(net, None_())
    assert targets.get("cpu").kernels() == ("int8", "int4") and targets.get("inductor-cpu").kernels() == ()


def test_what_anyone_would_try_begins_with_the_fewest_bytes() -> None:
    net = whet.lift(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 7)).eval(), (torch.randn(2, 64),))
    assert [d[NETWORK] for d in WeightOnly().obvious(net, TARGET)] == ["int4", "int4 in groups of 32", "int8"]
    assert [d[NETWORK] for d in WeightOnly().pressed(net, TARGET)] == ["int3", "5 levels", "int2"]
    assert replace(WeightOnly(), group=16).obvious(net, TARGET)[1][NETWORK] == "int4 in groups of 16"
