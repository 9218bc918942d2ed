"""The deep ensemble: likelihood, mixture and adversarial examples against their closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from whet.search.predictors.ensemble import REACH, Ensemble, Members, Mixture, adversarial, surprise


def waves(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).random((count, 3))
    return x, np.sin(4 * x[:, 0]) + x[:, 1] * x[:, 2]


def test_the_mixtures_moments_are_those_of_draws_from_its_members() -> None:
    """A draw is one member's, by lot: its variance is what members expect and how far they are apart."""
    mixture = Mixture(np.array([[-2.0], [1.0], [4.0]]), np.array([[0.25], [1.0], [4.0]]))
    assert mixture.mean == pytest.approx([1.0])
    assert mixture.variance == pytest.approx([(0.25 + 1 + 4) / 3 + 6.0])
    generator = np.random.default_rng(0)
    lot = generator.integers(3, size=400_000)
    draws = mixture.means[lot, 0] + np.sqrt(mixture.variances[lot, 0]) * generator.standard_normal(len(lot))
    assert mixture.variance[0] == pytest.approx(draws.var(), rel=0.01)


def test_predictions_are_those_of_the_mixture_in_the_values_own_unit() -> None:
    x, y = waves(20)
    model = Ensemble(steps=30).fit(x, 100 + 7 * y)
    mixture = model.mixture(x)
    mean, deviation = model.predict(x)
    np.testing.assert_allclose(mean, mixture.means.mean(0))
    np.testing.assert_allclose(deviation**2, mixture.variances.mean(0) + mixture.means.var(0), rtol=1e-9)
    np.testing.assert_allclose(mean, 100 + 7 * Ensemble(steps=30).fit(x, y).predict(x)[0], rtol=1e-9)


def test_the_score_is_proper() -> None:
    """Of all normal distributions the true one has the least mean score; log densities tell what it is."""
    values = torch.tensor(np.random.default_rng(0).normal(1.5, 0.7, 100_000))
    mean, variance = values.mean(), values.var(correction=0)
    least = surprise(mean, variance, values).mean()
    for other, spread in ((mean + 0.1, variance), (mean, 1.2 * variance), (mean, variance / 1.2)):
        assert surprise(other, spread, values).mean() > least
    density = torch.distributions.Normal(mean, variance.sqrt()).log_prob(values)
    torch.testing.assert_close(surprise(mean, variance, values), -density - 0.5 * np.log(2 * np.pi))


@pytest.mark.parametrize(("centre", "noise"), [(0.0, 1.0), (-40.0, 0.2)])
def test_rows_that_are_alike_are_forecast_by_their_mean_and_their_variance(centre: float, noise: float) -> None:
    """Where features tell nothing, the likelihood is largest at the mean and the variance of the values."""
    values = np.random.default_rng(1).normal(centre, noise, 60)
    mean, deviation = Ensemble().fit(np.full((60, 2), 0.5), values).predict(np.full((1, 2), 0.5))
    assert mean[0] == pytest.approx(values.mean(), abs=0.05 * noise)
    assert deviation[0] == pytest.approx(values.std(), rel=0.1)


def test_noise_is_seen_where_it_is() -> None:
    """The left half is exact, the right half noisy: likelihood tells, a spread of means does not."""
    generator = np.random.default_rng(0)
    x = generator.random((200, 1))
    noise = np.where(x[:, 0] < 0.5, 0.02, 0.5)
    model = Ensemble().fit(x, x[:, 0] + noise * generator.standard_normal(200))
    variances = model.mixture(np.array([[0.25], [0.75]])).variances.mean(0)
    assert variances[0] < 0.1**2 and 0.3**2 < variances[1] < 0.7**2


def test_members_differ_by_their_start_alone_and_most_where_nothing_is_known() -> None:
    x, y = waves(30)
    model = Ensemble().fit(x, y)
    apart = [model.mixture(rows).means.std(0).mean() for rows in (x, x + 1.5)]
    assert 1e-6 < apart[0] / y.std() < 0.1 and apart[1] > 5 * apart[0], "members that are equal are apart by rounding"
    single = Ensemble(members=1).fit(x, y).mixture(x)
    assert single.means.shape == (1, 30) and single.variance == pytest.approx(single.variances[0])
    again, other = (Ensemble(seed).fit(x, y).predict(x)[0] for seed in (0, 1))
    assert np.array_equal(again, model.predict(x)[0]) and not np.array_equal(other, again)


def test_every_member_begins_with_weights_of_its_own_at_the_scale_of_their_fan_in() -> None:
    network = Members(5, 8, torch.Generator().manual_seed(0))
    for tensor in (network.inner, network.outer, network.bias):
        tensor.requires_grad_(False)
        assert len({float(member.sum()) for member in tensor}) == 5
    assert float(network.inner.var()) == pytest.approx(2 / 8, rel=0.15)
    assert float(network.outer.var()) == pytest.approx(2 / 50, rel=0.15)
    squares = 8 / 2 * network.inner.square().sum() + 50 / 2 * network.outer.square().sum()
    assert float(network.prior()) == pytest.approx(float(squares) / 2), "the prior is the distribution of the start"


def test_members_read_nothing_of_each_other() -> None:
    network = Members(3, 2, torch.Generator().manual_seed(0))
    x = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    [slope] = torch.autograd.grad(torch.stack(network(x))[:, 1].sum(), x)
    assert slope[1].abs().sum() > 0 and not slope[0].any() and not slope[2].any()


def fitted_slope(model: Ensemble, x: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The losses of one fitted network, the rows that it reads, and the slopes of the former by the latter."""
    assert model._network is not None
    rows = model._rows(x).clone().requires_grad_()
    losses = surprise(*model._network(rows), torch.tensor((y - model._mean) / model._scale))
    [slope] = torch.autograd.grad(losses.sum(), rows)
    return losses.detach(), rows.detach(), slope


def test_adversarial_rows_are_the_worst_within_reach_to_first_order() -> None:
    """Goodfellow et al. 2015: the loss grows by `sum_i reach_i |dl/dx_i|`; each feature moves by its own reach."""
    x, y = waves(30)
    model = Ensemble(steps=60).fit(x, y)
    losses, rows, slope = fitted_slope(model, x, y)
    reach = torch.tensor([1e-7, 3e-7, 0.0], dtype=torch.float64)
    worse = adversarial(rows, slope, reach)
    torch.testing.assert_close((worse - rows).abs().amax((0, 1)), reach, rtol=1e-5, atol=0)
    assert model._network is not None
    with torch.no_grad():
        after = surprise(*model._network(worse), torch.tensor((y - model._mean) / model._scale))
    torch.testing.assert_close(after - losses, (slope.abs() * reach).sum(-1), rtol=1e-2, atol=1e-9)


def test_training_on_adversarial_rows_makes_the_forecast_smooth_about_each_row() -> None:
    """The paper's reason for them: an attack of one fifth of the range costs less than without."""
    x, y = waves(40)
    gained = []
    for reach in (0.0, REACH, 0.1):
        model = Ensemble(reach=reach).fit(x, y)
        losses, rows, slope = fitted_slope(model, x, y)
        assert model._network is not None
        worse = adversarial(rows, slope, torch.full((3,), 0.2, dtype=torch.float64))
        with torch.no_grad():
            after = surprise(*model._network(worse), torch.tensor((y - model._mean) / model._scale))
        gained.append(float((after - losses).median()))
    assert gained[2] < 0.5 * gained[0]
    assert gained[1] < gained[0]
