"""The figures: marks where trials are, one colour a state, and nothing that a browser would run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from whet.report.figures import GONE, UNCHANGED, heat_map, history, layer_states, pareto


def trial(number: int, stage: str = "full", **more: Any) -> dict[str, Any]:
    return {
        "number": number, "stage": stage, "speedup": 1.0 + number, "drop": 0.01 * number, "decision": {}, "samples": 10,
        "size_bytes": 1000, "spent_seconds": 5.0 * number, "changed": [],
    } | more  # fmt: skip


def data(**more: Any) -> Any:
    given = {
        "trials": [trial(0), trial(1, "short"), trial(2, speedup=float("inf"))], "front": [trial(0)],
        "drop_unit": (100.0, "%"), "max_drop": 0.02, "metric": "<b>accuracy</b>", "objectives": ("speed",),
        "layers": ["a", "a.b", "c"], "hypervolume": [(1.0, 0.5)],
    }  # fmt: skip
    return SimpleNamespace(**(given | more))


def test_every_finite_trial_is_a_mark_of_its_stage_in_the_limits_unit() -> None:
    figure = pareto(data())
    marks = {trace["name"]: (trace["x"], trace["y"]) for trace in figure["data"]}
    assert marks["fully trained, from its file"] == ([1.0], [0.0])
    assert marks["briefly trained"] == ([2.0], [1.0])
    assert any(shape.get("y0") == 2.0 for shape in figure["layout"]["shapes"]), "the limit"
    assert "<b>" not in figure["layout"]["yaxis"]["title"]["text"]


def test_a_site_covers_its_layers_and_what_is_dropped_outdoes_the_rest() -> None:
    changed = [
        {"kind": "narrowed", "site": "a#heads"}, {"kind": GONE, "site": "a.b"}, {"kind": "repaired", "site": "c"}
    ]  # fmt: skip
    found = layer_states(data(trials=[trial(0, changed=changed)]), trial(0))
    assert found == ["narrowed", GONE, UNCHANGED]


def test_the_map_has_a_row_a_layer_and_a_column_a_file() -> None:
    figure = heat_map(data(front=[trial(0), trial(1)]))
    assert figure is not None
    (trace,) = figure["data"]
    assert len(trace["z"]) == 3 and trace["x"] == ["0: x1.00", "1: x2.00"]
    assert heat_map(data(front=[])) is None and history(data(trials=[])) is None


def test_candidates_are_counted_over_time() -> None:
    figure = history(data())
    assert figure is not None
    full = next(t for t in figure["data"] if t["name"] == "fully trained, from its file")
    assert full["x"] == [0.0, 10.0] and full["y"] == [1, 2]
