"""What a study was asked for comes back from its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from whet.core.errors import StudyError
from whet.flow.run_file import RUN, read_run, write_run

OPTIONS = {
    "network": 'a "quoted" \\ name.py:build', "task": "dígits\n", "epochs": 2.5, "seed": 3, "training": False,
    "shape": ["x=1x3", "y="], "min_speedup": 1e-7, "fix": [], "odd": "\x7f\x01",
}  # fmt: skip


def test_options_come_back_as_they_were(tmp_path: Path) -> None:
    write_run(tmp_path / "r", {**OPTIONS, "trials": None})
    assert read_run(tmp_path / "r") == read_run(tmp_path / "r" / RUN) == OPTIONS


def test_a_file_that_is_not_there_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be read: No such file"):
        read_run(tmp_path)
    (tmp_path / RUN).write_text("budget = \n")
    with pytest.raises(StudyError, match="is damaged"):
        read_run(tmp_path)
