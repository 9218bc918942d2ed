"""BoTorch as a strategy: conformance, and that its acquisition wants what is better; what is told without it."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest

from whet.bench.peers import botorch as peer
from whet.bench.peers.botorch import QLogNehvi, acquisition
from whet.core.errors import DecisionError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation

SPACE = Space([Choice(f"block{i}:keep", (True, False), True) for i in range(4)])
installed = pytest.mark.skipif(find_spec("botorch") is None, reason="needs the package 'botorch'")


def figures(decision: Decision) -> Observation:
    """Return a speed-up that rises with each block dropped, and a drop that only the last makes."""
    return Observation(decision, (1.0 + 0.1 * len(decision), 0.2 if "block3:keep" in decision else 0.0))


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "find_spec", lambda name: None)
    with pytest.raises(DecisionError, match=r"needs the package 'botorch': pip install '\.\[peers\]'"):
        QLogNehvi(SPACE)


def test_the_reference_has_a_number_for_each_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "find_spec", lambda name: name)
    with pytest.raises(DecisionError, match="one number an objective, 2; got"):
        QLogNehvi(SPACE, reference=(1.0,))


def test_figures_are_turned_to_be_maximised_and_a_broken_limit_costs_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "find_spec", lambda name: name)
    met, broken = Observation(Decision(), (1.0, 0.25)), Observation(Decision(), (3.0, 0.75), violation=0.5)
    assert QLogNehvi(SPACE).maximised([met, broken]).tolist() == [[1.0, -0.25], [3.0 - 10.0, -0.75 - 2.5]]


@installed
def test_what_is_faster_for_no_drop_is_wanted_more_than_what_costs() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (12, 2)).astype(float)
    y = np.stack([1.0 + x[:, 0], -x[:, 1]], axis=1)
    dear, cheap = acquisition(x, y, np.array([[0.5, 0.5], [1.5, 0.0]]), np.array([0.9, -1.1]), seed=0)
    assert cheap > dear


@installed
def test_it_finds_the_best_of_a_toy_and_replays() -> None:
    runs = []
    for _ in range(2):
        strategy, log = QLogNehvi(SPACE, 1, reference=(1.0, 0.1), warm_up=5), list[Observation]()
        for _ in range(8):
            asked = strategy.ask()
            log += [figures(d) for d in asked]
            strategy.tell(log[-1:])
        runs.append(log)
    assert runs[0] == runs[1]
    assert max(o.values[0] for o in runs[0][5:] if o.values[1] == 0) == pytest.approx(1.3)
    again = QLogNehvi(SPACE, 1, reference=(1.0, 0.1), warm_up=5)
    again.restore(json.loads(json.dumps(strategy.state())))
    assert again.ask() == strategy.ask()
