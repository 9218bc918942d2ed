"""`whet serve-check` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from whet.cli.main import app
from whet.verdict.limits import Row, Verdict


@pytest.mark.parametrize("error", [0.0, 0.1])
def test_it_prints_what_was_compared_and_exits_with_1_where_outputs_are_others(
    error: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def checked(folder: Path, target: Any, task: Any, parts: Any, tolerance: Any, original: Any) -> Verdict:
        assert original is None
        asked.append((folder, task.name, parts, tolerance))
        row = Row("relative error", 1e-3, error, error, error, "", "4 calls of serve.py")
        return Verdict(str(folder), "openvino/bf16/1", (row,), {})

    monkeypatch.setattr("whet.verdict.serve_check.serve_check", checked)
    done = CliRunner().invoke(app, ["serve-check", str(tmp_path), "--task", "digits", "--tolerance", "0.5"])
    assert done.exit_code == (error > 0) and "relative error: 4 calls of serve.py" in done.output
    assert asked == [(tmp_path, "digits", ("val", "test"), 0.5)]
    words = ["serve-check", str(tmp_path), "--task", "digits", "--json", "--junit", str(tmp_path / "j.xml")]
    done = CliRunner().invoke(app, words)
    assert json.loads(done.output)["passed"] is (error == 0) and (tmp_path / "j.xml").exists()
