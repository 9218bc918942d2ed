"""Two stages by two policies: what each decides, what is earned, and that policies carry over to a larger network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from engines import LIMIT, NETWORK, cost

from whet.core.errors import DecisionError, StudyError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.core.study import Study, Trial
from whet.decisions.enumerate import point, size
from whet.search import strategies
from whet.search.policy_gradient import Draws
from whet.search.strategies.n2n import BROKEN, N2N, LayerPolicy, Pair, reward
from whet.testing.strategies import SPACES, check


def network(blocks: int) -> Space:
    keeps = [Choice(f"block{i}:keep", (True, False), True) for i in range(blocks)]
    return Space([*keeps, *(Choice(f"layer{i}:width", (0.5, 0.75, 1.0), 1.0) for i in range(2))])


def test_the_reward_is_that_of_the_paper() -> None:
    """R = C (2 - C) (1 - drop): nothing for nothing saved, the accuracy alone for all, and steeper where little is."""
    assert reward(1.0, 0.0) == 0.0 and reward(1e12, 0.3) == pytest.approx(0.7)
    assert reward(2.0, 0.0) == 0.75 and reward(4.0, 0.2) == pytest.approx(0.75 * 1.25 * 0.8)
    strategy = N2N(network(3), 0)
    strategy.tell([Observation(Decision(), (2.0, 0.1)), Observation(Decision({"block0:keep": False}), (4.0, 0.5), 0.1)])
    assert list(strategy.earned().values()) == [pytest.approx(0.675), BROKEN]


@pytest.mark.parametrize("stage", ["removal", "shrinkage"])
def test_probabilities_add_up_to_one_and_are_those_of_the_draws(stage: str) -> None:
    strategy = N2N(network(3), 0)
    own = getattr(strategy.begin(), stage).policy
    with torch.no_grad():
        for parameter in own.parameters():
            parameter *= 4
        others = strategy.shrinking if stage == "removal" else strategy.removing
        rows = strategy.genes.rows([point(strategy.space, rank) for rank in range(size(strategy.space))])
        rows = rows[(rows[:, others] == own.base[others]).all(1)]
        told = own.log_chance(Draws(rows, np.zeros(len(rows)))).exp().numpy()
        drawn = own.draw(4000, torch.Generator().manual_seed(0)).rows
    shares = np.array([(drawn == row).all(1).mean() for row in rows])
    assert told.sum() == pytest.approx(1.0, abs=1e-4) and np.ptp(told) > 0.02
    assert np.abs(shares - told).max() < 4 * np.sqrt(0.25 / 4000)


def driven(rounds: int, removals: int = 8) -> N2N:
    """The second block can go at no loss, every other costs .3; of widths the first can be halved."""
    strategy = N2N(network(3), 0, removals=removals)
    for _ in range(rounds):
        (decision,) = strategy.ask()
        cut = [name for name in decision if name != "layer0:width"]
        drop = 0.3 * sum(name != "block1:keep" for name in cut)
        strategy.tell([Observation(decision, (1.0 + 0.5 * len(decision), drop))])
    return strategy


def test_layers_are_removed_first_and_what_earned_the_most_is_shrunk() -> None:
    strategy = driven(12)
    entries = list(strategy.ledger.entries)
    assert all(name.endswith("keep") for decision in entries[:8] for name in decision)
    best = max(entries[:8], key=strategy.earned().__getitem__)
    assert best == Decision({"block1:keep": False})
    later = strategy.drawn(strategy.taught(), 12)
    assert (later[:, :3] == [0, 1, 0]).all() and len(np.unique(later[:, 3:], axis=0)) > 3


def same(one: Pair, other: Pair, stage: str) -> bool:
    pairs = zip(getattr(one, stage).policy.parameters(), getattr(other, stage).policy.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_each_policy_learns_from_its_own_stage_alone() -> None:
    first, second = driven(8), driven(12)
    untrained, before, after = first.begin(), first.taught(), second.taught()
    assert same(before, after, "removal") and not same(untrained, before, "removal")
    assert same(untrained, before, "shrinkage") and not same(before, after, "shrinkage")


def test_what_others_proposed_of_the_other_stage_teaches_nothing() -> None:
    """While layers are removed, networks with other widths say nothing of removals, and nothing moves the policy."""
    strategy, told = N2N(network(3), 0), ((0.5, 3.0), (0.75, 1.2))
    strategy.tell([Observation(Decision({"layer0:width": width}), (speedup, 0.0)) for width, speedup in told])
    assert same(strategy.begin(), strategy.taught(), "removal")
    strategy.tell([Observation(Decision({f"block{i}:keep": False}), (1.0 + i, 0.0)) for i in range(2)])
    assert not same(strategy.begin(), strategy.taught(), "removal")


def test_the_first_stage_is_no_longer_than_there_are_ways() -> None:
    assert N2N(network(3), removals=20).removals == 8 and N2N(network(9), removals=20).removals == 20
    assert N2N(SPACES["ordered"]).removals == 0


def test_shrinkage_reads_what_it_drew_before() -> None:
    strategy = N2N(network(1), 0)
    own = strategy.begin().shrinkage.policy
    assert isinstance(own, LayerPolicy)
    rows = np.array([[0, 0, 1], [0, 2, 1]])
    with torch.no_grad():
        own.head.weight *= 20
        first = own.log_chance(Draws(np.array([[0, 0, 0], [0, 2, 0]]), np.zeros(2)))
        second = own.log_chance(Draws(rows, np.zeros(2)))
    odds = (second - first).tolist()
    assert abs(odds[0] - odds[1]) > 1e-3


def test_a_policy_that_a_small_network_taught_goes_on_with_a_larger_one(tmp_path: Path) -> None:
    """Late blocks can go. What four blocks taught makes the late half of ten go more often from the first draw on."""
    study, small = Study.in_folder(tmp_path, {}, network(4)), N2N(network(4), 0, removals=16, learning_rate=0.05)
    for number in range(16):
        (decision,) = small.ask()
        drop = 0.6 * sum(int(name[5]) < 2 for name in decision)
        trial = Trial(number, "short", decision, quality=0.9, drop=drop, speedup=1.0 + 0.5 * len(decision))
        study.add(trial)
        small.tell([Observation(decision, (trial.speedup, trial.drop))])
    options = {"removals": 16, "learning_rate": 0.05, "draws": 64}

    def late(strategy: N2N) -> float:
        rows = strategy.drawn(strategy.taught(), 0)[:64, :10]
        return float(rows[:, 5:].mean() - rows[:, :5].mean())

    taught, untaught = N2N(network(10), 0, teacher=str(tmp_path), **options), N2N(network(10), 0, **options)  # type: ignore[arg-type]
    assert late(taught) > 0.1 > abs(late(untaught))


def test_a_teacher_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no study to learn from"):
        N2N(network(3), teacher=str(tmp_path / "none"))


def test_other_objectives_are_refused() -> None:
    with pytest.raises(DecisionError, match="strategy 'n2n' works on"):
        N2N(network(3), 0, ("minimize",))


def test_conforms() -> None:
    assert len(check(lambda space, seed: N2N(space, seed, removals=4), spaces=("four points", "mixed"))) == 2


def test_what_it_proposes_earns_more_than_what_is_drawn() -> None:
    def earned(name: str, seed: int) -> float:
        strategy = strategies.get(name, NETWORK, seed)
        rewards: list[float] = []
        for _ in range(50):
            (decision,) = strategy.ask()
            values = cost(decision)
            strategy.tell([Observation(decision, values, values[1] - LIMIT)])
            rewards.append(reward(*values) if values[1] <= LIMIT else BROKEN)
        return float(np.mean(rewards[-15:]))

    assert np.mean([earned("n2n", seed) for seed in range(2)]) > np.mean([earned("random", s) for s in range(2)]) + 0.3
