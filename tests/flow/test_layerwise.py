"""Layer by layer: the error that a limit leaves room for is shared out, and files that are small are delivered."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from quick import made

from whet.compress.quantize.static import StaticQuantization
from whet.compress.quantize.weight_only import EACH, NETWORK, WeightOnly
from whet.core.errors import MethodError
from whet.core.passes import OneOf
from whet.core.space import Decision
from whet.core.study import Study, Trial
from whet.flow.folder import recorded
from whet.flow.layerwise import mixables
from whet.flow.mixing import choices_in
from whet.flow.optimize import optimize
from whet.hardware import targets
from whet.hardware.onnx_export import export_onnx
from whet.schedule import settling


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify few mixtures: more only come nearer to the limit."""
    monkeypatch.setattr(settling, "MOST", 2)


def test_for_size_weights_are_stored_in_few_bits_layer_by_layer(tmp_path: Path) -> None:
    net, task = made(width=160, rows=512)
    front = optimize(
        net, task, out=tmp_path / "r", target="onnxruntime-cpu", max_drop="1%", budget="28s", objectives="size",
        passes=("quantize", "weight-only"), training=False,
    )  # fmt: skip
    best, original = front.smallest(), export_onnx(net.eval(), tmp_path / "plain.onnx").stat().st_size
    assert best is not None and best is front.best() and front.met
    assert best.size_bytes < original / 5 and best.drop <= 0.01
    assert f"x{original / best.size_bytes:.2f} smaller than the uncompressed" in front.conclusion
    with_scope = [t for t in trials(tmp_path / "r") if t.decision.get(NETWORK) == EACH]
    assert with_scope and all(len(t.decision) > 1 and t.stage == "full" for t in with_scope)
    assert json.loads((Path(best.delivered) / "manifest.json").read_text())["decision"] == best.decision


def trials(folder: Path) -> list[Trial]:
    import optuna

    loaded = optuna.load_study(study_name="whet", storage=f"sqlite:///{folder / 'study.db'}")
    return [Study._load(None, t) for t in loaded.get_trials()]  # type: ignore[arg-type]


def test_a_limit_of_size_keeps_larger_files_off_the_front(tmp_path: Path) -> None:
    net, task = made(width=160, rows=512)
    plain = export_onnx(net.eval(), tmp_path / "plain.onnx").stat().st_size
    options = {"target": "onnxruntime-cpu", "max_drop": "2%", "training": False, "passes": ("weight-only",)}
    options |= {"budget": "20s", "objectives": "size"}
    front = optimize(net, task, out=tmp_path / "a", max_size=plain / 2, **options)  # type: ignore[arg-type]
    nothing = optimize(net, task, out=tmp_path / "b", max_size="1kB", **options)  # type: ignore[arg-type]
    assert front.members and all(m.size_bytes <= plain / 2 for m in front.members)
    assert not nothing.met and nothing.nearest is not None and "1 kB" in nothing.conclusion
    assert [m.number for m in nothing.members] == [-1]


def test_a_pass_by_name_and_the_pass_itself_are_one_study(tmp_path: Path) -> None:
    net, task = made(width=160, rows=512)
    options = {"target": "onnxruntime-cpu", "budget": "3s", "training": False, "out": tmp_path / "r"}
    optimize(net, task, passes=("quantize", "weight-only"), **options)  # type: ignore[arg-type]
    before = recorded(tmp_path / "r", "prepared")
    optimize(net, task, passes=(StaticQuantization(), WeightOnly()), **options)  # type: ignore[arg-type]
    assert recorded(tmp_path / "r", "prepared") == before, "the second resumes, with the latencies that were measured"


def test_what_does_not_nest_is_not_trained_in_one_supernet(tmp_path: Path) -> None:
    net, task = made(width=160, rows=512)
    with pytest.raises(MethodError, match="Svd cannot be"):
        optimize(net, task, passes=("width", "svd"), elastic=True, out=tmp_path / "r")


def test_each_alternative_has_a_scope_in_which_its_layers_are_told_apart() -> None:
    net, _ = made(width=32)
    target = targets.get("openvino-cpu")
    evaluator: Any = SimpleNamespace(request=SimpleNamespace(net=net, target=target))
    one = OneOf("network:form", (("static", StaticQuantization()), ("stored", WeightOnly())))
    found = mixables(one, 3, evaluator)
    assert [dict(m.scope or {}) for m in found] == [
        {"network:form": "static", "network:int8": "per-layer"}, {"network:form": "stored", NETWORK: EACH},
    ]  # fmt: skip
    layers = list(net.layers())
    for item, kind in zip(found, ("bits", "weights"), strict=True):
        assert item.scope is not None and item.place == 3
        names = [c.name for c in choices_in(one.space(net, target), item.scope)]
        assert names == [f"{site}:{kind}" for site in layers if f"{site}:{kind}" in item.names] and len(names) == 3
    (plain,) = mixables(StaticQuantization(), 0, evaluator)
    assert plain.scope == Decision({"network:int8": "per-layer"}) and plain.place == 0
