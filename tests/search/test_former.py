"""What a former search measured is read from its study, which stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from whet.core.errors import StudyError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.core.study import DATABASE, Study, Trial
from whet.search.former import former

SPACE = Space([Choice("a:keep", (True, False), True), Choice("a:width", (0.5, 1.0), 1.0, when=("a:keep", (True,)))])


def test_the_last_measurement_of_each_decision_in_order(tmp_path: Path) -> None:
    study = Study.in_folder(tmp_path, {}, SPACE)
    dropped, thin = Decision({"a:keep": False}), Decision({"a:width": 0.5})
    rows = [
        ("probe", thin, 9.0, 0.5),
        ("short", dropped, 2.0, 0.1),
        ("predicted", thin, 5.0, 0.0),
        ("short", thin, 1.5, 0.0),
    ]
    for number, (stage, decision, speedup, drop) in enumerate([*rows, ("full", dropped, 2.5, 0.05)]):
        study.add(Trial(number, stage, decision, quality=0.9, drop=drop, speedup=speedup))  # type: ignore[arg-type]
    before = (tmp_path / DATABASE).read_bytes()
    space, seen = former(tmp_path)
    assert space.describe() == SPACE.describe() and (tmp_path / DATABASE).read_bytes() == before
    assert seen == [Observation(dropped, (2.5, 0.05)), Observation(thin, (1.5, 0.0))]


def test_what_is_no_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no study to learn from"):
        former(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / DATABASE).write_text("no database")
    with pytest.raises(StudyError, match="cannot be learned from"):
        former(tmp_path)
