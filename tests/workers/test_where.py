"""What `--workers` takes."""

from __future__ import annotations

import pytest

from whet.core.errors import WorkersError
from whet.workers.where import Where, where


@pytest.mark.parametrize(
    "words, found",
    [(None, None), (4, Where(4)), ("4", Where(4)), ("ray://box:10001", Where(None, "ray://box:10001"))],
)
def test_a_number_or_the_head_of_a_cluster(words: int | str | None, found: Where | None) -> None:
    assert where(words) == found


@pytest.mark.parametrize(
    "words, near",
    [
        ("0", "1"), ("-3", "3"), (2.0, "2"), ("ray://box", "ray://box:10001"), ("box:7000", "ray://box:7000"),
        ("ray//10.0.0.2:9", "ray://10.0.0.2:9"), ("http://box:10001", "ray://box:10001"),
        ("ray://box:port", "ray://box:10001"), ("10.0.0.2", "ray://10.0.0.2:10001"),
    ],
)  # fmt: skip
def test_a_wrong_form_is_an_error_with_the_nearest_allowed_one(words: int | str, near: str) -> None:
    with pytest.raises(WorkersError, match=rf"workers '.*'; did you mean {near}\? Allowed: a whole number above 0"):
        where(words)


@pytest.mark.parametrize("words", ["", "many", True])
def test_what_is_near_to_nothing_names_what_is_allowed(words: str) -> None:
    with pytest.raises(WorkersError, match=r"workers '.*'\. Allowed: .* or ray://HOST:10001"):
        where(words)
