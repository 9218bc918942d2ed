"""Late choices are proposed with the structure given, by what single layers save and what races told."""

from __future__ import annotations

import pytest

from whet.core.space import Choice, Decision, Space
from whet.schedule.late import Late
from whet.search import strategies

SITES = ("a", "b", "c", "d", "e")
LAYERS = [Choice(f"{site}:bits", (8, 32), 32, ("net:scope", ("each",))) for site in SITES]
SPACE = Space(
    [
        Choice("a:width", (0.5, 1.0), 1.0),
        Choice("net:scope", ("off", "all", "each"), "off"),
        *LAYERS,
        Choice("net:weights", ("float", "int4"), "float"),
        Choice("runtime:threads", (1, 2), 2),
    ]
)
DONE = {"a:width": 0.5, "net:scope": "each"}
SAVED = {"a:bits": 0.2, "b:bits": 0.1, "c:bits": -0.2, "d:bits": 0.1, "e:bits": 0.05, "gone:bits": 0.3}
ONE, TWO = Decision({"runtime:threads": 1}), Decision({"runtime:threads": 2})


def late(name: str = "sensitivity", seed: int = 0, share: float = 1.0) -> Late:
    saved = {layer: share * gain for layer, gain in SAVED.items()}
    return Late(strategies.get(name, SPACE, seed=seed), SPACE, ["runtime:threads"], DONE, saved)


@pytest.mark.parametrize("name", ["sensitivity", "improvement", "random", "tpe"])
def test_only_formats_of_layers_and_settings_are_left_to_the_strategy(name: str) -> None:
    given = late(name)
    assert given.given == Decision({**DONE, "net:weights": "float"})
    asked = given.strategy.ask(6, given.given)
    assert len(asked) == 6
    for decision in asked:
        assert decision.items() >= DONE.items() and "net:weights" not in decision
        assert set(decision) - set(DONE) <= {"runtime:threads", *(c.name for c in LAYERS)}


@pytest.mark.parametrize("share", [1.0, 0.02])
def test_what_layers_save_is_believed_however_little_and_what_they_cost_is_left(share: float) -> None:
    proposed = [d for seed in range(8) for d in late(seed=seed, share=share).ask(2)]
    count = {site: sum(f"{site}:bits" in d for d in proposed) for site in SITES}
    assert count["a"] > 0.7 * len(proposed) and count["c"] < 0.3 * len(proposed), count
    assert all("runtime:threads" not in d for d in proposed)


def test_a_race_tells_each_file_in_each_setting_and_none_is_proposed_again() -> None:
    told = late()
    files = (Decision(), Decision({"net:scope": "each", **{c.name: 8 for c in LAYERS}}))
    told.tell(files, [{ONE: 1.0, TWO: 2.0}, {ONE: 3.0, TWO: 4.0}])
    seen = {o.decision: o.values[0] for o in told.strategy.ledger.measured()}  # type: ignore[attr-defined]
    structure, whole = Decision(DONE), Decision({**DONE, **{c.name: 8 for c in LAYERS}})
    assert seen == {structure.merge(ONE): 0.5, structure: 1.0, whole.merge(ONE): 1.5, whole: 2.0}
    assert not set(told.strategy.ask(4, told.given)) & set(seen)


def test_gains_of_small_layers_are_told_to_a_power_that_leaves_their_order() -> None:
    told = late(share=0.02)
    assert late().power == 1.0 and told.power == pytest.approx(0.1 / (0.02 * 0.13), rel=0.05)
    files = (Decision(), Decision({"net:scope": "each", "a:bits": 8}))
    told.tell(files, [{TWO: 2.0}, {TWO: 2.02}])
    values = [o.values[0] for o in told.strategy.ledger.measured()]  # type: ignore[attr-defined]
    assert values == [1.0, pytest.approx(1.01**told.power)]
