"""What `whet compress` stands for is a search that exists."""

from __future__ import annotations

import inspect

from whet import catalogue
from whet.cli.compress import POST_TRAINING
from whet.cli.main import optimize
from whet.flow.quantities import seconds, wanted_of
from whet.words import listed


def test_its_options_are_those_of_a_search_and_can_be_read() -> None:
    assert set(POST_TRAINING) <= set(inspect.signature(optimize).parameters)
    assert POST_TRAINING["training"] is False and seconds(POST_TRAINING["budget"]) <= 600
    assert "size" in wanted_of(POST_TRAINING["objectives"]), "int8 that is no faster is smaller"
    for words in listed(POST_TRAINING["passes"]):
        assert catalogue.make(words, "pass").traits.phase != "structure"
