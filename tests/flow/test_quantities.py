from __future__ import annotations

import pytest

from whet.core.task import Task
from whet.flow.quantities import LimitError, explained, fraction, parse, resolved, seconds

DURATIONS = [
    ("15min", 900.0), ("90s", 90.0), ("2h", 7200.0), ("45", 45.0), (3, 3.0), ("1h30m", 5400.0), ("15 minutes", 900.0),
    ("90 s", 90.0), ("1 hour 30 min", 5400.0), ("2ms", 0.002), ("300us", 0.0003), (0.5, 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), DURATIONS)
def test_durations(text: str | float, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "fast", "10 parsecs", "-5s", "0s", "1h30", "nan", True])
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


def _task(direction: str = "max", drop: str = "absolute", metric_name: str = "accuracy") -> Task:
    return Task("t", None, [1], metric_name=metric_name, direction=direction, drop=drop)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "reference", "task", "value"),
    [
        ("1%", 91.1, _task(), 1.0),
        ("1%", 0.911, _task(), 0.01),
        ("1pt", 91.1, _task(), 1.0),
        ("1 point", 0.911, _task(), 0.01),
        (1.0, 91.1, _task(), 1.0),
        ("1", 91.1, _task(), 1.0),
        (0.005, 0.911, _task(), 0.005),
        ("2%", 1.0, _task(), 0.02),
        ("1%", 8.3, _task("min", metric_name="wer"), 1.0),
        ("1%", 20.0, _task("min", metric_name="perplexity"), 0.2),
        ("1pt", 20.0, _task("min", metric_name="perplexity"), 1.0),
        ("1%", 1500.0, _task(metric_name="return"), 15.0),
        ("1%", -0.29, _task(metric_name="log likelihood"), 0.01),
        ("1%", 80.0, _task(drop="relative"), 0.01),
        (0.02, 80.0, _task(drop="relative"), 0.02),
        ("2pt", 80.0, _task(drop="relative"), 0.025),
        ("5%", 0.03, _task("min", "relative", "error"), 0.05),
    ],
)
def test_a_drop_is_read_on_the_scale_of_the_metric(text: str | float, reference: float, task: Task, value: float):
    limit = parse(text)
    assert limit is not None and resolved(limit, reference, task) == pytest.approx(value)
    assert f"{reference:.4g}" in explained(limit, reference, task)


def test_no_limit_stays_none() -> None:
    assert parse(None) is None and resolved(None, 0.9, _task()) is None


@pytest.mark.parametrize("text", ["one", "150%", "-1%", -0.1, "1 percentage", True, float("nan"), "100%"])
def test_drops_that_cannot_be_meant_are_refused(text: str | float) -> None:
    with pytest.raises(LimitError, match="max_drop"):
        parse(text)


@pytest.mark.parametrize(("value", "reference"), [(1.0, 0.9), (1, 1.0), (100, 91.0)])
def test_a_drop_of_the_whole_scale_is_refused_once_the_scale_is_known(value: float, reference: float) -> None:
    with pytest.raises(LimitError, match=r"allows any loss.*1%"):
        resolved(parse(value), reference, _task())


def test_a_relative_drop_of_a_negative_metric_is_worse_when_it_falls() -> None:
    task = _task(drop="relative")
    assert task.loss_of_quality(-0.3185, -0.2923) == pytest.approx(0.0896, abs=1e-4)
    assert task.loss_of_quality(-0.28, -0.2923) < 0
    assert _task("min", "relative").loss_of_quality(-0.28, -0.2923) > 0
