"""What is done with candidates that are only looked at."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from quick import made, untimed

from whet.flow.optimize import optimize


def trials(folder: Path) -> list[dict[str, object]]:
    with sqlite3.connect(folder / "study.db") as database:
        rows = database.execute("select value_json from trial_user_attributes where key = 'trial' order by trial_id")
        return [json.loads(json.loads(text)) for (text,) in rows]


def test_without_training_data_repaired_candidates_are_verified_and_nothing_is_trained(tmp_path: Path) -> None:
    net, task = made()
    with untimed(3.0):
        front = optimize(
            net, task, out=tmp_path / "r", target="onnxruntime-cpu", max_drop="30%", budget="40s", passes=("width",),
            trials=2, training=False,
        )  # fmt: skip
    found = trials(tmp_path / "r")
    assert not any(t["samples"] for t in found)
    verified = [t for t in found if t["stage"] == "full" and any(":width" in name for name in t["decision"])]  # type: ignore[attr-defined]
    assert verified and any(m.number == verified[0]["number"] for m in front.members)
    assert "without training data only what needs no training was tried" in front.conclusion.lower()
