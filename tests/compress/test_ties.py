from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.compress.ties import fold, tie, unfold
from whet.core.errors import UnknownNameError

PART = st.sampled_from(["0", "1", "2", "3", "10", "01", "conv", "qkv#heads", "layer1"])
SITE = st.lists(PART, min_size=1, max_size=4).map(".".join)


@given(st.lists(SITE, min_size=1, max_size=12, unique=True))
def test_a_folded_name_holds_exactly_its_sites(sites: list[str]) -> None:
    assert sorted(unfold(fold(sites))) == sorted(sites)


def test_names_are_short_where_sites_are_regular() -> None:
    assert fold([f"layer{s}.{i}.conv1" for s in (1, 2) for i in range(9)]) == "{layer1,layer2}.{0..8}.conv1"
    assert fold(["features.3.conv", "features.7.conv"]) == "features.{3,7}.conv"
    assert fold(["a.0.x", "a.1.y"]) == "{a.0.x,a.1.y}"


def test_ties_by_stage_and_over_the_network() -> None:
    sizes = {"a.0": 16, "b": 32, "a.1": 16}
    assert tie(sizes.items(), "none", lambda n: n) == {"a.0": ["a.0"], "b": ["b"], "a.1": ["a.1"]}
    assert tie(sizes.items(), "stage", lambda n: n) == {"a.{0,1}": ["a.0", "a.1"], "b": ["b"]}
    assert tie(sizes.items(), "network", lambda n: n) == {"*": ["a.0", "b", "a.1"]}
    assert unfold("*", sizes) == list(sizes)
    with pytest.raises(UnknownNameError, match="did you mean 'stage'"):
        tie(sizes.items(), "stages", lambda n: n)  # type: ignore[arg-type]
