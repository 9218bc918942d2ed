"""`Together`: one training for all candidates; each is then cut from it and scored, not trained."""

from __future__ import annotations

from typing import cast

from whet.core.space import Decision
from whet.core.strategy import Strategy
from whet.decisions.planner import Planner
from whet.schedule.actions import Actions, Confirm, Foresight, Score, TrainTogether, Try
from whet.schedule.alone import Alone
from whet.schedule.beliefs import Beliefs
from whet.schedule.chain import best_last, beyond, planned
from whet.schedule.legs import LEGS, Legs
from whet.schedule.mending import Mending
from whet.schedule.recovery import NOISE
from whet.schedule.situation import Situation

POOL = 200
"""How many proposals a supernet is trained on where the strategy has no chain of them."""
UNTRAINED = 5.0
"""How many times the drop after training that of an untrained cut is, about: the probes' forecasts are of those.

At a limit of 1% the rungs that ended at it had forecasts of 12 to 22% on ResNet-20 and ResNet-44.
"""
VERIFIED = 4
"""How many sub-networks are verified at most as they come out of the supernet."""


def checkpoints() -> list[str]:
    """Return the names of the files that a supernet's trainings write into the study's folder."""
    return [f"supernet-{leg}{suffix}" for leg in range(len(LEGS) + 1) for suffix in (".safetensors", ".part")]


class Together:
    """Explores sub-networks of one supernet, trained together as a chain: each cuts what the one before cuts, and more.

    The chain (`Planner.chain`) goes from the damage that any training mends to more than the whole budget could.
    Few nested sub-networks share parameters with little harm to each other, where hundreds of unlike ones do not: on
    ResNet-44, 280 thousand images spread over 200 proposals left a drop of 5.6 points at a speed-up of 1.8, where 10
    thousand for that candidate alone left 1.2. After each leg of the training the rungs are scored, and fewer of them,
    those around the one that is expected to end at the limit, are trained on. What the leg did to the drops sharpens
    that expectation. Where the chain has room for more rungs, the first leg trains rivals of its last one beside it:
    what untrained cuts lose says little about which of two that gain alike is the better after training. The best of
    them stays, one rung goes beyond it, and the training goes on for most of the budget. A candidate is extracted, its
    batch norms re-estimated, and scored: about a second, however long the supernet was trained. The best within the
    limit are verified at once.

    Paper: Valipour et al. 2023, SortedNet, whose sub-networks are nested by construction and need no search; it
    accumulates the gradients of several of them for each update, where each step here trains one.
    """

    def __init__(self, situation: Situation, mending: Mending, beliefs: Beliefs) -> None:
        self.situation, self.mending, self.beliefs = situation, mending, beliefs
        self.alone = Alone(situation, mending)
        self.legs: Legs
        self.kept = slice(0, 0)

    def before(self, strategy: Strategy) -> Actions[None]:
        """Train the supernet, or go on where a killed study stopped, or read the finished one."""
        planner = self._plan()
        for leg in range(len(self.legs.parts)):
            self.kept = self.legs.window(leg)
            until, samples = self.legs.ends(leg)
            yield TrainTogether(leg, tuple(self.legs.drawn(leg, self.kept)), until, samples)
            if leg + 1 < len(self.legs.parts):
                yield from self._score(leg)
            if not leg and self.legs.rivals:
                yield from self._choose_last(cast(Planner, planner))
        strategy.enqueue(self.legs.rungs[: self.kept.stop])

    def after(self) -> Actions[None]:
        """Verify the candidates of the front within the limit as they are: they need no training of their own."""
        s, history = self.situation, self.situation.history
        front = history.front_of(t for t in history.of_stage("short") if t.parent is None)
        verified = {t.parent for t in history.of_stage("full")}
        for trial in sorted(front, key=lambda t: -t.gain)[:VERIFIED]:
            if trial.number in verified or s.clock.left_after(1) < 0:
                continue
            s.say(f"verifying sub-network {trial.number}")
            yield Confirm(trial)

    def most(self) -> float:
        """Return how many candidates are tried: of a chain its rungs, beside which the supernet was trained on none."""
        by_chain = self.legs.chained and self.situation.goal.trials is None
        return self.kept.stop if by_chain else self.alone.most()

    def until_share(self) -> float:
        return self.legs.until + self.situation.plan.elastic_explore_share

    def short_seconds(self) -> float:
        return 0.0

    def look(self, decision: Decision, foresight: Foresight | None) -> Try:
        """Cut a candidate from the supernet; what extends a structure trained in earnest goes on from that one."""
        full = self.situation.history.of_stage("full")
        if any(t.samples and t.decision.items() <= decision.items() for t in full):
            return self.alone.look(decision, foresight)
        samples = self.legs.own_samples(len(self.legs.parts))
        return Try(decision, self.situation.finishing.of_candidates, extracted=samples)

    # -- the chain -----------------------------------------------------------------------------------------------------

    def _plan(self) -> Strategy:
        """Plan the rungs and, where a chain has few, rivals of its last one; return what planned them.

        It is a strategy that knows the probes alone.
        """
        s = self.situation
        planner = self.beliefs.new_strategy(s.seed + 1, UNTRAINED)
        self.beliefs.inform(planner)
        rungs, rivals = planned(planner) if isinstance(planner, Planner) else (planner.ask(POOL), [])
        chained = s.goal.max_drop is not None and isinstance(planner, Planner)
        self.legs = Legs(s, self.mending, rungs, rivals if chained else [], chained and bool(rungs))
        return planner

    def _score(self, leg: int) -> Actions[None]:
        """Score the rungs after a leg, unless that was done."""
        study = self.situation.study
        if not study.recall(f"supernet_drops_{leg}"):
            drops = yield from self._drops(self.legs.rungs + (self.legs.rivals if not leg else []))
            study.remember(f"supernet_drops_{leg}", drops)

    def _choose_last(self, planner: Planner) -> Actions[None]:
        """Choose the last rung among itself and its rivals, and add one that goes beyond it."""
        study, legs = self.situation.study, self.legs
        scored, last = [*legs.rungs, *legs.rivals], len(legs.rungs) - 1
        drops, noise = study.recall("supernet_drops_0"), NOISE * (self.situation.goal.max_drop or 0.0)
        best = best_last(planner, scored, last, drops[: len(scored)], noise)
        further = beyond(planner, scored[best])
        legs.rungs = [*legs.rungs[:last], scored[best], *further]
        if len(drops) == len(scored):
            study.remember("supernet_drops_0", [*drops, *(yield from self._drops(further))])
        legs.places = [*range(last), best, *range(len(scored), len(scored) + len(further))]

    def _drops(self, decisions: list[Decision]) -> Actions[list[float]]:
        drops = list[float]()
        for decision in decisions:
            drops.append((yield Score(decision)))
        return drops
