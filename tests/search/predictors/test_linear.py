"""The linear forecast is Bayesian ridge regression: against its closed form, and against its definition by draws."""

from __future__ import annotations

import numpy as np
import pytest

from whet.core.space import Choice, Decision, Space
from whet.decisions.distance import distance
from whet.search.predictors.linear import LinearForecast

SPACE = Space([Choice(f"a{i}:width", (0.25, 0.5, 1.0), 1.0) for i in range(3)])
PRIOR = {"a0:width": 0.4, "a1:width": 0.1, "a2:width": 0.0}


def measured(count: int = 7) -> tuple[list[Decision], list[float]]:
    generator = np.random.default_rng(0)
    rows = [Decision({c.name: float(generator.choice(c.values)) for c in SPACE}) for _ in range(count)]
    return rows, [float(v) for v in generator.random(count)]


def test_effects_are_the_least_squares_of_measurements_and_beliefs_in_units_of_their_deviations() -> None:
    """Hoerl and Kennard 1970: ridge regression is least squares with a row a prior, here of its mean and deviation."""
    forecast = LinearForecast(SPACE, noise=0.2, floor=0.05, belief=0.5)
    forecast.believe(PRIOR)
    decisions, values = measured()
    forecast.fit(decisions, values)
    prior = np.array(list(PRIOR.values()))
    deviation = 0.5 * prior + 0.05
    x = np.array([[1 - float(d.of(c)) for c in SPACE] for d in decisions])
    stacked = np.vstack([x / 0.2, np.diag(1 / deviation)])
    expected, *_ = np.linalg.lstsq(stacked, np.concatenate([np.array(values) / 0.2, prior / deviation]), rcond=None)
    np.testing.assert_allclose(forecast.mean, expected)
    np.testing.assert_allclose(forecast.covariance, np.linalg.inv(stacked.T @ stacked))
    assert forecast(decisions[0]) == pytest.approx(float(x[0] @ expected))


def test_the_identity_costs_nothing_and_nothing_measured_leaves_the_belief() -> None:
    forecast = LinearForecast(SPACE, noise=0.1, floor=0.01)
    forecast.believe(PRIOR)
    assert forecast(Decision()) == 0.0
    assert forecast(Decision({"a0:width": 0.25, "a1:width": 0.5})) == pytest.approx(0.75 * 0.4 + 0.5 * 0.1)
    forecast.believe({"a0:width": 0.4, "a1:width": 0.1})
    assert forecast.prior.tolist() == pytest.approx([0.4, 0.1, 0.25])


def test_draws_have_the_posteriors_mean_and_covariance() -> None:
    forecast = LinearForecast(SPACE, noise=0.2, floor=0.05)
    forecast.believe(PRIOR)
    forecast.fit(*measured())
    generator = np.random.default_rng(1)
    draws = np.array([forecast.draw(generator) for _ in range(20_000)])
    np.testing.assert_allclose(draws.mean(0), forecast.mean, atol=0.01)
    np.testing.assert_allclose(np.cov(draws.T), forecast.covariance, atol=0.02 * forecast.covariance.max())


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_a_prior_of_another_fidelity_is_scaled_by_the_factor_that_fits(factor: float) -> None:
    """With much noise the posterior is the scaled prior: effects keep their proportions, as measurements ask."""
    forecast = LinearForecast(SPACE, noise=1e3, floor=1e-3, scale_prior=True)
    forecast.believe(PRIOR)
    decisions, _ = measured()
    values = [factor * forecast(d) for d in decisions]
    forecast.fit(decisions, values)
    np.testing.assert_allclose(forecast.mean, factor * np.array(list(PRIOR.values())), rtol=1e-3, atol=1e-6)


def test_choices_that_do_not_act_have_no_part_in_it() -> None:
    """Bits of a layer are no choice unless the network is quantized."""
    space = Space(
        [Choice("n:int8", ("off", "on"), "off"), Choice("l:bits", (8, 32), 32, when=("n:int8", ("on",)))]
    )  # fmt: skip
    forecast = LinearForecast(space, noise=0.1, floor=0.1)
    assert forecast.features(Decision({"l:bits": 8})).tolist() == [0.0, 0.0]
    assert forecast.features(Decision({"n:int8": "on", "l:bits": 8})).tolist() == [1.0, 0.75]
    assert distance(Choice("a:blocks", (0, 1, 2, 3), 3), 1) == pytest.approx(2 / 3)


def test_told_distances_take_the_place_of_even_steps() -> None:
    """Where 0.5 does a tenth of what 0.25 does, and not two thirds, effects and forecasts say so; others keep steps."""
    forecast = LinearForecast(SPACE, noise=0.1, floor=0.01)
    assert forecast(Decision({"a0:width": 0.5})) == 0.0
    forecast.shape({"a0:width": [1.0, 0.1, 0.0]})
    forecast.believe({"a0:width": 0.4, "a1:width": 0.1, "a2:width": 0.0})
    assert forecast(Decision({"a0:width": 0.5})) == pytest.approx(0.04)
    assert forecast(Decision({"a0:width": 0.25, "a1:width": 0.5})) == pytest.approx(0.4 + 0.05)
    np.testing.assert_allclose(forecast.effects(forecast.mean)[:2], [[0.4, 0.04, 0.0], [0.075, 0.05, 0.0]])
