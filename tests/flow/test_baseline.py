"""The uncompressed network as what candidates have to beat."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from quick import latency, made

from whet.core.target import Artifact
from whet.flow import baseline as module
from whet.flow.baseline import Baseline, original_of, uncompressed
from whet.flow.original import Original
from whet.flow.quantities import Limit
from whet.flow.stopwatch import Stopwatch

SETTINGS = [{"runtime": "openvino", "precision": p, "threads": t} for p in ("bf16", "f32") for t in (1, 2)]
TIMES = {"openvino/bf16/1": 3.0, "openvino/bf16/2": 1.0, "openvino/f32/1": 8.0, "openvino/f32/2": 5.0}


def test_the_fastest_of_the_bars_has_to_be_beaten_and_f32_is_what_quality_is_held_against(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x" * 70)
    (tmp_path / "model.data").write_bytes(b"x" * 30)
    original = Original(path, TIMES, {"openvino/bf16": 0.8, "openvino/f32": 0.9}, "openvino/f32", {"inductor": "no"})
    every, f32 = Baseline(original, list(SETTINGS)), Baseline(original, SETTINGS[2:])
    assert (every.bar, f32.bar) == ("openvino/bf16/2", "openvino/f32/2")
    assert every.artifact == Artifact(path, SETTINGS[1])
    assert every.reference_artifact == Artifact(path, SETTINGS[2]) and every.reference == 0.9
    every.memory_bytes = 5
    assert (every.figures.speedup, every.figures.size_bytes, every.figures.memory_bytes) == (1.0, 100, 5)
    every.unfit["openvino/bf16/1"] = "too slow"
    assert original.unfit == {"inductor": "no"}, "what a search finds unfit is not the original's"


class Memory:
    """A study's memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.recall, self.remember = self.kept.get, self.kept.__setitem__


@pytest.mark.parametrize(("budget", "seconds"), [(10.0, 0.5), (1e4, module.BASELINE_SECONDS)])
def test_it_is_timed_for_a_share_of_the_budget_and_scored_once_in_a_study(
    budget: float, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = min(seconds, module.BASELINE_SECONDS)
    asked: list[float] = []

    def timed(net: Any, target: Any, folder: Path, inputs: Any, seconds: float) -> Any:
        asked.append(seconds)
        folder.mkdir(exist_ok=True)
        (folder / "model.onnx").touch()
        return SimpleNamespace(latencies={n: latency(n, 1 / ms) for n, ms in TIMES.items()}, unfit={})

    monkeypatch.setattr(module, "baselines", timed)
    found, study, claimed, clock = request(tmp_path, budget), Memory(), list[Path](), Stopwatch()
    first = original_of(found, study, lambda artifact: 0.9, claimed.append, clock)  # type: ignore[arg-type]
    assert asked == [pytest.approx(seconds)] and claimed == [tmp_path / "uncompressed"] and "save" in clock.lasted
    assert first.latency_ms == pytest.approx(TIMES) and first.path == uncompressed(found)
    again = original_of(found, study, lambda artifact: 0.1, claimed.append, clock)  # type: ignore[arg-type]
    assert again == first and len(asked) == 1
    first.path.unlink()
    original_of(found, study, lambda artifact: 0.9, claimed.append, clock)  # type: ignore[arg-type]
    assert len(asked) == 2, "a file that is gone is written again"


def request(out: Path, budget: float = 60.0, **more: Any) -> Any:
    net, task = made()
    target = SimpleNamespace(name="paper", all_settings=lambda: SETTINGS)
    given = {"limit": None, "max_drop": None, **more}
    return SimpleNamespace(net=net, task=task, target=target, out=out, budget_seconds=budget, batch=1, **given)


@pytest.mark.parametrize(("percent", "scored"), [(5.0, ["f32", "bf16", "onnxruntime"]), (20.0, ["f32", "bf16"])])
def test_the_limit_is_read_on_the_scale_of_the_original(
    percent: float, scored: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bf16 loses 10 of 90 points; where that is within the limit, no slower runtime can be the bar."""
    given = request(tmp_path, limit=Limit(percent, "%"))
    given.target.all_settings = lambda: [*SETTINGS, {**SETTINGS[2], "runtime": "onnxruntime"}]
    times = {"openvino/bf16/2": 1.0, "onnxruntime/f32/1": 2.0, "openvino/f32/2": 5.0}
    latencies = {name: latency(name, 1 / ms) for name, ms in times.items()}
    monkeypatch.setattr(module, "baselines", lambda *given, **options: SimpleNamespace(latencies=latencies, unfit={}))
    seen: list[str] = []

    def score(artifact: Artifact) -> float:
        runtime, precision = artifact.settings["runtime"], artifact.settings["precision"]
        seen.append(precision if runtime == "openvino" else runtime)
        return 80.0 if precision == "bf16" else 90.0

    original_of(given, Memory(), score, lambda path: None, Stopwatch())  # type: ignore[arg-type]
    assert seen == scored
