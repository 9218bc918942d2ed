"""A limit is kept or not, and says what is near it."""

from __future__ import annotations

import pytest

from whet.verdict.limits import Row, Verdict


def row(measured: float, allowed: float = 2.0, spread: float = 0.0, unit: str = "ms", least: bool = False) -> Row:
    return Row("p99", allowed, measured, measured - spread, measured + spread, unit, "of 9 calls", least=least)


@pytest.mark.parametrize(
    ("measured", "spread", "least", "passed", "near"),
    [
        (1.5, 0.1, False, True, False),
        (2.0, 0.0, False, True, False),
        (2.5, 0.1, False, False, False),
        (1.9, 0.2, False, True, True),
        (2.1, 0.2, False, False, True),
        (1.9, 0.0, True, False, False),
        (2.1, 0.0, True, True, False),
    ],
)
def test_a_limit_is_kept_by_the_measured_value_and_near_by_its_spread(
    measured: float, spread: float, least: bool, passed: bool, near: bool
) -> None:
    found = row(measured, spread=spread, least=least)
    assert (found.passed, found.near) == (passed, near)
    assert found.verdict == ("passed" if passed else "BROKEN") + (", within the spread" if near else "")


def test_values_read_in_their_unit() -> None:
    assert row(1.234).text(1.234) == "1.23 ms"
    assert (row(1, unit="bytes").text(5_210_000), row(1, unit="").text(0.91)) == ("5.21 MB", "0.9100")
    assert (row(1, unit="s").text(0.25), row(1, unit="s").text(2.5)) == ("250 ms", "2.5 s")


def test_a_verdict_names_what_broke() -> None:
    verdict = Verdict("model.onnx", "openvino/bf16/1", (row(1.0), row(3.0)), {"id": "cpu"})
    assert not verdict.passed and [r.measured for r in verdict.broken] == [3.0]
    assert verdict.broken[0].sentence == "p99 is 3 ms; at most 2 ms is allowed (of 9 calls)"
    plain = verdict.to_dict()
    assert plain["broken"] == ["p99"] and [each["passed"] for each in plain["limits"]] == [True, False]
    assert Verdict("model.onnx", "", (row(1.0),), {}).to_dict()["passed"] is True
