"""Numbers that a user gives are checked once, at the edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from whet.core.checks import ValueRangeError, positive, share, whole


@pytest.mark.parametrize("value", [1, 0.5, np.float32(2), np.int64(3)])
def test_numbers_pass(value: Any) -> None:
    assert positive("seconds", value) == float(value)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "5", None, True, [1]])
def test_what_is_not_above_zero_is_refused(value: Any) -> None:
    with pytest.raises(ValueRangeError, match=r"seconds must be a number above 0; got"):
        positive("seconds", value)


def test_zero_may_be_allowed() -> None:
    assert positive("decay", 0, zero=True) == 0.0
    with pytest.raises(ValueRangeError, match="of at least 0; got -1"):
        positive("decay", -1, zero=True)


@pytest.mark.parametrize("value", [0, -3, 1.5, "2", None, False, float("nan"), float("inf")])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueRangeError, match=r"trials must be a whole number of at least 1; got"):
        whole("trials", value)


def test_whole_numbers_pass() -> None:
    assert [whole("trials", v) for v in (1, 7.0, np.int32(4))] == [1, 7, 4] and whole("seed", 0, least=0) == 0


@pytest.mark.parametrize("value", [-0.1, 1.1, "half", None, True, float("nan")])
def test_what_is_no_share_is_refused(value: Any) -> None:
    with pytest.raises(ValueRangeError, match=r"warmup must lie in \[0, 1\]"):
        share("warmup", value)
