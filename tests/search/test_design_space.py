"""Design spaces: the published networks that the quantized linear rule gives, and distributions of errors."""

from __future__ import annotations

import numpy as np
import pytest

from whet.core.errors import SpecError
from whet.search.design_space import Stage, quantized_linear, share_below, superiority

PUBLISHED = {  # depth, initial width, slope, multiplier: group width, widths and depths of the paper's RegNetX models
    (13, 24, 36.44, 2.49): (8, [24, 56, 152, 368], [1, 1, 4, 7]),
    (22, 24, 24.48, 2.54): (16, [32, 64, 160, 384], [1, 2, 7, 12]),
    (16, 48, 36.97, 2.24): (24, [48, 96, 240, 528], [1, 3, 5, 7]),
    (16, 56, 35.73, 2.28): (16, [64, 128, 288, 672], [1, 3, 7, 5]),
    (18, 80, 34.01, 2.25): (24, [72, 168, 408, 912], [2, 4, 10, 2]),
    (25, 88, 26.31, 2.25): (48, [96, 192, 432, 1008], [2, 6, 15, 2]),
}


@pytest.mark.parametrize("design", PUBLISHED)
def test_the_rule_gives_the_published_networks(design: tuple[int, float, float, float]) -> None:
    group, widths, depths = PUBLISHED[design]
    found = quantized_linear(*design)
    assert [s.depth for s in found] == depths
    assert [round(s.width / group) * group for s in found] == widths


def test_without_a_slope_there_is_one_stage() -> None:
    assert quantized_linear(5, 32, 0.0, 2.0) == [Stage(32, 5)]


def test_designs_that_do_not_grow_are_refused() -> None:
    with pytest.raises(SpecError, match="multiplier=1"):
        quantized_linear(5, 32, 4.0, 1)


def test_a_distribution_that_lies_above_is_superior() -> None:
    generator = np.random.default_rng(0)
    good, bad = generator.normal(0.3, 0.1, 300), generator.normal(0.4, 0.1, 300)
    assert all(share_below(good, e) >= share_below(bad, e) for e in (0.2, 0.3, 0.4, 0.5))
    grid = np.linspace(-1, 2, 4001)
    heights = [share_below(good, e) for e in grid]
    density = np.histogram(bad, grid)[0] / len(bad)
    assert superiority(good, bad) == pytest.approx(float(np.dot(heights[1:], density)), abs=0.01)
    assert superiority(good, bad) + superiority(bad, good) == pytest.approx(1.0)
