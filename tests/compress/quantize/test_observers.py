from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.compress.quantize.observers import (
    Grid,
    Seen,
    asymmetric,
    mean_squared_error,
    min_max,
    percentile,
    rounding_error,
    symmetric,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["normal", "relu", "heavy"]), st.sampled_from([symmetric, asymmetric]))
def test_least_error_is_never_above_that_of_the_whole_range(seed: int, kind: str, grid: Grid) -> None:
    x = torch.randn(2000, generator=torch.Generator().manual_seed(seed))
    x = {"normal": x, "relu": x.relu(), "heavy": x**5}[kind]
    seen = Seen.whole(x)
    assert rounding_error(x, *mean_squared_error(seen, grid), grid) <= rounding_error(x, *min_max(seen, grid), grid)


@given(st.floats(-100, 100), st.floats(0, 100), st.sampled_from([symmetric, asymmetric]))
def test_any_range_has_a_grid_that_holds_zero(low: float, width: float, grid: Grid) -> None:
    scale, zero = grid(low, low + width)
    assert scale > 0 and 0 <= zero <= 255
    assert (zero - zero) * scale == 0.0


@given(st.floats(-100, 100), st.floats(0.001, 100))
def test_the_asymmetric_grid_spans_the_range_to_a_step(low: float, width: float) -> None:
    scale, zero = asymmetric(low, low + width)
    assert scale > 0 and 0 <= zero <= 255
    ends = -zero * scale, (255 - zero) * scale
    assert ends == pytest.approx((min(low, 0.0), max(low + width, 0.0)), abs=scale * (1 + 1e-6))


@given(st.floats(-100, 100), st.floats(0.001, 100))
def test_the_symmetric_grid_holds_the_range(low: float, width: float) -> None:
    scale, zero = symmetric(low, low + width)
    assert zero == (128 if low < 0 else 0)
    assert -zero * scale <= min(low, 0.0) * (1 - 1e-9) and (255 - zero) * scale >= (low + width) * (1 - 1e-9)


def test_percentile_holds_its_share() -> None:
    x = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    low, high = percentile(Seen.whole(x), share=0.99)
    assert float(((x >= low) & (x <= high)).float().mean()) == pytest.approx(0.99, abs=1e-3)


def test_an_outlier_is_clipped_by_least_error_but_not_by_min_max() -> None:
    seen = Seen.whole(torch.cat([torch.rand(100_000), torch.tensor([4.0])]))
    assert min_max(seen)[1] == 4.0
    assert mean_squared_error(seen)[1] < 4.0


def test_extremes_bound_the_range_and_do_not_weigh_in_the_sample() -> None:
    sample = torch.linspace(0.0, 1.0, 1001)
    batches = [Seen(sample, -50.0, 1.0), Seen(sample, 0.0, 90.0)]
    seen = Seen.of(batches)
    assert min_max(seen) == (-50.0, 90.0)
    assert percentile(seen, 0.999) == pytest.approx((0.0, 1.0), abs=0.01)
    assert mean_squared_error(seen)[1] < 90.0


def test_a_one_sided_tensor_is_rounded_half_as_finely_by_the_symmetric_grid() -> None:
    x = torch.rand(10_000, generator=torch.Generator().manual_seed(0)) * 10 - 0.2
    assert rounding_error(x, *min_max(Seen.whole(x))) == pytest.approx(
        4 * rounding_error(x, *min_max(Seen.whole(x)), asymmetric), rel=0.1
    )
