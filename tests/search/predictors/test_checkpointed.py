"""Checkpoints as graphs: the embedding is blind to the order of neurons alone, and forecasts are better for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from whet.core.errors import StudyError
from whet.search.predictors.checkpointed import Checkpoint, Checkpointed, DeepKernel
from whet.search.predictors.metanetwork import Metanetwork, Round, State, stacked


@pytest.fixture(scope="module")
def metanetwork() -> Metanetwork:
    torch.manual_seed(0)
    return Metanetwork()


def convolutional() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2)
    )


def permuted(state: State, first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Reorder the channels of both convolutions, and what reads them."""
    return {
        "0.weight": state["0.weight"][first],
        "0.bias": state["0.bias"][first],
        "2.weight": state["2.weight"][second][:, first],
        "2.bias": state["2.bias"][second],
        "5.weight": state["5.weight"].reshape(2, 3, 16)[:, second].reshape(2, 48),
        "5.bias": state["5.bias"],
    }


def test_the_order_of_hidden_channels_does_not_matter(metanetwork: Metanetwork) -> None:
    network, other, x = convolutional(), convolutional(), torch.randn(5, 2, 8, 8)
    state = permuted(network.state_dict(), torch.tensor([2, 0, 3, 1]), torch.tensor([1, 2, 0]))
    other.load_state_dict(state)
    torch.testing.assert_close(other(x), network(x), atol=1e-5, rtol=0)
    both = metanetwork(stacked([network.state_dict(), state]))
    torch.testing.assert_close(both[0], both[1], atol=1e-9, rtol=0)


def test_a_round_of_messages_is_its_equations() -> None:
    """e_uv += silu(A e_uv + B h_u + C h_v), h_v += silu(D h_v + E mean_u e_uv + F mean_w e_vw), one by one."""
    torch.manual_seed(0)
    step, silu = Round(3).double(), nn.functional.silu
    neurons = [torch.randn(1, n, 3).double() for n in (2, 3, 2)]
    edges = [torch.randn(1, b, a, p, 3).double() for a, b, p in ((2, 3, 4), (3, 2, 1))]
    with torch.no_grad():
        found_neurons, found_edges = step(neurons, edges)
        for k, edge in enumerate(edges):
            for v, u, p in np.ndindex(*edge.shape[1:4]):
                own = edge[0, v, u, p]
                heard = step.edge(own) + step.source(neurons[k][0, u]) + step.sink(neurons[k + 1][0, v])
                torch.testing.assert_close(found_edges[k][0, v, u, p], own + silu(heard))
        for k, layer in enumerate(neurons):
            for v in range(layer.shape[1]):
                heard = step.neuron(layer[0, v])
                if k > 0:
                    heard = heard + step.incoming(found_edges[k - 1][0, v].mean((0, 1)))
                if k < 2:
                    heard = heard + step.outgoing(found_edges[k][0, :, v].mean((0, 1)))
                torch.testing.assert_close(found_neurons[k][0, v], layer[0, v] + silu(heard))


def test_every_tensor_and_the_order_of_inputs_and_outputs_matter(metanetwork: Metanetwork) -> None:
    state = convolutional().state_dict()
    moved = [{**state, name: state[name] + 0.3} for name in state]
    swapped = [
        {**state, "0.weight": state["0.weight"].flip(1)},
        {**state, "5.weight": state["5.weight"].flip(0), "5.bias": state["5.bias"].flip(0)},
    ]
    found = metanetwork(stacked([state, *moved, *swapped]))
    apart = (found[1:] - found[0]).abs().amax(1)
    assert (apart[: len(moved)] > 1e-4).all()
    assert (apart > 1e-6).all()


def test_architectures_are_mixed_without_mixing_rows(metanetwork: Metanetwork) -> None:
    torch.manual_seed(2)
    wide, deep = nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    states = [wide.state_dict(), deep.state_dict(), {k: v * 2 for k, v in wide.state_dict().items()}]
    found = metanetwork(stacked(states))
    alone = torch.cat([metanetwork(stacked([state])) for state in states])
    torch.testing.assert_close(found, alone, atol=1e-9, rtol=0)


def test_what_is_minimised_is_the_negative_log_likelihood_of_the_kernels_process() -> None:
    """log N(y; 0, K + noise) with k(a, b) = scale exp(-|a - b|^2 / (2 width)), less its constant, a row."""
    torch.manual_seed(0)
    kernel, phi, targets = DeepKernel(2, weights=False), torch.randn(6, 4).double(), torch.randn(6).double()
    with torch.no_grad():
        kernel.log_scale.fill_(0.7)
        square = (phi[:, None] - phi[None]).square().sum(-1)
        covariance = np.exp(0.7) * torch.exp(-square / (2 * 4)) + kernel.noise * torch.eye(6).double()
        normal = torch.distributions.MultivariateNormal(torch.zeros(6).double(), covariance)
        expected = -(normal.log_prob(targets) + 3 * np.log(2 * np.pi)) / 6
        torch.testing.assert_close(kernel.surprise(phi, targets), expected)
        torch.testing.assert_close(kernel.prior(phi), covariance)


