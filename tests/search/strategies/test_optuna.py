from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution

from whet.core.errors import DecisionError, UnknownNameError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation, Strategy
from whet.decisions.genes import ordered
from whet.search import strategies
from whet.search.strategies.optuna import OptunaStrategy, distribution
from whet.testing.strategies import SPACES, WIDTHS, check

NETWORK = Space(
    [
        *(Choice(f"block{i}:keep", (True, False), True) for i in range(5)),
        *(Choice(f"layer{i}:width", WIDTHS, 1.0) for i in range(5)),
    ]
)


def cost(decision: Decision) -> tuple[float, float]:
    """A speed-up and a drop: blocks differ in how much they matter, widths hurt quadratically."""
    latency, drop = 1.0, 0.0
    for i in range(5):
        width = float(decision.get(f"layer{i}:width", 1.0)) * bool(decision.get(f"block{i}:keep", True))
        latency += width
        drop += (1 + i) * (1 - width) ** 2
    return 6 / latency, drop


def best_feasible(strategy: Strategy, limit: float, rounds: int = 40) -> float:
    best = 0.0
    strategy.enqueue([Decision()])
    for _ in range(rounds):
        (decision,) = strategy.ask()
        speedup, drop = cost(decision)
        strategy.tell([Observation(decision, (speedup, drop), drop - limit)])
        best = max(best, speedup) if drop <= limit else best
    return best


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "nsga3", "random"])
def test_conforms(sampler: str) -> None:
    assert check(lambda space, seed: OptunaStrategy(space, seed, sampler=sampler)) == list(SPACES)


@pytest.mark.slow
def test_gaussian_process_conforms(monkeypatch: pytest.MonkeyPatch) -> None:
    made = optuna.samplers.GPSampler.__init__

    def hasty(self: optuna.samplers.GPSampler, *given: Any, **options: Any) -> None:
        """Look at few points: what is promised of every strategy does not depend on how good its proposals are."""
        made(self, *given, **options)
        self._n_preliminary_samples, self._n_local_search, self._n_qmc_samples_ehvi = 64, 4, 16

    monkeypatch.setattr(optuna.samplers.GPSampler, "__init__", hasty)
    few = ["one point", "four points", "conditional"]
    assert check(lambda space, seed: OptunaStrategy(space, seed, sampler="gp"), spaces=few) == few


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("gp", marks=pytest.mark.slow), "nsga2"])
def test_finds_faster_networks_within_the_limit_than_random_search(sampler: str) -> None:
    seeds, rounds = (range(2), 16) if sampler == "gp" else (range(8), 40)
    found = [best_feasible(strategies.get(sampler, NETWORK, seed), 1.5, rounds) for seed in seeds]
    chance = [best_feasible(strategies.get("random", NETWORK, seed), 1.5, rounds) for seed in seeds]
    assert sum(found) > sum(chance)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_study_that_is_kept_proposes_what_a_new_one_does(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = strategies.get(sampler, NETWORK, 0)
    put: list[int] = []
    for name in ("_replay_through_sampler", "_frozen"):
        kept = getattr(OptunaStrategy, name)
        monkeypatch.setattr(OptunaStrategy, name, lambda self, *given, kept=kept: put.append(0) or kept(self, *given))
    for index in range(25):
        (decision,) = whole.ask()
        assert len(put) == index
        again = strategies.get(sampler, NETWORK, 0)
        again.tell(o for o in whole.ledger.measured())
        assert again.ask() == [decision]
        del put[index:]
        whole.tell([Observation(decision, cost(decision))])


def test_limits_reach_the_sampler() -> None:
    def feasible(tell_limit: bool) -> int:
        total = 0
        for seed in range(5):
            strategy = strategies.get("tpe", NETWORK, seed)
            for _ in range(30):
                (decision,) = strategy.ask()
                values = cost(decision)
                total += values[1] <= 1.0
                strategy.tell([Observation(decision, values, values[1] - 1.0 if tell_limit else 0.0)])
        return total

    assert feasible(True) > 1.5 * feasible(False)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_each_trial_that_a_sampler_sees_has_its_values_and_its_constraint(sampler: str) -> None:
    strategy = strategies.get(sampler, NETWORK, 0)
    assert isinstance(strategy, OptunaStrategy)
    for _ in range(10):
        (decision,) = strategy.ask()
        strategy.tell([Observation(decision, cost(decision), cost(decision)[1] - 1.0)])
    for trial, seen in zip(strategy._replay().trials, strategy.ledger.measured(), strict=True):
        assert tuple(trial.values) == seen.values
        assert trial.constraints == {"violation": pytest.approx(seen.violation)}
        assert trial.params == strategy._parameters(seen.decision)


def test_cma_es_refuses_what_it_cannot_search() -> None:
    categorical = Space([Choice("a:keep", (True, False), True), Choice("b:method", ("x", "y"), "x")])
    with pytest.raises(DecisionError, match=r"ordered numbers.*a:keep, b:method"):
        strategies.get("cmaes", categorical, directions=("minimize",))


def test_a_strategy_whose_package_is_missing_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategies, "find_spec", lambda name: None)
    strategies.check("tpe")
    for ask in (lambda: strategies.check("cmaes"), lambda: OptunaStrategy(NETWORK, sampler="cmaes")):
        with pytest.raises(DecisionError, match="'cmaes' needs the package 'cmaes': pip install cmaes"):
            ask()


