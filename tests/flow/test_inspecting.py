"""What is said of a delivered file stands in its member, its manifest and the report."""

from __future__ import annotations

import json
from pathlib import Path

from quick import search, untimed


def test_a_file_says_how_sure_its_drop_is_and_what_computes_it(tmp_path: Path) -> None:
    with untimed(speedup=1.5):
        front = search(tmp_path / "r", passes=("quantize",))
    best = front.fastest()
    assert best is not None and best.decision
    assert best.drop_low is not None and best.drop_high is not None and best.drop_low <= best.drop <= best.drop_high
    assert best.computed and set(best.computed) <= {"int8", "bf16", "f32"}
    told = json.loads((tmp_path / "r" / "front" / "0" / "manifest.json").read_text())
    assert told["computed_in"] == best.computed and told["integers_computed_in_floats"] == best.floats
    assert told["figures"]["drop_low"]["value"] == best.drop_low and "95 %" in told["figures"]["drop_high"]["protocol"]
    page = (tmp_path / "r" / "report.html").read_text()
    count, precision = next((n, p) for p, n in best.computed.items())
    assert f"{count} in {precision}" in page
