"""Fast scaling: the paper's exponents, and the decisions nearest to a scaling."""

from __future__ import annotations

import pytest

from whet.core.errors import SpecError
from whet.core.space import Choice, Decision, Space
from whet.search.scaling import FAST, UNIFORM, scaled, scaling
from whet.testing.strategies import WIDTHS


@pytest.mark.parametrize(("alpha", "exponent"), [(1.0, 0.5), (FAST, 0.6), (UNIFORM, 5 / 6), (0.0, 1.0)])
@pytest.mark.parametrize("factor", [0.25, 4.0, 100.0])
def test_activations_grow_by_the_papers_powers_of_the_operations(alpha: float, exponent: float, factor: float) -> None:
    by = scaling(factor, alpha)
    assert by.operations == pytest.approx(factor)
    assert by.activations == pytest.approx(factor**exponent)
    assert by.parameters == pytest.approx(factor ** (1 - (1 - alpha) / 2))


def test_a_scaling_becomes_the_nearest_widths_and_evenly_dropped_blocks() -> None:
    """To a sixteenth of the operations by width and depth alike: half of the blocks are dropped, half of each width."""
    blocks = [Choice(f"b{i}:keep", (True, False), True) for i in range(6)]
    space = Space([*blocks, *(Choice(f"l{i}:width", WIDTHS, 1.0) for i in range(2))])
    found = scaled(space, 1 / 16, alpha=0.5)  # depth and width s^(1/4), resolution s^(1/8)
    assert (scaling(1 / 16, 0.5).depth, scaling(1 / 16, 0.5).width) == (0.5, 0.5)
    assert found == Decision({"b0:keep": False, "b2:keep": False, "b4:keep": False, "l0:width": 0.5, "l1:width": 0.5})
    deeper = scaled(space, 1 / 16, alpha=0.0)  # a quarter of the depth: four of six blocks go, the widths stay
    assert deeper == Decision({f"b{i}:keep": False for i in (0, 1, 3, 4)})


def test_smaller_factors_give_smaller_decisions() -> None:
    space = Space(
        [
            *(Choice(f"b{i}:keep", (True, False), True) for i in range(9)),
            *(Choice(f"l{i}:width", WIDTHS, 1.0) for i in range(5)),
        ]
    )
    assert not len(scaled(space, 1.0))
    kept = [sum(float(d.of(c)) for c in space) for d in (scaled(space, f, 0.5) for f in (1.0, 0.5, 0.2, 0.05, 0.01))]
    assert kept == sorted(kept, reverse=True) and kept[-1] < kept[0]


def test_impossible_scalings_are_refused() -> None:
    with pytest.raises(SpecError, match="factor=0"):
        scaling(0.0)
    with pytest.raises(SpecError, match="alpha=2"):
        scaling(2.0, 2.0)
