"""The policy gradient: its mean is the gradient of what is earned, whatever the baseline; what is learned from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.decisions.enumerate import point
from whet.decisions.genes import Rows
from whet.policies.exploration import sampled
from whet.search.policy_gradient import Climber, Draws, PolicySearch

SPACE = Space([Choice("a:bits", (2, 4, 8), 8)])
EARNED = torch.tensor([0.1, 0.7, 0.4], dtype=torch.float64)


class Softmax(nn.Module):
    """A probability for each of three decisions."""

    def __init__(self, logits: tuple[float, ...] = (0.3, -0.2, 0.5)) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float64))

    def draw(self, count: int, generator: torch.Generator) -> Draws:
        rows = sampled(self.logits.detach().expand(count, -1), generator)
        return Draws(rows[:, None], np.zeros(count))

    def log_chance(self, draws: Draws) -> Tensor:
        return self.logits.log_softmax(0)[torch.from_numpy(draws.rows[:, 0])]


class Three(PolicySearch):
    """Three decisions."""

    def policy(self) -> nn.Module:
        return Softmax()


def draws(*rows: int) -> Draws:
    return Draws(np.array(rows)[:, None], np.zeros(len(rows)))


@pytest.mark.parametrize("baseline", [0.0, 0.4, -3.0])
def test_the_mean_step_climbs_what_is_earned_whatever_the_baseline(baseline: float) -> None:
    policy = Softmax()
    chances = policy.logits.detach().softmax(0)
    mean = torch.zeros(3, dtype=torch.float64)
    for value in range(3):
        policy.logits.grad = None
        Three.loss(Climber(policy, None), draws(value), EARNED[value : value + 1], baseline).backward()  # type: ignore[arg-type]
        mean += chances[value] * policy.logits.grad
    policy.logits.grad = None
    (policy.logits.softmax(0) @ EARNED).backward()
    assert torch.allclose(mean, -policy.logits.grad, atol=1e-12)


def rows(strategy: PolicySearch, *values: int) -> list[Decision]:
    return [strategy.genes.decision(np.array([value])) for value in values]


def test_the_baseline_is_a_moving_average_of_what_was_earned() -> None:
    strategy = Three(SPACE, decay=0.75)
    learner = strategy.begin()
    known = dict(zip(rows(strategy, 0, 1), (0.2, 0.6), strict=True))
    before = learner.policy.logits.detach().clone()
    strategy.learn(learner, draws(0, 0), rows(strategy, 0)[0], known)
    assert learner.baseline == pytest.approx(0.2) and torch.equal(learner.policy.logits, before), "the first is its own"
    strategy.learn(learner, draws(0, 1, 1, 1), rows(strategy, 1)[0], known)
    assert learner.baseline == pytest.approx(0.75 * 0.2 + 0.25 * 0.5)
    moved = (learner.policy.logits - before).tolist()
    assert moved[1] > 0 > moved[0] and moved[2] < 0


def test_draws_of_unknown_reward_teach_nothing_and_what_others_proposed_counts_once() -> None:
    strategy = Three(SPACE)
    known = dict(zip(rows(strategy, 0), (0.9,), strict=True))
    one, other = strategy.begin(), strategy.begin()
    one.baseline = other.baseline = 0.1
    strategy.learn(one, draws(2, 0, 1), rows(strategy, 2)[0], known)
    strategy.learn(other, draws(2, 1), rows(strategy, 0)[0], known)
    assert torch.equal(one.policy.logits, other.policy.logits) and one.policy.logits[0] > 0.3
    still = strategy.begin()
    strategy.learn(still, draws(2, 1), rows(strategy, 2)[0], known)
    assert still.baseline is None and torch.equal(still.policy.logits, strategy.begin().policy.logits)


def test_a_lesson_is_of_the_draws_that_the_entry_was_proposed_from_and_of_no_later_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strategy, seen = Three(SPACE, draws=5), list[tuple[Rows, dict[Decision, float]]]()
    (asked,) = strategy.ask()
    proposed = strategy.draws_of(strategy._learners[-1], 0)
    strategy.tell([Observation(asked, (2.0, 0.1))])
    others = [point(SPACE, rank) for rank in range(3) if point(SPACE, rank) != asked]
    strategy.tell([Observation(others[0], (3.0, 0.1))])
    monkeypatch.setattr(Three, "learn", lambda self, one, drawn, of, known: seen.append((drawn.rows, dict(known))))
    strategy._known, strategy._learners = [], []
    strategy.taught()
    assert np.array_equal(seen[0][0], proposed.rows) and len(seen) == 2
    assert seen[0][1] == {asked: 0.5} and seen[1][1] == {asked: 0.5, others[0]: 1.0}
