"""Any Optuna sampler as a strategy: TPE, NSGA-II, NSGA-III, Gaussian process, CMA-ES."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from whet.core.errors import DecisionError, unknown
from whet.core.space import Choice, Decision, Space, Value
from whet.core.strategy import Observation
from whet.decisions.enumerate import neighbour
from whet.decisions.genes import ordered
from whet.decisions.ledger import LedgerStrategy
from whet.decisions.pareto import standing
from whet.search.strategies import check


@dataclass(frozen=True)
class Sampler:
    """A row: Optuna's class, options for budgets of tens of candidates, and what the sampler can do."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    population: bool = False
    ordered_only: bool = False
    single_objective: bool = False
    paper: str = ""


SAMPLERS = {
    "random": Sampler("RandomSampler", paper="bergstra2012random"),
    "tpe": Sampler(
        "TPESampler",
        {"n_startup_trials": 8, "multivariate": True, "group": True, "constant_liar": True},
        paper="ozaki2022motpe",
    ),
    "gp": Sampler("GPSampler", {"n_startup_trials": 8, "warn_independent_sampling": False}, paper="daulton2020qehvi"),
    "nsga2": Sampler("NSGAIISampler", {"population_size": 8}, population=True, paper="deb2002nsga2"),
    "nsga3": Sampler("NSGAIIISampler", {"population_size": 8}, population=True, paper="deb2014nsga3"),
    "cmaes": Sampler(
        "CmaEsSampler",
        {"warn_independent_sampling": False},
        population=True,
        ordered_only=True,
        single_objective=True,
        paper="hansen2001cmaes",
    ),
}


def distribution(choice: Choice) -> BaseDistribution:
    """Return the index range for ordered numbers, so that samplers see the order; categories for the rest."""
    if ordered(choice):
        return IntDistribution(0, len(choice.values) - 1)
    return CategoricalDistribution(choice.values)