def test_budgets_and_the_highest_point_of_a_curve_are_read_wherever_it_is() -> None:
    """Values that are the budget, or a spike at a place by lot: settings tell nothing of either."""
    generator = np.random.default_rng(0)
    state = nn.Linear(1, 1).state_dict()
    rows, values = [], {"budget": list[float](), "spike": list[float]()}
    for _ in range(90):
        curve = np.zeros(6)
        curve[generator.integers(6)] = height = generator.random()
        rows.append(Checkpoint(generator.random(2), float(generator.random()), curve.tolist(), state))
        values["budget"].append(rows[-1].budget)
        values["spike"].append(height)
    for name, every in values.items():
        truth = np.array(every)
        model = Checkpointed(weights=False, steps=120).fit(rows[:60], truth[:60])
        error = np.abs(model.predict(rows[60:])[0] - truth[60:]).mean()
        assert error < 0.4 * truth.std(), name


def trainings(count: int, seed: int) -> tuple[list[Checkpoint], np.ndarray]:
    """Trainings that end the worse the more their hidden weights have grown; settings and curves tell little of it."""
    source = torch.Generator().manual_seed(seed)
    rows, ends = [], []
    for _ in range(count):
        grown = 0.3 + 1.7 * torch.rand((), generator=source)
        weights = {
            "0.weight": grown * torch.randn(6, 3, generator=source),
            "0.bias": 0.1 * torch.randn(6, generator=source),
            "2.weight": 0.3 * torch.randn(1, 6, generator=source),
            "2.bias": torch.zeros(1),
        }
        settings = torch.rand(2, generator=source, dtype=torch.float64).numpy()
        curve = (0.9 + 0.02 * torch.randn(3, generator=source)).tolist()
        rows.append(Checkpoint(settings, 1.0, curve, weights))
        ends.append(float(weights["0.weight"].square().mean().sqrt()) + 0.2 * float(settings[0]))
    return rows, np.array(ends)


@pytest.fixture(scope="module")
def fitted() -> Checkpointed:
    return Checkpointed().fit(*trainings(80, 0))


def test_checkpoints_forecast_the_end_where_settings_and_curves_do_not(fitted: Checkpointed) -> None:
    new, truth = trainings(80, 1)
    blind = Checkpointed(weights=False).fit(*trainings(80, 0))
    errors = [float(np.sqrt(np.square(model.predict(new)[0] - truth).mean())) for model in (fitted, blind)]
    assert errors[0] < 0.6 * errors[1]
    assert errors[0] < 0.6 * truth.std()


def test_what_was_seen_is_as_uncertain_as_the_noise_and_the_strange_more(fitted: Checkpointed) -> None:
    """A latent value that was measured once has a variance below the noise; a measurement of it adds the noise."""
    rows, values = trainings(80, 0)
    deviation = fitted.predict(rows)[1]
    assert (deviation**2 > 0.999 * fitted.noise_variance).all()
    assert (deviation**2 < 2.001 * fitted.noise_variance).all()
    assert fitted.noise_variance < 0.5 * values.var()
    strange = Checkpoint(rows[0].features, 1.0, rows[0].curve, {k: 10 * v for k, v in rows[0].weights.items()})
    assert fitted.predict([strange])[1][0] > 1.3 * deviation.max()


def test_a_row_is_forecast_alike_whatever_is_asked_beside_it(fitted: Checkpointed) -> None:
    rows, _ = trainings(2, 2)
    short, never = (Checkpoint(rows[0].features, 1.0, curve, rows[0].weights) for curve in ([0.8], []))
    together = np.array(fitted.predict([short, never, rows[1]]))
    alone = np.array([fitted.predict([row]) for row in (short, never, rows[1])])[:, :, 0].T
    np.testing.assert_allclose(together, alone, rtol=1e-8)
    assert fitted.predict([])[0].shape == (0,)


def test_the_seed_decides_and_the_state_of_chance_is_left_alone() -> None:
    rows, values = trainings(6, 3)
    before = torch.get_rng_state()
    means = [Checkpointed(seed, steps=5).fit(rows, values).predict(rows)[0] for seed in (0, 0, 1)]
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(means[0], means[1]) and not np.array_equal(means[0], means[2])


def test_equal_values_and_a_single_row_are_survived() -> None:
    rows, _ = trainings(3, 4)
    for model in (Checkpointed().fit(rows, np.full(3, 5.0)), Checkpointed().fit(rows[:1], np.array([5.0]))):
        mean, deviation = model.predict(rows)
        np.testing.assert_allclose(mean, 5.0)
        assert np.isfinite(deviation).all()


def test_asked_before_it_has_data_or_of_other_features() -> None:
    rows, values = trainings(3, 5)
    with pytest.raises(StudyError, match="before it had data"):
        Checkpointed().predict(rows)
    with pytest.raises(StudyError, match="got 3 and 2"):
        Checkpointed().fit(rows, values[:2])
    other = Checkpoint(np.zeros(5), 1.0, [], rows[0].weights)
    with pytest.raises(StudyError, match="rows have 2 features"):
        Checkpointed(steps=1).fit(rows, values).predict([other])
    with pytest.raises(StudyError, match=r"from 0 to 1; got 1\.5"):
        Checkpoint(np.zeros(2), 1.5, [], rows[0].weights)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4)), r"got '1\.weight' of shape \(4,\)"),
        (nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, groups=4)), r"'1\.weight' reads 1 channels, not 4"),
        (nn.Sequential(nn.Linear(2, 4), nn.Linear(6, 1)), r"'1\.weight' reads 6 channels, not 4"),
        (nn.ReLU(), "no weight"),
    ],
)
def test_what_is_no_chain_is_refused_by_name(network: nn.Module, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        stacked([network.state_dict()])
