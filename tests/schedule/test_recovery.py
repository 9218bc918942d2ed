"""Forecasts of drops, on the figures of a search on ResNet-44."""

from __future__ import annotations

import math

import pytest

from whet.schedule.recovery import POWER, Recovery, mixed_samples

LIMIT = 0.01
EXPLORED = {  # trial: (speed-up, drop, samples)
    27: (1.75, 0.0136, 10_240),
    29: (2.48, 0.0258, 14_592),
    30: (4.59, 0.2056, 17_920),
    31: (2.81, 0.0468, 13_568),
    33: (1.78, 0.0154, 10_368),
    38: (2.75, 0.0386, 13_696),
}
TRAINED = [(0.0154, 10_368, 0.0, 86_016), (0.0468, 13_568, 0.0176, 125_056)]


def chosen(recovery: Recovery, best: float, more: float) -> int:
    return max(EXPLORED, key=lambda n: recovery.worth(EXPLORED[n][0], best, *EXPLORED[n][1:], more))


def learnt(*pairs: tuple[float, int, float, int]) -> Recovery:
    return Recovery.learnt(LIMIT, [(pair, POWER) for pair in pairs])


def test_a_drop_that_vanished_in_the_noise_does_not_promise_that_all_will() -> None:
    recovery = learnt(*TRAINED)
    assert 0.4 < recovery.power < 0.6
    assert recovery.expected(0.0468, 13_568, 111_488) == pytest.approx(0.0176, rel=0.3)


def test_a_limit_of_nothing_at_all_is_a_limit() -> None:
    found = Recovery.learnt(0.0, [((0.02, 4_500, 0.01, 40_000), POWER), ((0.01, 40_000, 0.0, 80_000), POWER)])
    assert 0 < found.expected(0.02, 4_500, 40_000) < 0.02 and found.chance(0.02, 4_500, 40_000) < 0.01


def test_without_a_training_to_learn_from_the_power_is_that_seen_elsewhere() -> None:
    assert learnt().power == pytest.approx(POWER, abs=0.01)
    assert learnt((0.001, 10, 0.0, 100)).power == pytest.approx(POWER, abs=0.03)  # within the noise anyway


@pytest.mark.parametrize("true", [0.3, 0.5, 0.8])
def test_the_power_of_a_network_is_learnt_from_few_trainings_of_any_kind(true: float) -> None:
    """Six trainings of either kind, whose powers differ from those believed by the same amount."""
    believed = {True: 0.5, False: 0.35}
    drops = [0.05, 0.08, 0.2, 0.06, 0.1, 0.3]
    kinds = [True, False] * 3
    powers = [true + believed[kind] - 0.5 for kind in kinds]
    pairs = [(d, 10_000, d * 16.0**-p, 160_000) for d, p in zip(drops, powers, strict=True)]
    found = Recovery.learnt(LIMIT, [(pair, believed[kind]) for pair, kind in zip(pairs, kinds, strict=True)], 0.5)
    assert found.power == pytest.approx(true, abs=0.1)
    assert found.gain < LIMIT / 4


def test_the_fastest_candidate_that_may_meet_the_limit_is_worth_most() -> None:
    recovery = learnt(*TRAINED)
    assert chosen(recovery, 1.0, 110_000) == 29
    assert chosen(recovery, 1.0, 20_000) in (27, 33)
    assert chosen(recovery, 2.48, 1_000_000) in (31, 38)


def test_chance_rises_with_training_and_nothing_is_worth_more_than_its_gain() -> None:
    recovery = Recovery.of(LIMIT)
    chances = [recovery.chance(0.03, 10_000, more) for more in (0, 30_000, 100_000, 1_000_000)]
    assert chances == sorted(chances) and chances[0] < 0.05 and chances[-1] > 0.9
    assert recovery.worth(1.5, 1.6, 0.0, 10, 10) == 0.0
    assert recovery.worth(1.5, 1.0, 0.0, 10, 10) < 0.5
    assert math.isclose(Recovery.of(LIMIT, 0.5).expected(0.04, 10_000, 30_000), 0.02)


def test_where_training_makes_the_network_better_than_its_reference_larger_drops_can_be_mended() -> None:
    """The figures of a search on the protein data, whose given network was not trained to its end."""
    mended = [(0.0249, 222_976, -0.0175, 2_564_352), (0.0225, 200_960, -0.0150, 2_240_256)]
    found, without = learnt(*mended), Recovery.of(LIMIT)
    assert 0.01 < found.gain < 0.025
    assert found.expected(0.0878, 351_232, 2_000_000) < without.expected(0.0878, 351_232, 2_000_000)
    assert found.mendable(100_000, 2_000_000) > without.mendable(100_000, 2_000_000)
    assert found.expected(-0.5, 10, 100) == pytest.approx(-found.gain)


def test_a_result_within_the_noise_of_the_reference_is_hardly_a_gain() -> None:
    assert learnt((0.03, 10_000, -0.002, 100_000)).gain < 0.6 * LIMIT


def test_a_training_that_did_not_help_makes_forecasts_unsure_and_not_just_worse() -> None:
    """A perceptron's drop of 3.7 % was 4.1 % after two million samples: the noise explains next to nothing of it."""
    before, after = learnt(), learnt((0.0367, 46_996, 0.0414, 2_177_428))
    assert after.power < before.power - 0.1
    assert after.chance(0.0367, 46_996, 2_000_000) < before.chance(0.0367, 46_996, 2_000_000)


@pytest.mark.parametrize("gain", [0.0, 0.02])
def test_what_is_mendable_comes_to_just_within_the_limit(gain: float) -> None:
    recovery = Recovery.of(LIMIT, gain=gain)
    drop = recovery.mendable(10_000, 150_000)
    assert recovery.expected(drop, 10_000, 150_000) == pytest.approx(0.009)


def test_what_is_mendable_by_several_beliefs_comes_to_just_within_the_limit_in_the_mean() -> None:
    recovery = learnt(*TRAINED)
    assert len(recovery.points) > 10 and sum(weight for *_, weight in recovery.points) == pytest.approx(1.0)
    assert recovery.expected(recovery.mendable(10_000, 150_000), 10_000, 150_000) == pytest.approx(0.009)


def test_drops_of_several_trainings_shrink_together_as_one_of_mixed_samples_in_the_end() -> None:
    """Far out, `d_1 (n / n_1)^-p + d_2 (n / n_2)^-p` is `(d_1 + d_2) (n / m)^-p`."""
    parts, power, far = [(0.02, 90_000), (0.06, 4_000)], 0.5, 1e9
    mixed = mixed_samples(parts, power)
    apart = sum(drop * (far / samples) ** -power for drop, samples in parts)
    assert 0.08 * (far / mixed) ** -power == pytest.approx(apart, rel=1e-3)
    assert mixed_samples([(0.0, 10), (-0.1, 500)]) == 500
