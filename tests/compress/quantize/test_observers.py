from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.compress.quantize.observers import Seen, grid, mean_squared_error, min_max, percentile, rounding_error


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["normal", "relu", "heavy"]))
def test_least_error_is_never_above_that_of_the_whole_range(seed: int, kind: str) -> None:
    x = torch.randn(2000, generator=torch.Generator().manual_seed(seed))
    x = {"normal": x, "relu": x.relu(), "heavy": x**5}[kind]
    seen = Seen.whole(x)
    assert rounding_error(x, *mean_squared_error(seen)) <= rounding_error(x, *min_max(seen))


@given(st.floats(-100, 100), st.floats(0, 100))
def test_the_grid_holds_zero_exactly(low: float, width: float) -> None:
    scale, zero = grid(low, low + width)
    assert scale > 0 and 0 <= zero <= 255
    assert (zero - zero) * scale == 0.0


@given(st.floats(-100, 100), st.floats(0.001, 100))
def test_the_grid_is_symmetric_and_holds_the_range(low: float, width: float) -> None:
    scale, zero = grid(low, low + width)
    assert zero == (128 if low < 0 else 0)
    assert -zero * scale <= min(low, 0.0) * (1 - 1e-9) and (255 - zero) * scale >= (low + width) * (1 - 1e-9)


def test_percentile_holds_its_share() -> None:
    x = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    low, high = percentile(Seen.whole(x), 0.99)
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
