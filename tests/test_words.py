"""Lists of methods and their options, as they are typed."""

from __future__ import annotations

import pytest

from whet.core.errors import MethodError
from whet.words import listed, options


def test_a_list_of_methods_is_split_outside_parentheses() -> None:
    assert listed("a,b(x=(1, 2), y='c'),, d ") == ["a", "b(x=(1, 2), y='c')", "d"]
    assert listed("") == []


def test_options_are_values_and_nothing_else() -> None:
    assert options("(a=1, b=('x', 2.5), c=None)") == {"a": 1, "b": ("x", 2.5), "c": None}
    for wrong in ("(1)", "(**{'a': 1})", "(a=open('f'))", "(a=1"):
        with pytest.raises(MethodError, match="options are written option=value"):
            options(wrong)
