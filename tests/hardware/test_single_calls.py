"""Every call counts: percentiles are order statistics with their intervals; the median is what `measure` finds."""

from __future__ import annotations

import random
import time

import pytest

from whet.core.errors import TargetError
from whet.hardware.measure import measure
from whet.hardware.single_calls import SingleCalls, single_calls, spread_of


def test_the_interval_of_a_percentile_holds_it_in_95_of_100_samples() -> None:
    draw, held = random.Random(0), 0
    for _ in range(400):
        calls = SingleCalls(tuple(sorted(draw.random() for _ in range(500))))
        middle, low, high = calls.percentile_ms(90)
        assert low <= middle <= high
        held += low <= 900 <= high
    assert 0.92 <= held / 400 <= 0.98


def test_percentiles_are_calls_that_happened() -> None:
    calls = SingleCalls(tuple(n / 1000 for n in range(1, 201)))
    assert calls.percentile_ms(99)[0] == 198 and calls.percentile_ms(95)[0] == 190
    assert calls.figures == {"p50_ms": 100, "p95_ms": 190, "p99_ms": 198, "calls": 200}
    assert calls.percentile_ms(99)[2] == 200, "beyond the last call there is none"


@pytest.mark.alone
def test_its_median_agrees_with_measure_and_a_slow_call_in_fifty_is_the_99th_percentile() -> None:
    called = 0

    def call() -> None:
        nonlocal called
        called += 1
        time.sleep(0.008 if called % 50 == 0 else 0.001)

    found = single_calls(call, seconds=0.2)
    latency = measure({"a": call}, "a", seconds=0.2, rounds=5)["a"]
    middle, _, _ = found.percentile_ms(50)
    assert len(found.seconds) == 200, "two of them are slower than the 99th percentile"
    assert middle == pytest.approx(latency.latency_ms, rel=0.1)
    assert found.percentile_ms(99)[0] >= 8 > 4 > found.percentile_ms(95)[0]


def test_as_many_calls_as_asked_and_no_more() -> None:
    assert len(single_calls(lambda: None, seconds=1e-9, least=7).seconds) == 7
    assert len(single_calls(lambda: None, seconds=5.0, most=9).seconds) == 9
    with pytest.raises(TargetError, match="for seconds and least"):
        single_calls(lambda: None, seconds=0.0)


def test_the_spread_of_a_few_is_the_least_and_the_most() -> None:
    assert spread_of([5.0]) == (5.0, 5.0, 5.0)
    assert spread_of([4.0, 1.0, 3.0, 2.0]) == (2.0, 1.0, 4.0)
