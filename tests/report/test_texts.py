"""Figures in words."""

import pytest

from whet.core.objectives import Figures
from whet.report.texts import drop_text, gain_text, size_text


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_400, "999 kB"), (1_234_000, "1.23 MB")]
)
def test_sizes_have_three_digits(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text


def test_gains_come_in_the_order_of_what_was_wanted() -> None:
    assert gain_text(Figures(2.0, 1500), ("speed", "size")) == "x2.00, 1.5 kB"
    assert gain_text(Figures(2.0, 1500, 8_000_000), ("memory",)) == "8 MB of memory"
    assert gain_text(Figures(2.0, 1500), ()) == ""


def test_a_drop_has_its_sign_and_the_unit_of_the_limit() -> None:
    assert drop_text(-0.0123, (100.0, "pt")) == "-1.23pt" and drop_text(0.0) == "+0.0000"
