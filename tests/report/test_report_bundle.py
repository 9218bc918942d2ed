"""Plotly in the page: the whole of it, in characters that HTML does not read, and small."""

from __future__ import annotations

import pytest
from plotly.offline import get_plotlyjs

from whet.report.bundle import ALPHABET, packed, plotly, unpacked


@pytest.mark.parametrize("text", ["", "x", "</script><!-- & é", "abcdefg" * 999])
def test_what_is_packed_comes_back_and_holds_nothing_that_html_reads(text: str) -> None:
    found = packed(text)
    assert unpacked(found) == text and set(found) <= set(ALPHABET) and not set(found) & set("<&\"'\\")


def test_plotly_is_whole_and_leaves_room_in_a_page_of_two_megabytes() -> None:
    assert len(set(ALPHABET)) == 85
    assert unpacked(plotly()) == get_plotlyjs() and len(plotly()) < 1_850_000
