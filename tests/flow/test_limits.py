from __future__ import annotations

import pytest

from whet.flow.limits import LimitError, fraction, seconds


@pytest.mark.parametrize(("text", "value"), [("15min", 900.0), ("90s", 90.0), ("2h", 7200.0), ("45", 45.0), (3, 3.0)])
def test_durations(text: str | float, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "fast", "10 parsecs", "-5s", "0s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(LimitError, match="budget"):
        seconds(text)


def test_shares() -> None:
    assert fraction("1%") == fraction("0.01") == fraction(0.01) == 0.01
    assert fraction(None) is None


@pytest.mark.parametrize("text", ["one", "150%", "1 point", 1.0])
def test_other_shares_are_refused(text: str | float) -> None:
    with pytest.raises(LimitError, match="max_drop"):
        fraction(text)
