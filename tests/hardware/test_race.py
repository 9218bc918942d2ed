"""The last race, with sessions that sleep for a known time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from whet.core.errors import ArtifactError, TargetError
from whet.core.target import Artifact
from whet.hardware.race import _hardest, race

pytestmark = pytest.mark.alone
ONE, TWO = ({"runtime": "openvino", "precision": "f32", "threads": n} for n in (1, 2))
MILLISECONDS = {"plain/1": 4.0, "plain/2": 2.0, "other/1": 3.0, "smaller/1": 1.0, "smaller/2": 8.0}


class Sleepy:
    """Opens files that are called what they cost."""

    def open(self, artifact: Artifact, batch: int) -> Any:
        key = f"{artifact.path.name}/{artifact.settings['threads']}"
        if key not in MILLISECONDS:
            raise ArtifactError(f"'{artifact.path.name}' is truncated.\nThe rest of the story.")
        return lambda *inputs: time.sleep(MILLISECONDS[key] / 1e3)


def raced(*names: str, bars: tuple[str, ...] = ("plain", "other")) -> Any:
    files = {name: (Path(name), [ONE, TWO]) for name in names}
    target: Any = Sleepy()
    return race(target, (), files, bars, 0.3)


def test_each_file_runs_in_the_setting_that_suits_it_and_the_fastest_bar_is_the_bar() -> None:
    found = raced("plain", "other", "smaller")
    assert found.bar == "plain"
    assert found.settings == {"plain": TWO, "other": ONE, "smaller": ONE}
    assert found.latencies["plain"].ratio == pytest.approx(1.0)
    assert found.latencies["smaller"].ratio == pytest.approx(2.0, rel=0.25)
    assert found.latencies["other"].ratio == pytest.approx(2 / 3, rel=0.25)


def test_a_file_that_no_setting_opens_is_lost_with_one_line_of_why() -> None:
    found = raced("plain", "broken")
    assert found.errors == {"broken": "'broken' is truncated."}
    assert "broken" not in found.latencies


def test_the_bar_is_what_wins_most_rounds_not_what_has_the_least_median() -> None:
    assert _hardest({"median": [1.0, 1.0, 1.0, 10.0, 10.0], "rounds": [0.9, 0.9, 5.0, 9.0, 9.0]}) == "rounds"


def test_without_any_bar_there_is_no_race() -> None:
    with pytest.raises(TargetError, match="no runtime opens the uncompressed network"):
        raced("smaller", bars=("plain",))
