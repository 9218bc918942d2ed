"""Progress is shown unless it is asked not to be."""

from __future__ import annotations

from typing import Any

import pytest

from whet.report.shown import shown


@pytest.mark.parametrize("given", [None, True])
def test_by_default_there_are_lines_on_standard_error(given: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with shown(given) as told:
        told({"stage": "the last race"})
    out, err = capsys.readouterr()
    assert "the last race" in err and not out


def test_false_is_silent_and_a_function_gets_the_events(capsys: pytest.CaptureFixture[str]) -> None:
    events: list[Any] = []
    for given in (False, events.append):
        with shown(given) as told:
            told({"stage": "x"})
    assert events == [{"stage": "x"}] and capsys.readouterr().err == ""
