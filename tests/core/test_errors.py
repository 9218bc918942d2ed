"""Errors: all are whet's own, and a misspelt name is told its neighbour."""

import pytest

from whet.core import errors
from whet.core.errors import UnknownNameError, WhetError, unknown


def test_every_error_is_a_whet_error_with_a_sentence_of_its_own() -> None:
    kinds = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(kinds) > 10 and all(issubclass(kind, WhetError) and kind.__doc__ for kind in kinds)
    assert len({kind.__doc__ for kind in kinds}) == len(kinds)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("quantize", "did you mean 'quantize.2'? Allowed: quantize.0, quantize.1, quantize.2 and 97 more."),
        ("zzz", "unknown method 'zzz'. Allowed: any of 100."),
        ("", "unknown method ''. Allowed: any of 100."),
    ],
)
def test_very_many_names_are_not_all_listed(given: str, told: str) -> None:
    names = [f"quantize.{n}" for n in range(3)] + [f"other.{n}" for n in range(97)]
    assert str(unknown("method", given, names)).endswith(told)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("wdith", "unknown pass 'wdith'; did you mean 'width'? Allowed: depth, width."),
        ("zzz", "unknown pass 'zzz'. Allowed: depth, width."),
    ],
)
def test_the_nearest_spelling_is_told_where_there_is_one(given: str, told: str) -> None:
    error = unknown("pass", given, ["width", "depth"])
    assert isinstance(error, UnknownNameError) and str(error) == told
