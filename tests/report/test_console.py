"""The line of progress."""

from __future__ import annotations

import io
import math

from rich.console import Console

from whet.report.console import LiveProgress


def test_a_budget_in_epochs_has_no_time_left_to_tell() -> None:
    out = io.StringIO()
    with LiveProgress(console=Console(file=out, width=80)) as progress:
        progress({"stage": "probing", "seconds_left": math.inf})
        progress({"stage": "training", "seconds_left": 75.0})
    first, second = out.getvalue().splitlines()
    assert first == "probing" and second == "1:15 left · training"
