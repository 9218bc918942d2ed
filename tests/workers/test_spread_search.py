"""A whole search with two workers, whose own process is killed in the middle; Ray is real, time is not."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="trainings are spread by Ray: pip install 'whet-nn[distributed]'")
pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parent / "killed_search.py"


def trials(folder: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(folder / "study.db") as database:
        rows = database.execute("select value_json from trial_user_attributes where key = 'trial' order by trial_id")
        return [json.loads(json.loads(text)) for (text,) in rows]


def test_what_was_in_flight_when_the_search_was_killed_is_done_again_and_a_front_is_delivered(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, SCRIPT, tmp_path / "run", "dies"], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = trials(tmp_path / "run")
    assert [t["stage"] for t in before].count("short") == 1
    done = subprocess.run([sys.executable, SCRIPT, tmp_path / "run", "lives"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = trials(tmp_path / "run")
    assert after[: len(before)] == before
    short = [tuple(sorted(t["decision"].items())) for t in after if t["stage"] == "short"]
    assert len(set(short)) == len(short) == 3
    assert (tmp_path / "run" / "front" / "0" / "manifest.json").exists() and "accuracy" in done.stdout