def test_cma_es_serves_several_objectives_by_how_each_result_stands_among_those_before_it() -> None:
    pytest.importorskip("cmaes", reason="the package cmaes is not installed")
    assert "ordered" in check(lambda space, seed: strategies.get("cmaes", space, seed))
    folded = strategies.get("cmaes", NETWORK, 0)
    assert isinstance(folded, OptunaStrategy)
    for index in range(12):
        (decision,) = folded.ask()
        folded.tell([Observation(decision, cost(decision), -1.0 if index % 2 else 1.0)])
    told = [t.value for t in folded._replay().trials]
    assert told == [folded._standing(index) for index in range(12)]
    assert all(standing >= 0.5 for standing in told[1::2]), "what keeps the limits stands above what breaks them"


def test_cma_es_finds_faster_networks_within_the_limit_than_random_search() -> None:
    pytest.importorskip("cmaes", reason="the package cmaes is not installed")
    space = Space([c for c in NETWORK if c.name.endswith("width")])
    found, chance = (
        sum(best_feasible(strategies.get(name, space, seed), limit=1.5) for seed in range(4))
        for name in ("cmaes", "random")
    )
    assert found > chance


def test_cma_es_conforms_and_descends() -> None:
    pytest.importorskip("cmaes", reason="the package cmaes is not installed")
    make: Callable[[Space, int], Strategy] = lambda space, seed: strategies.get(  # noqa: E731
        "cmaes", space, seed, directions=("minimize",)
    )
    assert "ordered" in check(make, objectives=1)
    space = Space([Choice(f"layer{i}:width", tuple(j / 16 for j in range(1, 17)), 1.0) for i in range(6)])
    late = early = 0.0
    for seed in range(3):
        strategy = make(space, seed)
        errors = []
        for _ in range(80):
            (decision,) = strategy.ask()
            errors.append(sum((decision.of(c) - 0.3 - 0.1 * i) ** 2 for i, c in enumerate(space)))  # type: ignore
            strategy.tell([Observation(decision, (errors[-1],))])
        early, late = early + sum(errors[:20]), late + sum(errors[-20:])
    assert late < 0.5 * early


def test_order_is_seen_only_where_there_is_one() -> None:
    assert ordered(Choice("a:width", WIDTHS, 1.0))
    assert distribution(Choice("a:width", WIDTHS, 1.0)) == IntDistribution(0, 3)
    assert distribution(Choice("a:name", ("x", "y"), "x")) == CategoricalDistribution(("x", "y"))
    assert ordered(Choice("a:bits", (32, 8, 4), 32))
    assert not ordered(Choice("a:keep", (True, False), True))
    assert not ordered(Choice("a:threads", (2, 1, 4), 1))
    assert not ordered(Choice("a:name", ("x", "y"), "x"))


def test_unknown_sampler_and_wrong_number_of_values() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'tpe'"):
        OptunaStrategy(Space(), sampler="tpee")
    with pytest.raises(DecisionError, match="one value per objective"):
        OptunaStrategy(NETWORK).tell([Observation(Decision(), (1.0,))])


def test_optuna_is_silent(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    for name in ("tpe", "gp", "nsga2"):
        strategy = strategies.get(name, SPACES["conditional"], 0)
        for _ in range(10):
            strategy.tell(Observation(d, (1.0, 0.0)) for d in strategy.ask())
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert not recwarn.list
    assert optuna.logging.get_verbosity() == logging.ERROR
