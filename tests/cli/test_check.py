"""`whet check` on the command line: what it prints, writes and exits with."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from whet.cli.check import CheckError
from whet.cli.main import app
from whet.core.errors import TaskError, UnknownNameError
from whet.hardware.onnx_export import export_onnx


@pytest.fixture(scope="module")
def model(digits: tuple[object, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(digits[0], tmp_path_factory.mktemp("digits") / "model.onnx")  # type: ignore[arg-type]


def test_limits_that_are_kept_exit_with_0_and_a_broken_one_with_1(model: Path, tmp_path: Path) -> None:
    words = [str(model), "--max-size", "2MB", "--min-accuracy", "0.9", "--task", "digits", "--seconds", "0.5"]
    kept = CliRunner().invoke(app, ["check", *words, "--target", "onnxruntime-cpu"])
    assert kept.exit_code == 0 and "All 2 limits are kept." in kept.output
    given = ["check", str(model), "--max-size", "1kB", "--json", "--junit", str(tmp_path / "j.xml")]
    broken = CliRunner().invoke(app, given)
    found = json.loads(broken.output)
    assert broken.exit_code == 1 and found["broken"] == ["size"] and not found["passed"]
    assert [limit["passed"] for limit in found["limits"]] == [False]
    assert ElementTree.parse(tmp_path / "j.xml").getroot().get("failures") == "1"


def test_what_broke_is_named_below_the_table(model: Path) -> None:
    done = CliRunner().invoke(app, ["check", str(model), "--max-size", "1kB"])
    assert done.exit_code == 1 and "BROKEN: size is" in done.output and "at most 1 kB is allowed" in done.output


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ([], CheckError, "nothing to check"),
        (["--max-latency-ratio", "1.05"], CheckError, "give --baseline FILE"),
        (["--max-drop", "1%"], CheckError, "give --baseline FILE"),
        (["--min-accuracy", "0.9"], CheckError, "give --task NAME"),
        (["--max-size", "1MB", "--on", "tset"], UnknownNameError, "did you mean 'test'"),
    ],
)
def test_a_check_that_lacks_something_says_what(
    model: Path, words: list[str], error: type[Exception], message: str
) -> None:
    done = CliRunner().invoke(app, ["check", str(model), *words])
    assert isinstance(done.exception, error) and message in str(done.exception)


def test_a_delivered_file_is_checked_with_the_batch_that_it_was_measured_with(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").write_bytes(model.read_bytes())
    settings = {"runtime": "onnxruntime", "precision": "f32", "threads": 1, "batch": 8}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    seen: list[SimpleNamespace] = []
    monkeypatch.setattr("whet.verdict.check.check", lambda subject, limits: seen.append(subject) or 1 / 0)
    CliRunner().invoke(app, ["check", str(tmp_path), "--p99", "2ms"])
    CliRunner().invoke(app, ["check", str(tmp_path), "--p99", "2ms", "--batch", "2"])
    assert [subject.batch for subject in seen] == [8, 2] and list(seen[0].file.settings) == [
        {key: settings[key] for key in ("runtime", "precision", "threads")}
    ]


def test_the_example_of_a_build_asks_for_what_there_is() -> None:
    text = (Path(__file__).parents[2] / "examples" / "github-actions.yml").read_text()
    assert {job["run"].split()[1] for job in yaml_runs(text)} >= {"check", "serve-check"}
    for words in (run["run"].split() for run in yaml_runs(text)):
        known = {option for p in get_command(app).commands[words[1]].params for option in p.opts}  # type: ignore[attr-defined]
        assert {word for word in words if word.startswith("--")} <= known


def yaml_runs(text: str) -> list[dict[str, str]]:
    """Return the steps of a workflow that run whet."""
    steps = yaml.safe_load(text)["jobs"]["check"]["steps"]
    return [step for step in steps if step.get("run", "").startswith("whet ")]


def test_a_file_is_judged_by_a_users_own_data(model: Path, digits: tuple[object, object], tmp_path: Path) -> None:
    val = digits[1].task.test  # type: ignore[attr-defined]
    images, labels = (np.concatenate([np.asarray(batch[i]) for batch in val]) for i in (0, 1))
    np.savez(tmp_path / "own.npz", x=images, y=labels)
    words = ["--data", str(tmp_path / "own.npz"), "--split", "50/40/10", "--target", "onnxruntime-cpu", "--json"]
    done = CliRunner().invoke(app, ["check", str(model), "--min-accuracy", "0.9", *words])
    assert done.exit_code == 0 and json.loads(done.output)["limits"][0]["passed"]
    scored = CliRunner().invoke(app, ["eval", str(model), *words])
    found = json.loads(scored.output)
    counts = {row["data"]: row["samples"] for row in found["scores"]}
    assert found["task"] == "own" and abs(counts["val"] - 144) < 6 and abs(counts["test"] - 36) < 6
    by_task = CliRunner().invoke(app, ["eval", str(model), "--task", "digits", "--skip-bad"])
    assert isinstance(by_task.exception, TaskError)
    assert "--skip-bad: these are for your own data" in str(by_task.exception)
