"""The main request with one supernet for all candidates."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from quick import latency

import whet
from whet.compress.importances import Frozen
from whet.compress.width import Width
from whet.core.study import Study, Trial
from whet.elastic.supernet import Supernet
from whet.flow import supernets
from whet.flow.delivered import DeliveredFront
from whet.flow.evaluator import DOERS, Evaluator
from whet.flow.files import Files
from whet.flow.optimize import optimize
from whet.flow.supernets import frozen
from whet.hardware import targets
from whet.schedule import legs, together
from whet.schedule.actions import Probe, Score, TrainTogether
from whet.schedule.beliefs import Beliefs
from whet.schedule.settling import Settling


@pytest.fixture(autouse=True, scope="module")
def unsettled() -> Iterator[None]:
    """Have searches end where formats would be mixed layer by layer: no supernet has a part in that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settling, "run", lambda self: iter(()))
        yield


@pytest.fixture(scope="module")
def trials(digits: tuple[whet.Net, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Trial], Path]:
    net, bundle = digits
    seen: list[Trial] = []
    out = tmp_path_factory.mktemp("runs") / "elastic"
    add = Study.add

    def slow(self: Files, path: Path, brief: bool = False) -> Any:
        return latency("x", 1.0), self.timing.settings[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "add", lambda self, trial: seen.append(trial) or add(self, trial))
        patch.setattr(Files, "time_file", slow)  # so that others than the verified ones would be faster
        front = optimize(
            net, bundle.task, max_drop="25%", epochs=2.0, trials=4, elastic=True, out=out, recipe=bundle.recipe
        )
    assert isinstance(front, DeliveredFront)
    return seen, out


def test_candidates_are_cut_from_the_supernet_and_go_on_from_there(trials: tuple[list[Trial], Path]) -> None:
    seen, out = trials
    assert (out / "supernet-0.safetensors").exists() and not list(out.glob("supernet-*.part"))
    short = [t for t in seen if t.stage == "short"]
    assert len(short) == 4 and all(t.state for t in short)
    assert len({t.samples for t in short}) == 1
    trained = [t for t in seen if t.stage == "full" and t.samples > short[0].samples]
    assert trained and all(t.number > max(s.number for s in short) for t in trained)


def test_the_best_within_the_limit_are_verified_without_training(trials: tuple[list[Trial], Path]) -> None:
    seen, out = trials
    short = {t.number: t for t in seen if t.stage == "short"}
    verified = [t for t in seen if t.stage == "full" and t.parent in short and t.samples == short[t.parent].samples]
    fastest = max((t for t in short.values() if t.drop <= 0.25), key=lambda t: t.speedup)
    assert fastest.number in {t.parent for t in verified}
    for trial in verified:
        assert trial.decision == short[trial.parent].decision  # type: ignore[index]
        assert abs(trial.drop - short[trial.parent].drop) < 0.02 and (out / str(trial.artifact)).exists()  # type: ignore[index]


