"""Sums of rank-one terms: a kernel of few terms keeps its values, and terms that cancel each other go."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.compress.factorize.cp import (
    CanonicalPolyadic,
    Factors,
    balanced,
    error,
    least_squares,
    sensitivity,
    stabilized,
    stable,
    started,
    summed,
)
from whet.core.checks import ValueRangeError
from whet.core.errors import DecisionError
from whet.core.space import Decision
from whet.graph.axes import analyze
from whet.graph.factors import chained
from whet.testing.passes import check
from whet.testing.runs import AlignedTarget, planning_run

TARGET = AlignedTarget()


def drawn(sizes: tuple[int, int, int], terms: int, seed: int = 0) -> Factors:
    generator = torch.Generator().manual_seed(seed)
    a, b, c = (torch.randn(n, terms, generator=generator).double() for n in sizes)
    return a, b, c


def norms(factors: Factors) -> Tensor:
    """Return |a_r o b_r o c_r| for each term r."""
    return torch.stack([f.norm(dim=0) for f in factors]).prod(0)


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.ReLU(),
        nn.Conv2d(12, 12, 1), nn.Conv2d(12, 12, 3, groups=12), nn.Flatten(), nn.Linear(48, 4),
    ).eval()  # fmt: skip


def test_conforms() -> None:
    net = whet.lift(convolutions(), (torch.randn(2, 3, 8, 8),))
    item = CanonicalPolyadic(rounds=1, sweeps=3, least=100, round_to=2)
    assert [c.name for c in item.space(net, TARGET)] == ["0:terms", "3:terms"], "no 1 x 1 and no divided one"
    assert len(check(item, net, TARGET, planning_run(net), count=1))


@pytest.mark.parametrize("stride, padding, dilation, bias", [(1, 1, 1, True), (2, 0, 1, False), (1, 2, 2, True)])
def test_a_kernel_of_few_terms_has_the_values_it_had(stride: int, padding: int, dilation: int, bias: bool) -> None:
    fraction = 0.25 * stride
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 6, 3, stride, padding, dilation, bias=bias)
    layer.weight.data = summed(drawn((6, 8, 9), 3)).float().view_as(layer.weight)
    net = whet.lift(nn.Sequential(layer, nn.ReLU()).eval(), (torch.randn(2, 8, 10, 10),))
    item = CanonicalPolyadic((fraction, 1.0), round_to=1, least=100)
    terms = item.terms(layer, fraction)
    assert 3 <= terms < 6
    result = item.apply(net, Decision({"0:terms": fraction}), planning_run(net))
    assert list(result.net.layers())[:3] == ["0.reduce", "0.kernel", "0.expand"]
    assert result.texts == {"0": f"{terms} terms of rank one, 0.0% of the kernel's energy lost"}
    x = torch.randn(4, 8, 10, 10)
    torch.testing.assert_close(result.net(x), net(x), rtol=1e-3, atol=1e-3 * float(net(x).abs().max()))


def test_sensitivity_is_the_squared_length_of_all_derivatives() -> None:
    """E |sum (a + da) o (b + db) o (c + dc) - sum a o b o c|^2 / v to first order, for noise of variance v."""
    factors = drawn((4, 3, 5), 2)
    derivatives = torch.autograd.functional.jacobian(lambda *f: summed(f), factors)  # type: ignore[no-untyped-call]
    wanted = sum(float(d.square().sum()) for d in derivatives)
    assert sensitivity(factors) == pytest.approx(wanted)


def test_terms_that_cancel_each_other_go_and_the_kernel_stays() -> None:
    few = drawn((6, 8, 9), 3)
    more = drawn((6, 8, 9), 1, seed=1)
    large: Factors = (
        torch.cat([few[0], 40 * more[0], -40 * more[0]], 1),
        torch.cat([few[1], more[1], more[1]], 1),
        torch.cat([few[2], more[2], more[2]], 1),
    )
    kernel = summed(few)
    bound = 1e-6 * float(kernel.square().sum())
    found = stabilized(kernel, large, bound, 20)
    assert error(kernel, found) <= bound * (1 + 1e-6)
    assert float(norms(large).max()) > 20 * float(norms(few).max())
    assert float(norms(found).max()) < 1.2 * float(norms(few).max())


def test_at_an_equal_error_terms_are_less_sensitive_with_each_sweep() -> None:
    kernel = torch.randn(8, 8, 9, generator=torch.Generator().manual_seed(0)).double()
    factors = balanced(least_squares(kernel, started(kernel, 20), 100))
    bound = error(kernel, factors)
    steps = [factors, *(stabilized(kernel, factors, bound, n) for n in (1, 2, 10))]
    seen = [sensitivity(f) for f in steps]
    assert all(b < a for a, b in pairwise(seen)) and seen[-1] < 0.8 * seen[0]
    assert [error(kernel, f) / bound for f in steps] == pytest.approx([1.0] * 4, abs=1e-6), "the bound is used up"
    assert float(norms(steps[-1]).square().sum()) < 0.8 * float(norms(factors).square().sum())


def test_the_error_falls_to_what_alternating_least_squares_comes_to_and_terms_stay_smaller() -> None:
    kernel = torch.randn(8, 8, 9, generator=torch.Generator().manual_seed(0)).double()
    free = balanced(least_squares(kernel, started(kernel, 20), 100))
    held = stable(kernel, 20, 4, 25)
    assert error(kernel, held) < 1.05 * error(kernel, free)
    assert sensitivity(held) < 0.9 * sensitivity(free)


def test_balanced_terms_are_the_same_and_their_sensitivity_is_the_least_of_all_scales() -> None:
    factors = drawn((4, 3, 5), 2)
    found = balanced(factors)
    torch.testing.assert_close(summed(found), summed(factors))
    assert sensitivity(found) == pytest.approx(3 * 60 ** (1 / 3) * float((norms(factors) ** (4 / 3)).sum()))
    for scale in (0.9, 1.1):
        assert sensitivity((found[0] * scale, found[1] / scale, found[2])) > sensitivity(found)


def test_a_fraction_is_of_the_operations() -> None:
    item, layer = CanonicalPolyadic(), nn.Conv2d(64, 32, 3, stride=2)
    for fraction in (0.25, 0.5, 0.75):
        terms = item.terms(layer, fraction)
        assert terms * (64 * 4 + 9 + 32) / (64 * 32 * 9) == pytest.approx(fraction, abs=0.07) and terms % 8 == 0
    net = whet.lift(convolutions(), (torch.randn(2, 3, 8, 8),))
    item = CanonicalPolyadic(least=800, round_to=1)
    shares = item.shares(net, planning_run(net))
    assert list(shares) == ["3:terms"]
    assert [s["3"] for s in shares["3:terms"]] == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.1)


def test_what_is_left_is_trained_and_cut_as_any_other_chain() -> None:
    net = whet.lift(convolutions(), (torch.randn(2, 3, 8, 8),))
    item = CanonicalPolyadic(rounds=1, sweeps=2, least=800, round_to=2)
    result = item.apply(net, Decision({"3:terms": 0.5, "gone:terms": 0.5}), planning_run(net))
    assert "no convolution of that name" in result.skipped["gone"]
    groups = analyze(result.net).groups
    assert chained(result.net) == ["3"] and groups["3.reduce"].size == item.terms(net.layer("3"), 0.5)  # type: ignore[arg-type]
    assert len(groups["3.reduce"].members) == 3


def test_bad_input() -> None:
    with pytest.raises(DecisionError, match="must lie in"):
        CanonicalPolyadic((0.5,))
    with pytest.raises(ValueRangeError, match="rounds"):
        CanonicalPolyadic(rounds=0)
