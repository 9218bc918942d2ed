"""A finisher is applied where it pays: layers' own times and what borders cost give mixtures, a race decides."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from situations import drive, situation

from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.schedule.actions import Action, LayersOf, Mix, ProfileLayers, Race
from whet.schedule.goal import Goal
from whet.schedule.mixing import PROFILE, Layers, Mixing, Table
from whet.schedule.situation import Mixable

SITES = ("a", "b", "c", "d")
CHOICES = [Choice(f"{site}:bits", (8, 32), 32, ("net:scope", ("each",))) for site in SITES]
LAYERS = Layers(CHOICES, {("a", "b"): 10.0, ("b", "c"): 10.0, ("c", "d"): 10.0})
PLAIN = dict(zip(SITES, (4.0, 1.0, 4.0, 1.0), strict=True))
OTHER = dict(zip(SITES, (2.0, 1.2, 2.0, 3.0), strict=True))
SCOPE = Decision({"net:scope": "each"})
WHOLE = Space([Choice("net:scope", ("off", "all", "each"), "off"), *CHOICES, Choice("runtime:threads", (1, 2), 2)])
FAST, SLOW = Decision({"runtime:threads": 1}), Decision({"runtime:threads": 2})
TABLE = Table.of(LAYERS, [8], [PLAIN, OTHER])


def chosen(decision: Decision) -> str:
    return "".join(c.site for c in CHOICES if c.name in decision)


def test_cheap_borders_leave_each_layer_its_own_and_dear_ones_make_runs() -> None:
    assert chosen(TABLE.mixture(0.0)) == "ac"
    assert chosen(TABLE.mixture(0.02)) == "abc"
    assert chosen(TABLE.mixture(1.0)) == "abcd"


def test_the_price_is_what_a_mixture_takes_beyond_its_layers() -> None:
    mixture = TABLE.mixture(0.0)
    apart = {"a": 2.0, "b": 1.0, "c": 2.0, "d": 1.0}
    took = {site: ms + extra for (site, ms), extra in zip(apart.items(), (0.0, 0.3, 0.6, 0.6), strict=True)}
    assert TABLE.price(mixture, took) == pytest.approx(1.5 / 30)
    assert TABLE.price(mixture, apart) == 0.0


def of_several() -> Table:
    choices = [Choice("a:weights", ("float", "int8", "int4"), "float"), Choice("b:weights", ("float", "int8"), "float")]
    times = [{"a": 3.0, "b": 3.0}, {"a": 2.0, "b": 1.0}, {"a": 1.0, "b": 9.0}]
    return Table.of(Layers(choices, {}), ["int8", "int4"], times)


def test_of_several_values_each_layer_has_its_quickest() -> None:
    assert of_several().mixture(0.0) == Decision({"a:weights": "int4", "b:weights": "int8"})


def raced(
    border_ms: float, study: dict[str, Any] | None = None, left: float = 50.0
) -> tuple[list[Action], Any, list[str]]:
    """Return what is done where a border costs so much in truth, and what comes of it."""

    def ms(decision: Decision) -> float:
        inside = [c.name in decision for c in CHOICES]
        own = sum((OTHER if i else PLAIN)[s] for i, s in zip(inside, SITES, strict=True))
        return own + border_ms * sum(x != y for x, y in pairwise(inside))

    def each(decision: Decision) -> dict[str, float]:
        times = {s: (OTHER if c.name in decision else PLAIN)[s] for c, s in zip(CHOICES, SITES, strict=True)}
        return times | {"d": times["d"] + ms(decision) - sum(times.values())}

    seen: list[Action] = []

    def do(action: Action) -> Any:
        seen.append(action)
        if isinstance(action, LayersOf):
            return LAYERS
        if isinstance(action, ProfileLayers):
            return [each(d) for d in action.decisions]
        if isinstance(action, Race):
            return [{SLOW: 9.0 / ms(d), FAST: 10.0 / ms(d)} for d in action.decisions]
        return "verified"

    trial = Trial(0, "full", Decision({"net:scope": "all"}), 0.9, 0.0, 1.2)
    s = situation([trial], Space(), Goal(0.01, budget_seconds=100.0), memos=study, whole=WHOLE)
    item = Mixable(frozenset({"net:scope", *(c.name for c in CHOICES)}), SCOPE)
    found = drive(Mixing(s).run(item, trial, left), do)
    return seen, found, s.study.notes  # type: ignore[attr-defined]


@pytest.mark.parametrize("border_ms, best", [(0.0, "ac"), (0.15, "abc")])
def test_the_mixture_that_wins_the_race_is_verified(border_ms: float, best: str) -> None:
    memos: dict[str, Any] = {}
    seen, found, notes = raced(border_ms, memos)
    assert found == "verified" and isinstance(seen[-1], Mix)
    assert chosen(seen[-1].decision) == best and seen[-1].decision["net:scope"] == "each"
    assert seen[-1].decision["runtime:threads"] == 1, "the setting that it was fastest in"
    races = [action.decisions for action in seen if isinstance(action, Race)]
    assert len(races) == 2 and len({d for race in races for d in race}) > len(races[0]), "the strategy proposed more"
    rows = {row["layer"]: row["chosen"] for row in memos[PROFILE]["layers"]}
    assert "".join(site for site, value in rows.items() if value == 8) == best
    assert any(f"{len(best)} of 4 layers are finished" in note for note in notes)


@pytest.mark.parametrize("border_ms", [1.97, 2.5])
def test_where_borders_cost_as_much_as_layers_gain_nothing_is_verified_and_that_is_said(border_ms: float) -> None:
    """With 1.97 ms a border the best mixture is ahead of all layers together by .4 %, which is no win."""
    seen, found, notes = raced(border_ms)
    assert found is None and isinstance(seen[-1], Race)
    assert any("gains nothing" in note for note in notes)


def test_it_is_done_once_in_a_study() -> None:
    seen, found, _ = raced(0.0, {PROFILE: {}})
    assert found is None and not seen


def test_where_time_is_short_less_is_raced_and_nothing_is_begun_that_would_take_the_delivery_its_time() -> None:
    full = [len(a.decisions) for a in raced(0.15)[0] if isinstance(a, Race)]
    some = [len(a.decisions) for a in raced(0.15, left=8.0)[0] if isinstance(a, Race)]
    none = [a for a in raced(0.15, left=3.0)[0] if isinstance(a, Race)]
    assert len(full) == 2 and len(some) == 1 and not none