def test_the_supernet_is_trained_once(
    trials: tuple[list[Trial], Path], digits: tuple[whet.Net, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, bundle = digits
    written = {path: path.stat().st_mtime_ns for path in trials[1].glob("supernet-*.safetensors")}
    monkeypatch.setattr(supernets, "save_state", lambda *given: pytest.fail("the supernet was trained again"))
    optimize(net, bundle.task, max_drop="25%", epochs=2.0, trials=4, elastic=True, out=trials[1], recipe=bundle.recipe)
    assert written == {path: path.stat().st_mtime_ns for path in trials[1].glob("supernet-*.safetensors")} != {}


def test_frozen_passes_choose_alike_after_the_weights_changed(digits: tuple[whet.Net, Any]) -> None:
    net, bundle = digits
    run = whet.Run(bundle.task, targets.get("cpu"), net)
    (width,) = frozen((Width(),), net, run)
    assert isinstance(width, Width) and isinstance(width.importance, Frozen)
    other = net.copy()
    torch.manual_seed(0)
    for parameter in other.module.parameters():
        parameter.data.normal_()
    decision = whet.Decision({c.name: 0.5 for c in width.space(net, run.target)})
    kept = [width.apply(n, decision, run).net for n in (net, other)]
    where = Supernet(net, width, run).sub(decision).taken
    for source, smaller in zip((net, other), kept):
        for name, parameter in smaller.module.named_parameters():
            expected = source.module.get_parameter(name)
            for dim, indices in where[name]:
                expected = expected.index_select(dim, indices)
            assert torch.equal(parameter, expected)


def links_of(
    digits: tuple[whet.Net, Any], out: Path, monkeypatch: pytest.MonkeyPatch, last: int, drop: Any, effects: Any
) -> list[list[whet.Decision]]:
    """Search with made-up drops until the leg `last` would be trained; return what each leg's steps trained."""
    net, bundle = digits
    seen: list[list[whet.Decision]] = []

    def train(evaluator: Evaluator, action: TrainTogether) -> None:
        own = evaluator.supernets
        own.drawn = action.drawn
        seen.append([own.scheduled(step) for step in range(400)])
        assert seen[-1] == [own.scheduled(step) for step in range(400)]
        evaluator.study.remember(f"supernet_samples_{action.leg}", 1000)
        evaluator.study.remember("supernet_samples_per_second", 0.0)
        if action.leg == last:
            raise KeyboardInterrupt

    monkeypatch.setattr(Beliefs, "effects", effects)
    monkeypatch.setitem(DOERS, Probe, lambda evaluator, action: None)
    monkeypatch.setitem(DOERS, TrainTogether, train)
    monkeypatch.setitem(DOERS, Score, lambda evaluator, action: drop(action.decision, seen))
    optimize(
        net, bundle.task, target="onnxruntime-cpu", max_drop="5%", budget="60s", elastic=True, out=out,
        recipe=bundle.recipe, passes=("depth", "width"),
    )  # fmt: skip
    return seen


def test_steps_train_the_links_of_a_chain(
    digits: tuple[whet.Net, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def effects(self: Beliefs, strategy: Any) -> tuple[dict[str, float], dict[str, float]]:
        names = [choice.name for choice in self.situation.space]
        return dict.fromkeys(names, -0.1), {name: 0.0125 * 2**i for i, name in enumerate(names)}

    def drop(decision: whet.Decision, seen: list[list[whet.Decision]]) -> float:
        rungs = sorted(set(seen[0]), key=len)
        return 0.0449 if decision in rungs[: 2 if len(seen) == 1 else 3] else 0.0451

    monkeypatch.setattr(legs, "LEGS", ((0.3, 8), (0.6, 3), (1.0, 2)))
    drawn = links_of(digits, tmp_path / "r", monkeypatch, 2, drop, effects)
    links, three, two = (sorted(set(leg), key=len) for leg in drawn)
    assert len(links) == 4 and len(links[0])
    assert all(before.items() <= after.items() for before, after in pairwise(links))
    assert three == links[:3] and two == links[1:3]


def test_a_rival_that_lost_less_takes_the_last_place_and_one_more_rung_comes_after_it(
    digits: tuple[whet.Net, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [choice.name for choice in Width().space(digits[0], targets.get("cpu"))][:3]
    first, second, rival, further = (
        whet.Decision({names[i]: 0.5 for i in cut}) for cut in ((0,), (0, 1), (0, 2), (0, 1, 2))
    )
    drops = {first: 0.01, second: 0.03, rival: 0.02, further: 0.05}
    effects = lambda self, strategy: (dict.fromkeys(names, -0.1), {})  # noqa: E731
    monkeypatch.setattr(together, "planned", lambda strategy: ([first, second], [rival]))
    monkeypatch.setattr(together, "beyond", lambda strategy, rung: [further] if rung == rival else [])
    seen = links_of(digits, tmp_path / "r", monkeypatch, 1, lambda decision, seen: drops[decision], effects)
    again = links_of(  # as a resumed study, which knows the drops
        digits, tmp_path / "r", monkeypatch, 1, lambda *given: pytest.fail("scored again"), effects
    )
    assert [set(drawn) for drawn in (*seen, *again)] == 2 * [{first, second, rival}, {first, rival, further}]
    assert 160 < seen[1].count(further) < 240  # every other step
