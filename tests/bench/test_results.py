"""Results are written twice, with the commit of the code that made them."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import whet
from whet.bench.results import commit, made_by, write_result


def test_a_result_names_the_commit_that_made_it(tmp_path: Path) -> None:
    write_result(tmp_path / "made", {"figure": 1}, "text\n")
    found = json.loads((tmp_path / "made.json").read_text())
    assert found == {"commit": commit(), "figure": 1}
    assert re.fullmatch(r"[0-9a-f]{12}( and changes)?|whet [\w.]+", found["commit"])
    assert made_by(found) == f"Made by commit {commit()}."


def test_code_that_is_in_no_repository_names_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*words: Any, **options: Any) -> None:
        raise subprocess.CalledProcessError(128, "git")

    monkeypatch.setattr(subprocess, "run", fails)
    assert commit() == f"whet {whet.__version__}"


def test_a_result_without_a_commit_says_so(tmp_path: Path) -> None:
    assert made_by({"commit": ""}) == made_by({}) == "Made by code that did not write down its commit."
    write_result(tmp_path / "table", {"commit": "given", "x": 1}, "text")
    assert json.loads((tmp_path / "table.json").read_text())["commit"] == "given"
    assert (tmp_path / "table.md").read_text() == "text"
