"""The command line on ONNX files, as a user without the network's code has them."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper
from onnx_files import info, model_of, saved
from typer.testing import CliRunner

from whet import tasks
from whet.cli.main import app, main


def whet(*words: str) -> Any:
    done = subprocess.run([sys.executable, "-m", "whet", *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def here(*words: str) -> Any:
    """Return what a command tells in this process: one of its own spends seconds on what it imports."""
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.alone
def test_a_file_is_optimized_as_its_source_is(tmp_path: Path) -> None:
    module, example = tasks.get("digits").trained("digits_cnn")
    shapes = tuple({0: torch.export.Dim("batch", min=1, max=4096)} for _ in example)
    path = tmp_path / "digits.onnx"
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(module, example, path, dynamo=True, dynamic_shapes=shapes, verbose=False)
    front = whet("optimize", str(path), "--task", "digits", "--budget", "30s", "--out", str(tmp_path / "out"), "--json")
    assert front["met"] and front["reference"]["val"] > 0.95
    best = max(front["front"], key=lambda member: member["speedup"])
    assert best["speedup"] > 1.5 and best["drop"] <= 0.01 and best["test"] > 0.9
    assert any(key.endswith((":width", ":keep")) for key in best["decision"])
    assert (tmp_path / "out" / "report.html").exists()


def test_a_file_that_cannot_be_lifted_is_measured_as_it_is(tmp_path: Path) -> None:
    yes = helper.make_graph([helper.make_node("Relu", ["x"], ["t"])], "yes", [], [info("t")])
    no = helper.make_graph([helper.make_node("Neg", ["x"], ["n"])], "no", [], [info("n")])
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "half"], ["is"]),
        helper.make_node("If", ["is"], ["y"], then_branch=yes, else_branch=no),
    ]
    weights = {"half": np.array(0.5, np.float32)}
    path = saved(model_of(nodes, {"x": ["batch", 3]}, ["y"], weights), tmp_path / "branch.onnx")
    found = here("measure", str(path), "--seconds", "1", "--json")
    runtimes = {row["name"].split("/")[0] for row in found["settings"]}
    assert "onnxruntime" in runtimes and all(row["latency_ms"] > 0 for row in found["settings"])


def test_free_sizes_and_inputs_that_steer_are_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = helper.make_empty_tensor_value_info
    branches = {
        name: helper.make_graph([helper.make_node(op, ["x"], [name])], name, [], [empty(name)])
        for name, op in (("then_branch", "Relu"), ("else_branch", "Neg"))
    }
    nodes = [helper.make_node("Equal", ["sr", "16k"], ["is"]), helper.make_node("If", ["is"], ["y"], **branches)]
    model = model_of(nodes, {"x": ["batch", "samples"], "sr": []}, ["y"], {"16k": np.array(16000)}, kinds={"sr": 7})
    path = str(saved(model, tmp_path / "rate.onnx"))
    found = here("measure", path, "--shape", "x=1x64", "--fix", "sr=16000", "--seconds", "1", "--json")
    assert {row["name"].split("/")[0] for row in found["settings"]} >= {"onnxruntime"}
    refused = {
        "give --shape 'x=1xSIZE'": [],
        "sizes are whole numbers": ["--shape", "x=1xy"],
        "is no NAME=VALUE": ["--fix", "sr"],
    }
    for why, words in refused.items():
        monkeypatch.setattr(sys, "argv", ["whet", "measure", path, "--seconds", "1", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2 and why in " ".join(capsys.readouterr().err.split())
