"""Damage that adds up and damage that does not: the power is found, and forecasts are better for it."""

from __future__ import annotations

import numpy as np
import pytest

from whet.core.space import Choice, Decision, Space
from whet.search.predictors.linear import LinearForecast
from whet.search.predictors.power import PowerForecast

SPACE = Space([Choice(f"b{i}:keep", (True, False), True) for i in range(16)])
EFFECTS = {f"b{i}:keep": 0.004 * (1 + i % 4) for i in range(16)}


def measured(power: float, count: int, noise: float = 0.0) -> tuple[list[Decision], list[float]]:
    generator = np.random.default_rng(0)
    decisions, values = [], []
    for _ in range(count):
        gone = generator.choice(16, size=int(generator.integers(3, 14)), replace=False)
        decision = Decision({f"b{i}:keep": False for i in gone})
        total = sum((EFFECTS[n]) ** power for n in decision)
        decisions.append(decision)
        values.append(total ** (1 / power) * float(np.exp(noise * generator.standard_normal())))
    return decisions, values


@pytest.mark.parametrize("power", [1.0, 0.7, 0.5])
def test_the_power_is_found_and_new_decisions_are_forecast(power: float) -> None:
    decisions, values = measured(power, 30)
    forecast = PowerForecast(SPACE)
    forecast.believe(EFFECTS)
    forecast.fit(decisions[:20], values[:20])
    assert forecast.power == pytest.approx(power, abs=0.16)
    errors = [abs(np.log(forecast(d) / v)) for d, v in zip(decisions[20:], values[20:], strict=True)]
    assert np.mean(errors) < 0.1


def test_where_damage_grows_with_the_square_a_sum_forecasts_worse() -> None:
    decisions, values = measured(0.5, 24, noise=0.1)
    ours, linear = PowerForecast(SPACE), LinearForecast(SPACE, noise=0.01, floor=0.005, scale_prior=True)
    for forecast in (ours, linear):
        forecast.believe(EFFECTS)
        forecast.fit(decisions[:12], values[:12])
    errors = [
        np.mean([abs(np.log(max(f(d), 1e-4) / v)) for d, v in zip(decisions[12:], values[12:], strict=True)])
        for f in (ours, linear)
    ]
    assert errors[0] < 0.7 * errors[1]


def test_belief_in_damage_is_believed_of_its_power() -> None:
    """Before many measurements of a power of a half, the belief of each alone is the forecast of each alone."""
    decisions, values = measured(0.5, 30)
    forecast = PowerForecast(SPACE)
    forecast.believe(EFFECTS)
    forecast.fit(decisions, values)
    assert forecast.power == 0.5
    np.testing.assert_allclose(forecast.linear.prior, np.sqrt([EFFECTS[c.name] for c in SPACE]))


def test_powers_are_compared_on_measurements_that_were_left_out() -> None:
    """Each of 16 blocks is measured alone: whatever the power, they fit, and none forecasts those left out."""
    forecast = PowerForecast(SPACE)
    decisions = [Decision({f"b{i}:keep": False}) for i in range(16)]
    values = [0.004 * (1 + i % 4) for i in range(16)]
    error = forecast._error(1.0, decisions, values)
    assert error > 0.3
    forecast._fit(1.0, decisions, values)
    assert np.mean([abs(np.log(forecast(d) / v)) for d, v in zip(decisions, values, strict=True)]) < 0.5 * error


def test_few_measurements_are_taken_to_add_up() -> None:
    decisions, values = measured(0.5, 4)
    forecast = PowerForecast(SPACE)
    forecast.believe(EFFECTS)
    forecast.fit(decisions, values)
    assert forecast.power == 1.0


def test_without_any_belief_effects_are_learnt_from_measurements() -> None:
    decisions, values = measured(1.0, 60)
    forecast = PowerForecast(SPACE)
    forecast.fit([], [])
    assert forecast(decisions[0]) == 0.0
    forecast.fit(decisions, values)
    assert np.abs(forecast.mean - [EFFECTS[c.name] for c in SPACE]).mean() < 0.003


def test_raised_and_lowered_are_inverse() -> None:
    forecast = PowerForecast(SPACE)
    forecast.power = 0.5
    assert forecast.lowered(forecast.raised(0.04)) == pytest.approx(0.04)
    assert forecast.raised(-1.0) == 0.0
