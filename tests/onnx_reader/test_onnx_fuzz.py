from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from onnx_files import SMALL, saved

COUNT, SECONDS = 5000, 400
PEAK_BYTES = 3 << 30
"""Far more than a small file needs, and far less than one that was allowed to claim what it likes."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_thousand_mutations_end_in_an_error_or_the_right_result(tmp_path: Path) -> None:
    for name, make in SMALL.items():
        saved(make(), tmp_path / f"{name}.onnx")
    child = Path(__file__).with_name("fuzz_child.py")
    command = [sys.executable, str(child), str(tmp_path), "1", str(COUNT), str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["bad"]
    assert sum(found["counts"].values()) == COUNT, "mutations took too long"
    assert found["counts"]["error"] > COUNT // 5 and found["counts"]["same"] > COUNT // 100
    assert found["peak_bytes"] < PEAK_BYTES
