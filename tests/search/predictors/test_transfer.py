"""Transfer: what full precision taught is kept, few quantized rows add what bits do, and both beat pooling."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from whet.core.errors import StudyError
from whet.search.predictors.transfer import Forecast, Transfer, trained

FEW, MANY = 40, 400


def rows(count: int, seed: int, bits: bool) -> tuple[np.ndarray, np.ndarray]:
    """Eight columns of structure and two of bits: quality is a bent function of the structure, less what bits cost."""
    generator = np.random.default_rng(seed)
    x = generator.random((count, 10))
    if not bits:
        x[:, 8:] = 1.0
    structure = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2] + x[:, 3] ** 2 - x[:, 4]
    return x, structure - 0.3 * (1 - x[:, 8]) - 0.2 * (1 - x[:, 9]) * x[:, 0]


@pytest.mark.parametrize(("shift", "rehearsed"), [(0.0, True), (0.3, False)])
def test_few_quantized_rows_are_enough_beside_many_in_full_precision(shift: float, rehearsed: bool) -> None:
    """APQ's point, against its rivals: all rows learnt at once, and the few alone; on one scale, and on two."""
    (cheap_x, cheap_y), (few_x, few_y), (new_x, new_y) = rows(MANY, 0, False), rows(FEW, 1, True), rows(400, 2, True)
    x, y = np.concatenate([cheap_x, few_x]), np.concatenate([cheap_y * (1 + shift) + shift, few_y])
    transfer = Transfer().fit(x, y, np.arange(len(x)) < MANY)
    rivals = [Transfer().fit(x, y), Transfer().fit(few_x, few_y)]
    ours, pooled, alone = (np.abs(model.predict(new_x) - new_y).mean() for model in (transfer, *rivals))
    assert ours < 0.75 * pooled and ours < 0.4 * alone
    assert transfer.rehearsed is rehearsed
    assert ours < 0.15 * new_y.std()


def small(seed: int = 0) -> tuple[Forecast, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    source = torch.Generator().manual_seed(seed)
    structure, policy = (torch.rand(12, n, generator=source, dtype=torch.float64) for n in (3, 2))
    return Forecast(3, 2, source), (structure, policy, structure[:, 0] - policy[:, 1])


def test_a_network_begins_blind_to_the_policy_and_learns_it() -> None:
    start, data = small()
    with torch.no_grad():
        assert torch.equal(start(data[0], data[1]), start(data[0], torch.zeros(12, 2, dtype=torch.float64)))
    tuned = trained(start, data, 200, 1e-2, 1e-4, anchored=True)
    assert not start.policy.any() and tuned.policy.abs().max() > 0.05
    assert float((tuned(*data[:2]) - data[2]).detach().abs().mean()) < 0.05


@pytest.mark.parametrize("anchored", [True, False])
def test_weights_are_held_near_what_they_were_or_near_zero(anchored: bool) -> None:
    """Under a penalty beyond all else nothing moves, or everything vanishes."""
    start, data = small()
    end = trained(start, data, 300, 6e-2, 1e6, anchored=anchored)
    for before, after in zip(start.parameters(), end.parameters(), strict=True):
        torch.testing.assert_close(after, before if anchored else torch.zeros_like(after), atol=5e-2, rtol=0)


def test_the_end_is_stationary_in_loss_and_penalty_together() -> None:
    """No weight moves `mse + penalty |theta - theta_0|^2` at first order."""
    start, data = small()
    end = trained(start, data, 1500, 1e-2, 0.05, anchored=True)
    pairs = zip(end.parameters(), start.parameters(), strict=True)
    own = torch.stack([(after - before.detach()).square().sum() for after, before in pairs]).sum()
    loss = torch.nn.functional.mse_loss(end(*data[:2]), data[2])
    slopes = [torch.autograd.grad(part, list(end.parameters())) for part in (loss, 0.05 * own)]
    whole = sum(float((a + b).square().sum()) for a, b in zip(*slopes, strict=True)) ** 0.5
    assert whole < 0.05 * sum(float(a.square().sum()) for a in slopes[0]) ** 0.5


def test_the_policy_is_what_full_precision_holds_constant_and_zero_there() -> None:
    x, y = rows(30, 3, True)
    x[:20, 8:] = [1.0, 0.75]
    x[:, 2] = 0.5  # alike everywhere: what it is called makes no difference
    model = Transfer().fit(x, y, np.arange(30) < 20)
    assert model._policy[[8, 9]].all() and not model._policy[[0, 1, 3, 4, 5, 6, 7]].any()
    structure, policy, _ = model._rows(x, y)
    assert not policy[:20].any() and policy[20:].any(1).all()
    assert structure.shape[1] + policy.shape[1] == 10


def test_all_rows_cheap_or_a_single_one_that_is_not() -> None:
    x, y = rows(12, 4, True)
    x[:11, 8:] = 1.0
    whole = Transfer().fit(x, y, np.ones(12, dtype=bool)).predict(x)
    np.testing.assert_array_equal(whole, Transfer().fit(x, y).predict(x))
    one = Transfer().fit(x, y, np.arange(12) < 11)
    assert not one.rehearsed and np.isfinite(one.predict(x)).all()


def test_asked_before_it_has_data() -> None:
    with pytest.raises(StudyError, match="before it had data"):
        Transfer().predict(np.zeros((1, 2)))
    with pytest.raises(StudyError, match="no measurement"):
        Transfer().fit(np.zeros((0, 2)), np.zeros(0))
