"""Choices and decisions: what equals the identity or is inactive does not count."""

from __future__ import annotations

import pytest

from whet.core.errors import DecisionError, UnknownNameError
from whet.core.space import Choice, Decision, Space

METHOD = Choice("a:method", ("none", "prune"), "none")
SHARE = Choice("a:share", (0.25, 1.0), 1.0, when=("a:method", ("prune",)))
SPACE = Space([METHOD, SHARE, Choice("b:keep", (True, False), True)])


def test_equal_candidates_have_equal_decisions() -> None:
    silent = Decision({"a:method": "none", "a:share": 0.25, "b:keep": True})
    assert SPACE.canonical(silent) == Decision() and not SPACE.active(SHARE, silent)
    told = Decision({"a:share": 0.25, "a:method": "prune"})
    assert SPACE.canonical(told) == told and SPACE.active(SHARE, told)
    assert told.of(SHARE) == 0.25 and Decision().of(SHARE) == 1.0


def test_a_decision_is_a_json_point_whatever_the_order() -> None:
    one, other = Decision({"b:keep": False, "a:share": 0.25}), Decision({"a:share": 0.25, "b:keep": False})
    assert one == other and hash(one) == hash(other) and one.key == other.key and len(one.key) == 12
    assert Decision.from_json(one.to_json()) == one and one != dict(one)
    assert one.merge({"b:keep": True}) == Decision({"a:share": 0.25, "b:keep": True}) and one["b:keep"] is False
    with pytest.raises(DecisionError, match="a decision is a JSON object; got list"):
        Decision.from_json("[]")


def test_illegal_names_and_values_are_told() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'b:keep'"):
        SPACE.check(Decision({"b:kep": True}))
    with pytest.raises(DecisionError, match=r"choice 'a:share' must be one of \(0\.25, 1\.0\); got 0\.3"):
        SPACE.check(Decision({"a:share": 0.3}))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Choice("bits", (8,), 8), "must be named 'site:kind'"),
        (lambda: Choice("a:bits", (8, 8), 8), "needs distinct values"),
        (lambda: Choice("a:bits", (), 8), "needs distinct values"),
        (lambda: Choice("a:bits", (4, 8), 16), "identity 16 is not in"),
        (lambda: Space([METHOD, METHOD]), "is declared twice"),
        (lambda: Space([SHARE]), "depends on 'a:method', declared later or never"),
    ],
)  # fmt: skip
def test_what_is_no_choice_is_refused(build: object, message: str) -> None:
    with pytest.raises(DecisionError, match=message):
        build()  # type: ignore[operator]


def test_a_site_may_hold_colons_and_one_is_not_true() -> None:
    assert (Choice("a:b:bits", (8,), 8).site, Choice("a:b:bits", (8,), 8).kind) == ("a:b", "bits")
    assert Choice("a:x", (1, True), 1).values == (1, True)
    assert SPACE.describe()[1] == {
        "name": "a:share", "values": [0.25, 1.0], "identity": 1.0, "when": ["a:method", ("prune",)]
    }  # fmt: skip
