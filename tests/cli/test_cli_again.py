"""`whet again` on the command line: the same options, other limits, no search, another folder."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from whet.cli.main import app
from whet.core.errors import StudyError
from whet.flow.run_file import write_run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return what searches are asked for; none is begun."""
    found: list[dict[str, Any]] = []

    def optimize(net: Any, task: Any, **options: Any) -> Any:
        found.append({"net": net, "task": task.name, **options})
        return SimpleNamespace(to_dict=lambda: {"met": True}, met=True)

    monkeypatch.setattr("whet.flow.optimize.optimize", optimize)
    return found


def test_options_of_the_study_are_taken_and_limits_are_new(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"task": "digits", "max_drop": "1%", "passes": "quantize", "threads": 1, "out": "a"})
    done = CliRunner().invoke(app, ["again", str(tmp_path / "a"), "--max-drop", "2%", "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout) == {"met": True}, done.output
    [given] = asked
    assert given["again"] == tmp_path / "a" and given["out"] == tmp_path / "a-2pct"
    assert (given["max_drop"], given["passes"], given["threads"]) == ("2%", ("quantize",), 1)
    assert given["options"]["max_drop"] == "2%" and "again" not in given["options"], "a search may go on there"
    CliRunner().invoke(
        app, ["again", str(tmp_path / "a"), "--max-size", "50kB", "--out", str(tmp_path / "b"), "--json"]
    )
    assert asked[-1]["max_drop"] == "1%" and asked[-1]["max_size"] == "50kB" and asked[-1]["out"] == tmp_path / "b"


def test_a_folder_without_a_study_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["again", str(tmp_path), "--max-drop", "2%"])
    assert isinstance(done.exception, StudyError) and "run.toml" in str(done.exception)


def test_compress_is_a_search_without_training_and_takes_its_options(
    asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    words = ["compress", "digits-cnn", "--int8", "--task", "digits", "--max-drop", "3%", "--out", str(tmp_path / "q")]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    [given] = asked
    assert given["training"] is False and given["passes"] == ("quantize",) and given["objectives"] == ("speed", "size")
    assert given["max_drop"] == "3%" and given["net"].name == "digits-cnn" and given["out"] == tmp_path / "q"
    refused = CliRunner().invoke(app, ["compress", "digits-cnn"])
    assert refused.exit_code == 2 and "--int8" in refused.output
