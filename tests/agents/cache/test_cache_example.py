"""The example of a served policy: with its process, with the process killed, and by LRU alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from scorers import write_scorer

from whet.agents.cache.traces import mixed, write

EXAMPLE = Path(__file__).parents[3] / "examples" / "cache_eviction" / "run.py"


def test_the_cache_goes_on_when_its_process_is_killed(tmp_path: Path) -> None:
    rarely_hit_first = np.array([0, 0, -1, 0, 0, 0], np.float32)
    model = write_scorer(tmp_path / "model.onnx", rarely_hit_first, 16)
    write(mixed(3, 900), tmp_path / "log.tsv")
    words = ["--model", str(model), "--log", str(tmp_path / "log.tsv"), "--capacity", "900000", "--limit-ms", "2000"]
    done = subprocess.run([sys.executable, str(EXAMPLE), *words], capture_output=True, text=True, check=True)
    ratios = [float(found) for found in re.findall(r"hit ratio ([\d.]+)%", done.stdout)]
    served, killed, lru = re.findall(r"(\d+) answered", done.stdout), re.findall(r"(\d+) gone", done.stdout), ratios[2]
    assert len(served) == 2 and int(served[0]) > int(served[1]) > 50 and len(killed) == 1 and int(killed[0]) > 50
    assert ratios[0] > ratios[1] > lru
