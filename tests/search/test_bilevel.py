"""Architecture gradients on the toy of the DARTS paper, where everything is known: L_train = (w - a)^2, w* = a."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from whet.core.errors import SpecError
from whet.search.bilevel import Relaxed, amended_gradient, first_order_gradient


def train(w: Tensor, a: Tensor) -> Tensor:
    return (w**2 - 2 * a * w + a**2).sum()


def val(w: Tensor, a: Tensor) -> Tensor:
    return (a * w - 2 * a + 1).sum()


def descended(gradient: object, **options: float) -> tuple[float, float]:
    w, a = torch.full((1,), -2.0), torch.full((1,), 2.5)
    for _ in range(2000):
        w = w - 0.1 * (2 * w - 2 * a)
        a = a - 0.05 * gradient(train, val, w, a, **options)  # type: ignore[operator]
    return float(w), float(a)


def test_first_order_goes_to_the_wrong_architecture() -> None:
    assert descended(first_order_gradient) == (pytest.approx(2.0, abs=1e-3), pytest.approx(2.0, abs=1e-3))


def test_amended_with_the_inverse_of_a_constant_curvature_squared_is_exact() -> None:
    """Here H = 2, so `amending * H = H^-1` at a quarter; the optimum is a = w = 1."""
    assert descended(amended_gradient, amending=0.25) == (pytest.approx(1.0, abs=1e-3), pytest.approx(1.0, abs=1e-3))
    assert descended(amended_gradient, amending=0.1)[1] == pytest.approx(2 / 1.4, abs=1e-3)


def test_the_amending_term_never_opposes_the_exact_one() -> None:
    """With a mixed second derivative that keeps angles, the angle between both stays below 90 degrees."""
    source = torch.Generator().manual_seed(0)
    for _ in range(20):
        root = torch.randn(5, 5, generator=source, dtype=torch.float64)
        curvature = root @ root.T + 0.1 * torch.eye(5, dtype=torch.float64)
        mixed = torch.linalg.qr(torch.randn(5, 5, generator=source, dtype=torch.float64))[0]
        slope = torch.randn(5, generator=source, dtype=torch.float64)
        loss = lambda w, a: 0.5 * w @ curvature @ w + a @ mixed @ w  # noqa: E731, B023
        judge = lambda w, a: slope @ w + 0.0 * a.sum()  # noqa: E731, B023
        zero = torch.zeros(5, dtype=torch.float64)
        amended = amended_gradient(loss, judge, zero, zero, amending=1.0)
        exact = -mixed @ torch.linalg.solve(curvature, slope)
        assert torch.allclose(amended, -mixed @ curvature @ slope)
        assert float(amended @ exact) > 0


@pytest.mark.parametrize(("train_weight", "coupling"), [(10.0, 10.0), (40.0, 50.0)])
def test_relaxed_search_goes_to_its_known_stationary_point(train_weight: float, coupling: float) -> None:
    """All gradients of the relaxed loss vanish at a = 2 / (2 - 1/(2 lambda) - 1/beta), which goes to 1."""
    found = Relaxed(torch.full((1,), -2.0), torch.full((1,), -2.0), torch.full((1,), 2.5), train_weight, coupling)
    for _ in range(3_000):
        found.step(train, val, 0.01, 0.03)
    wanted = 2 / (2 - 1 / (2 * train_weight) - 1 / coupling)
    assert float(found.a) == pytest.approx(wanted, abs=2e-3)
    assert abs(float(found.a) - 1) < 0.1 < abs(descended(first_order_gradient)[1] - 1)


def test_copies_of_different_shapes_are_refused() -> None:
    with pytest.raises(SpecError, match="one shape"):
        Relaxed(torch.zeros(2), torch.zeros(3), torch.zeros(1))


def test_each_of_the_three_sees_the_others_newest_value() -> None:
    """w, y and a in turn, as Gauss and Seidel did: y moves towards the new w, and a sees both new."""
    w, y, a, rate, slow, weight, coupling = -1.0, 2.0, 0.5, 0.1, 0.2, 3.0, 0.7
    found = Relaxed(torch.tensor([y]), torch.tensor([w]), torch.tensor([a]), weight, coupling)
    found.step(train, val, rate, slow)
    w -= rate * (weight * (2 * w - 2 * a) + coupling * (w - y))
    y -= rate * (a + coupling * (y - w))
    a -= slow * ((y - 2) + weight * (2 * a - 2 * w))
    assert (float(found.w), float(found.y), float(found.a)) == pytest.approx((w, y, a), rel=1e-6)


def test_the_amended_gradient_of_a_quadratic_is_the_papers() -> None:
    """For L_train = (w - a)^2 and L_val = a w - 2 a + 1: H = 2, the mixed derivative -2, so a's is w - 2 + 4 eta a."""
    w, a = torch.tensor([1.5]), torch.tensor([-0.5])
    for amending in (0.0, 0.1, 0.3):
        assert float(amended_gradient(train, val, w, a, amending)) == pytest.approx(1.5 - 2 + 4 * amending * -0.5)
