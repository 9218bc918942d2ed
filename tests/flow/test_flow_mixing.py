"""Layers are found with what goes between them, timed in the runtime, and mixtures of formats raced."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import torch
from quick import latency, made, untimed
from torch import Tensor, nn

import whet
from whet.core.space import Choice
from whet.flow import mixing
from whet.flow.folder import recorded
from whet.flow.mixing import borders
from whet.flow.optimize import optimize
from whet.flow.timing import Timed, Timing
from whet.schedule.mixing import PROFILE


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        y: Tensor = self.c(x + self.b(x))
        return y


def test_borders_count_what_goes_from_one_layer_to_another() -> None:
    net = whet.lift(Residual().eval(), torch.zeros(2, 3, 8, 8))
    choices = [Choice(f"{site}:bits", (8, 32), 32) for site in "abc"]
    assert borders(net, choices) == {("a", "b"): 64.0, ("a", "c"): 64.0, ("b", "c"): 64.0}
    assert borders(net, [choices[0], choices[2]]) == {("a", "c"): 64.0}


def test_a_mixture_that_wins_its_race_is_verified_and_shown(tmp_path: Path) -> None:
    net, task = made(width=32)
    sites, timed = list(net.layers()), list[list[str]]()
    middle = sites[2]

    def times(files: Mapping[str, Path], settings: Any, layers: Any, inputs: Any, **options: Any) -> Any:
        """The layer in the middle is slower in integers; borders cost nothing."""
        timed.append(list(files))
        whole = {"0": dict.fromkeys(layers, 2.0), "1": {s: 3.0 if s == middle else 1.0 for s in layers}}
        return {how: whole[how] for how in files}

    def each(self: Timing, files: Mapping[str, Path], seconds: float) -> dict[str, list[Timed]]:
        """Of the files in the order in which they were written, the third, the mixture, is the fastest."""
        ratios = {how: {"0": 1.0, "1": 1.1, "2": 1.2}.get(path.parent.name, 0.9) for how, path in files.items()}
        return {how: [Timed(how, latency(how, ratio), self.settings[0])] for how, ratio in ratios.items()}

    with untimed(speedup=1.2) as patch:
        patch.setattr(mixing, "layer_times", times)
        patch.setattr(Timing, "each", each)
        front = optimize(
            net, task, out=tmp_path / "r", target="openvino-cpu", max_drop="50%", budget="60s", passes=("quantize",),
            training=False,
        )  # fmt: skip
    said = recorded(tmp_path / "r", PROFILE)
    chosen = {row["layer"]: row["chosen"] for row in said["layers"]}
    assert chosen == {s: 32 if s == middle else 8 for s in chosen} and len(chosen) == 3
    assert [race["finished"] for race in said["race"]][:3] == [0, 3, 2] and said["best"] == 2
    loaded = optuna.load_study(study_name="whet", storage=f"sqlite:///{tmp_path / 'r' / 'study.db'}")
    decisions = [json.loads(trial.user_attrs["trial"])["decision"] for trial in loaded.get_trials()]
    placed = [d for d in decisions if any(name.startswith("runtime:") for name in d)]
    assert [sum(name.endswith(":bits") for name in d) for d in placed] == [2], (
        "the setting of a late choice is recorded"
    )
    assert "2 of 3 layers are finished: that is x1.200" in front.conclusion
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "Which layers are finished, and why" in page and "2 of 3 layers finished x1.200 (the fastest)" in page
    assert timed == [["0", "1"], ["0", "1"]]


def test_files_of_a_race_are_timed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    timing: Any = Timing.__new__(Timing)
    one, two = ({"runtime": "r", "precision": "p", "threads": count} for count in (1, 2))
    timing.bars, timing.settings = {1: one}, [one, two]
    found = {"bar 1": latency("bar", 1.0), "0 r/p/1": latency("0", 1.5), "1 r/p/1": latency("1", 2.0)}
    found["1 r/p/2"] = latency("1", 1.0)
    running = {("0", "r/p/1"): one, ("1", "r/p/1"): one, ("1", "r/p/2"): two}
    monkeypatch.setattr(Timing, "_timed", lambda self, files, seconds: (found, running))
    each = timing.each({"0": Path(), "1": Path(), "2": Path()}, 1.0)
    ratios = {how: {t.settings["threads"]: t.latency.ratio for t in found} for how, found in each.items()}
    assert ratios == {"0": {1: pytest.approx(1.5)}, "1": {1: pytest.approx(2.0), 2: pytest.approx(1.0)}, "2": {}}
    assert timing({"0": Path(), "1": Path()}, 1.0).how == "1"


def test_layers_are_timed_as_the_uncompressed_network_is_the_fastest() -> None:
    fast, integers = ({"runtime": "openvino", "precision": precision, "threads": 1} for precision in ("bf16", "f32"))
    other = {"runtime": "onnxruntime", "precision": "f32", "threads": 1}
    trial: Any = SimpleNamespace(settings=integers)
    for bar, used in ((fast, fast), (other, integers)):
        evaluator: Any = SimpleNamespace(baseline=SimpleNamespace(artifact=SimpleNamespace(settings=bar)))
        assert mixing._settings(evaluator, trial) == used
