"""The conformance suite of strategies: `check(make)` raises `AssertionError` at the first broken promise."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable

from whet.core.errors import DecisionError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation, Strategy
from whet.decisions.enumerate import size
from whet.decisions.given import agrees, restricted

Make = Callable[[Space, int], Strategy]
"""Builds the strategy under test from a space and a seed; it may refuse a space with `DecisionError`."""

WIDTHS = (0.25, 0.5, 0.75, 1.0)

SPACES = {
    "empty": Space(),
    "one point": Space([Choice("a:bits", (8,), 8)]),
    "four points": Space([Choice("a:bits", (4, 8), 8), Choice("b:bits", (4, 8), 8)]),
    "ordered": Space([Choice(f"layer{i}:width", WIDTHS, 1.0) for i in range(6)]),
    "mixed": Space(
        [
            *(Choice(f"block{i}:keep", (True, False), True) for i in range(4)),
            *(Choice(f"layer{i}:width", WIDTHS, 1.0) for i in range(4)),
            Choice("runtime:name", ("openvino", "onnxruntime"), "openvino"),
        ]
    ),
    "conditional": Space(
        [
            Choice("runtime:name", ("openvino", "onnxruntime"), "openvino"),
            Choice("runtime:precision", ("f32", "bf16"), "f32", when=("runtime:name", ("openvino",))),
            Choice("layer:method", ("none", "prune", "factorize"), "none"),
            Choice("layer:density", WIDTHS, 1.0, when=("layer:method", ("prune",))),
            Choice("layer:rank", WIDTHS, 1.0, when=("layer:method", ("factorize",))),
        ]
    ),
}


def toy(space: Space, decision: Decision, objectives: int, limit: float = 0.5) -> Observation:
    """Return made-up results: farther from the identity is faster, worse, and past `limit` infeasible."""
    moved = sum(c.values.index(decision.of(c)) != c.values.index(c.identity) for c in space)
    share = moved / max(len(space), 1)
    return Observation(decision, (1 + share, share**2, share, moved)[:objectives], share**2 - limit)


def drive(strategy: Strategy, space: Space, objectives: int, rounds: int) -> list[Observation]:
    """Ask and tell one decision at a time, `rounds` times or until the space is exhausted."""
    log: list[Observation] = []
    for _ in range(rounds):
        for decision in strategy.ask():
            log.append(toy(space, decision, objectives))
            strategy.tell(log[-1:])
    return log


def _decisions(log: Iterable[Observation]) -> list[Decision]:
    return [o.decision for o in log]


def proposals_are_legal_and_new(make: Make, space: Space, objectives: int) -> None:
    """Check that asked decisions are canonical, legal and new, as many as the space has."""
    strategy, seen = make(space, 0), list[Decision]()
    for n in (1, 3, 1, 7, 4, 4):
        asked = strategy.ask(n)
        for decision in asked:
            space.check(decision)
            assert decision == space.canonical(decision), f"{decision!r} is not canonical"
            assert decision not in seen, f"{decision!r} was proposed twice"
            seen.append(decision)
        strategy.tell(toy(space, d, objectives) for d in asked)
    expected = min(20, size(space))
    assert len(seen) == expected, f"{len(seen)} decisions out of a space of {size(space)}; expected {expected}"
    assert size(space) > 20 or strategy.ask(3) == [], "an exhausted space must give no more decisions"


def replay_gives_the_same_decisions(make: Make, space: Space, objectives: int) -> None:
    """Check that a seed and a log determine what is proposed next."""
    whole = drive(make(space, 3), space, objectives, 16)
    again = drive(make(space, 3), space, objectives, 10)
    assert _decisions(again) == _decisions(whole[:10]), "the same seed and log gave other decisions"
    resumed = make(space, 3)
    resumed.tell(whole[:10])
    rest = drive(resumed, space, objectives, 6)
    assert _decisions(rest) == _decisions(whole[10:16]), "telling the log again did not resume the search"


def state_resumes_with_work_in_flight(make: Make, space: Space, objectives: int) -> None:
    """Check that a strategy goes on from its state, through JSON, with results still to come."""
    first = make(space, 5)
    first.tell(toy(space, d, objectives) for d in first.ask(9))
    first.enqueue([space.identity()])
    in_flight = first.ask(2)
    second = make(space, 5)
    second.restore(json.loads(json.dumps(first.state())))
    assert second.state() == first.state(), "state, through JSON and restore, is not the same"
    late = [toy(space, d, objectives) for d in in_flight]
    first.tell(late)
    second.tell(late)
    assert second.ask(4) == first.ask(4), "a restored strategy continues differently"


def lost_proposal_comes_again(make: Make, space: Space, objectives: int) -> None:
    """Check that a decision that was never measured is proposed again after a restart."""
    killed = make(space, 7)
    log = drive(killed, space, objectives, 3)
    lost = killed.ask()
    resumed = make(space, 7)
    resumed.tell(log)
    assert resumed.ask() == lost, "a decision in flight when the process died must be proposed again"


def failures_and_broken_limits_are_survived(make: Make, space: Space, objectives: int) -> None:
    """Check that the search goes on where every candidate fails or breaks the limits."""
    strategy, total = make(space, 0), 0
    for index in range(18):
        for decision in strategy.ask():
            good = Observation(decision, toy(space, decision, objectives).values, violation=1.0 + index)
            strategy.tell([Observation(decision) if index % 3 == 0 else good])
            total += 1
    assert total == min(18, size(space)), "candidates that all fail or break the limits must not end the search"


def queue_comes_first(make: Make, space: Space, objectives: int) -> None:
    """Check that enqueued decisions come first, once, in order."""
    handmade = [space.identity(), Decision({c.name: c.values[0] for c in space}), space.identity()]
    expected = list(dict.fromkeys(map(space.canonical, handmade)))
    strategy = make(space, 0)
    strategy.enqueue(handmade)
    assert strategy.ask(len(expected)) == expected, "enqueued decisions must come first, once, in order"


def second_result_replaces_the_first(make: Make, space: Space, objectives: int) -> None:
    """Check that a second result for a decision counts in place of the first."""
    corrected, straight = make(space, 1), make(space, 1)
    log = drive(corrected, space, objectives, 10)
    last = [Observation(o.decision, tuple(-v for v in o.values), o.violation) for o in log]
    corrected.tell(last)
    straight.tell(last)
    assert corrected.ask(2) == straight.ask(2), "a second result must replace the first"


def seeds_matter(make: Make, space: Space, objectives: int) -> None:
    """Check that other seeds give other searches where the space is large."""
    if size(space) > 100:
        logs = {tuple(_decisions(drive(make(space, seed), space, objectives, 6))) for seed in range(3)}
        assert len(logs) == 3, "three seeds gave equal searches"


def given_choices_stay(make: Make, space: Space, objectives: int) -> None:
    """Check that proposals have what is given, are new, as many as are left, and are replayed; others wait."""
    if size(space) < 3:
        return
    ends = list(space)[:: len(space) - 1 or 1]
    given = Decision({c.name: c.values[0] for c in ends if c.when is None})
    other = space.canonical(Decision({c.name: c.values[-1] for c in space}))
    told = [toy(space, d, objectives) for d in make(space, 2).ask(5) if d != other]
    known = sum(agrees(space, o.decision, given) for o in told)
    logs = []
    for _ in range(2):
        strategy, seen = make(space, 2), list[Decision]()
        strategy.tell(told)
        strategy.enqueue([other])
        for n in (2, 1, 3):
            asked = strategy.ask(n, given)
            strategy.tell(toy(space, d, objectives) for d in asked)
            seen += asked
        logs.append(seen)
        for decision in seen:
            assert decision == space.canonical(decision.merge(given)), f"{decision!r} is not as given: {given!r}"
        assert not set(seen) & {o.decision for o in told} and len(set(seen)) == len(seen), "a proposal is not new"
        left = size(restricted(space, given)) - known
        assert len(seen) == min(6, left), f"{len(seen)} decisions where {left} are left"
        assert agrees(space, other, given) or strategy.ask(1) == [other], "what is queued and not as given must wait"
    assert logs[0] == logs[1], "the same seed, log and given choices gave other decisions"


CHECKS: tuple[Callable[[Make, Space, int], None], ...] = (
    proposals_are_legal_and_new,
    replay_gives_the_same_decisions,
    state_resumes_with_work_in_flight,
    lost_proposal_comes_again,
    failures_and_broken_limits_are_survived,
    queue_comes_first,
    second_result_replaces_the_first,
    seeds_matter,
    given_choices_stay,
)


def check(make: Make, objectives: int = 2, spaces: Collection[str] = tuple(SPACES)) -> list[str]:
    """Run every check on every one of `spaces` that the strategy accepts, and return the names of those.

    Raises: AssertionError for a broken promise, or if every space of more than one point is refused.
    """
    accepted = []
    for name in spaces:
        space = SPACES[name]
        try:
            make(space, 0)
        except DecisionError:
            continue
        accepted.append(name)
        for item in CHECKS:
            try:
                item(make, space, objectives)
            except AssertionError as error:
                raise AssertionError(f"{item.__name__} on the space '{name}': {error}") from None
    assert set(accepted) - {"empty", "one point"}, "the strategy refuses every space of more than one point"
    return accepted
