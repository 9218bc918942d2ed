from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_page as page
import pytest
import torch
from export_cases import (
    ARCHITECTURES,
    NOT_WRITTEN,
    WITH_FREE_LENGTH,
    WRITTEN,
    by_graph,
    by_trace,
    difference,
    lifted,
    read,
    source,
)
from torch import nn

import whet
from whet.compress.depth import Depth
from whet.compress.quantize.static import StaticQuantization
from whet.compress.width import Width
from whet.core.passes import Chain
from whet.core.space import Decision
from whet.graph.axes import analyze
from whet.hardware.onnx_export import export_onnx
from whet.testing.runs import AlignedTarget, planning_run

LAYERED = (nn.Conv2d, nn.Linear, nn.Embedding, nn.LayerNorm)


@pytest.mark.slow
@pytest.mark.parametrize(("write", "name"), [case for case in WRITTEN if case not in NOT_WRITTEN])
def test_a_file_by_torch_is_the_network_it_was_written_from(write: Any, name: str) -> None:
    (module, example, share), net = source(name), read(write, name)
    assert difference(net, module, example) <= 1e-5
    assert net.name == "model"
    assert analyze(net).cuttable_share == pytest.approx(share, abs=0.01)


def test_the_docs_have_a_row_for_every_network() -> None:
    rows = page.written("exports").splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == list(ARCHITECTURES), "run: export_cases.py"
    assert not any("differs" in row for row in rows)


@pytest.mark.parametrize(("write", "name"), {reason: case for case, reason in NOT_WRITTEN.items()}.values())
def test_what_torch_does_not_write_it_still_does_not(write: Any, name: str, tmp_path: Path) -> None:
    module, example, _ = lifted(name)
    with pytest.raises((RuntimeError, torch.onnx.errors.OnnxExporterError)):
        write(module, example, tmp_path / "model.onnx")


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2", "ds_cnn", "mlp"])
def test_a_fixed_batch_is_freed(name: str, tmp_path: Path) -> None:
    module, example, _ = lifted(name)
    one = tuple(x[:1] for x in example)
    net = whet.lift(by_trace(module, one, tmp_path / "one.onnx", {}))
    assert difference(net, module, example) <= 1e-5


@pytest.mark.parametrize(
    ("write", "name", "axis"), [*((by_graph, name, 1) for name in WITH_FREE_LENGTH), (by_trace, "ds_cnn", 3)]
)
def test_other_axes_that_the_file_leaves_free_stay_free(write: Any, name: str, axis: int, tmp_path: Path) -> None:
    module, example, share = source(name)
    net = whet.lift(write(module, example, tmp_path / "free.onnx", {0: "batch", axis: "length"}), example)
    shorter = tuple(x.narrow(axis, 0, x.shape[axis] - 3) for x in example)
    assert difference(net, module, example) <= 1e-5 and difference(net, module, shorter) <= 1e-5
    assert analyze(net).cuttable_share == pytest.approx(share, abs=0.01)
    assert export_onnx(net, tmp_path / "again.onnx").exists()


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2", "mlp", "encoder"])
def test_layers_keep_their_names(name: str) -> None:
    original, net = lifted(name)[2], read(by_trace, name)
    wanted = {n for n, layer in original.layers().items() if isinstance(layer, LAYERED)}
    found = {n for n, layer in net.layers().items() if isinstance(layer, LAYERED)}
    assert found == wanted


@pytest.mark.parametrize("name", ["resnet20", "lstm", "encoder"])
def test_what_was_read_trains(name: str) -> None:
    (module, example, _), net = lifted(name), read(by_trace, name).copy()
    net.train()
    net(*example).square().mean().backward()
    parameters = dict(net.module.named_parameters())
    assert parameters and all(p.grad is not None for p in parameters.values())
    trained = sum(p.numel() for p in module.parameters())
    assert sum(p.numel() for p in parameters.values()) == pytest.approx(trained, rel=0.02)


@pytest.mark.parametrize("name", ["resnet20", "encoder"])
def test_passes_treat_it_as_they_treat_its_source(name: str) -> None:
    _, example, own = lifted(name)
    chain, small = Chain((Depth(), Width(), StaticQuantization())), []
    nets = [own, read(by_graph, name)]
    spaces = [chain.space(net, AlignedTarget(4)) for net in nets]  # type: ignore[arg-type]
    assert [(c.name, c.values) for c in spaces[0]] == [(c.name, c.values) for c in spaces[1]]
    depth = next(c.name for c in spaces[0] if c.name.endswith(":keep"))
    widths = {c.name: 0.5 for c in spaces[0] if c.name.endswith(":width")}
    for net in nets:
        result = chain.apply(net, Decision({depth: False, "network:int8": "all", **widths}), planning_run(net, 4))
        small.append(result)
        assert torch.isfinite(result.net(*example)).all()
    assert small[1].texts.keys() == small[0].texts.keys() and small[1].skipped == small[0].skipped
    counts = [result.net.parameter_count for result in small]
    assert counts[1] < 0.5 * nets[1].parameter_count and counts[1] == pytest.approx(counts[0], rel=0.03)


@pytest.mark.parametrize("name", ["resnet20", "mlp", "encoder"])
def test_written_and_read_again_it_is_the_same(name: str, tmp_path: Path) -> None:
    module, example, own = lifted(name)
    first = export_onnx(own, tmp_path / "first.onnx")
    net = whet.lift(first)
    assert difference(net, module, example) <= 1e-4
    again = whet.lift(export_onnx(net, tmp_path / "again.onnx"))
    assert difference(again, module, example) <= 1e-4