class OptunaStrategy(LedgerStrategy):
    """Propose decisions by an Optuna sampler, by its name in `SAMPLERS`.

    Each proposal is made by a new sampler, seeded by (seed, proposals so far), on a copy of a study in memory that
    holds every decision asked and told so far: nothing else is carried over, so a replay gives the same
    decisions. The study is kept for as long as the ledger only grows. Conditional choices are suggested only where
    they are active. Limits reach the sampler as the constraint `violation`. A sampler that proposes a decision it
    already has gets its nearest unseen neighbour instead, counted in `repeats`. A sampler of one objective is told the
    `standing` of each result among those before it, limits included, where there are several.

    Raises: UnknownNameError for the sampler's name; DecisionError if it cannot work on the space.
    """

    def __init__(
        self,
        space: Space,
        seed: int = 0,
        directions: Sequence[str] = ("maximize", "minimize"),
        sampler: str = "tpe",
        **options: Any,
    ) -> None:
        if sampler not in SAMPLERS:
            raise unknown("Optuna sampler", sampler, SAMPLERS)
        self.row = SAMPLERS[sampler]
        self.options = {**self.row.options, **options}
        super().__init__(space, seed, directions)
        self.repeats = 0
        self._study: optuna.Study | None = None
        self._held: list[tuple[Decision, Observation | None]] = []
        self._distributions = {c.name: distribution(c) for c in space}
        self._check(sampler, space)
        optuna.logging.set_verbosity(optuna.logging.ERROR)

    def _check(self, sampler: str, space: Space) -> None:
        check(sampler)
        unordered = [c.name for c in space if not ordered(c) or c.when]
        if self.row.ordered_only and len(space) > 0 and len(unordered) == len(space):
            raise DecisionError(
                f"sampler '{sampler}' needs choices that are ordered numbers and unconditional; this space "
                f"has none: {', '.join(unordered[:5])}. Use tpe, gp, nsga2 or nsga3."
            )

    def state(self) -> dict[str, Any]:
        """Return the ledger and how often the sampler repeated itself, as plain JSON values."""
        return {**super().state(), "repeats": self.repeats}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        super().restore(state)
        self.repeats = state["repeats"]

    def propose(self) -> Decision:
        """Return the sampler's decision, or where it is known already a new one that differs in one choice."""
        ledger = self.ledger
        if not len(ledger.space):
            return Decision()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = copy.deepcopy(self._replay())
            study.sampler = self._sampler(len(ledger.entries))
            decision = self._suggest(study.ask())
        if decision not in ledger.entries:
            return decision
        self.repeats += 1
        return neighbour(ledger.space, decision, ledger.rng(), ledger.entries)

    def _sampler(self, index: int) -> optuna.samplers.BaseSampler:
        # 10007: a prime, so that the streams of neighbouring seeds do not overlap within a study.
        seed = (self.ledger.seed * 10007 + index) % 2**31
        return getattr(optuna.samplers, self.row.name)(seed=seed, **self.options)

    def _suggest(self, trial: optuna.Trial) -> Decision:
        """Walk the space in order, asking `trial` for each choice that is active given those before it."""
        values: dict[str, Value] = {}
        for choice in self.ledger.space:
            if not self.ledger.space.active(choice, Decision(values)):
                continue
            kind = self._distributions[choice.name]
            if isinstance(kind, IntDistribution):
                values[choice.name] = choice.values[trial.suggest_int(choice.name, kind.low, kind.high)]
            else:
                values[choice.name] = trial.suggest_categorical(choice.name, choice.values)
        return self.ledger.space.canonical(Decision(values))

    def _parameters(self, decision: Decision) -> dict[str, Any]:
        space = self.ledger.space
        return {
            c.name: c.values.index(decision.of(c)) if ordered(c) else decision.of(c)
            for c in space
            if space.active(c, decision)
        }

    def _replay(self) -> optuna.Study:
        """Return a study that holds the ledger; only what is new is put into it, unless something changed."""
        entries = list(self.ledger.entries.items())
        if self._study is None or entries[: len(self._held)] != self._held:
            directions = ["maximize"] if self._folded else list(self.directions)
            self._study, self._held = optuna.create_study(directions=directions), []
        for index, (decision, seen) in enumerate(entries[len(self._held) :], len(self._held)):
            if self.row.population:
                self._replay_through_sampler(self._study, index, decision, seen)
            else:
                self._study.add_trial(self._frozen(decision, seen))
            self._held.append((decision, seen))
        return self._study

    def _replay_through_sampler(
        self, study: optuna.Study, index: int, decision: Decision, seen: Observation | None
    ) -> None:
        """Samplers with a population mark each trial with its generation while they sample it."""
        study.sampler = self._sampler(index)
        study.enqueue_trial(self._parameters(decision))
        trial = study.ask()
        self._suggest(trial)
        _ = trial.relative_params
        if seen is None:
            return
        if not seen.values:
            study.tell(trial, state=TrialState.FAIL)
            return
        if self._folded:
            study.tell(trial, self._standing(index))
            return
        trial.set_constraint("violation", seen.violation)
        study.tell(trial, list(seen.values))

    @property
    def _folded(self) -> bool:
        """Whether several objectives are told as one."""
        return self.row.single_objective and len(self.directions) > 1

    def _standing(self, index: int) -> float:
        """Return how entry number `index` stands among those measured before it; later results do not change it."""
        seen = self.ledger.measured(index + 1)
        signs = np.array([-1.0 if d == "maximize" else 1.0 for d in self.directions])
        values, violations = np.array([o.values for o in seen]) * signs, np.array([o.violation for o in seen])
        return float(standing(values, np.maximum(violations, 0.0))[-1])

    def _frozen(self, decision: Decision, seen: Observation | None) -> optuna.trial.FrozenTrial:
        parameters = self._parameters(decision)
        shape: dict[str, Any] = {
            "params": parameters,
            "distributions": {name: self._distributions[name] for name in parameters},
        }
        if seen is None:
            return create_trial(state=TrialState.RUNNING, **shape)
        if not seen.values:
            return create_trial(state=TrialState.FAIL, **shape)
        return create_trial(values=list(seen.values), constraints={"violation": seen.violation}, **shape)
