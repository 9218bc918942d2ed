"""The main job with one supernet for all candidates."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from quick import latency

import whet
from whet.compress.importance import Frozen
from whet.compress.width import Width
from whet.core.study import Study, Trial
from whet.elastic.supernet import Supernet
from whet.flow import elastic
from whet.flow.elastic import ElasticExplore, frozen
from whet.flow.folder import Folder
from whet.flow.front import DeliveredFront
from whet.flow.job import Job
from whet.flow.optimize import _opened as opened
from whet.flow.optimize import optimize
from whet.flow.stage import Plan
from whet.flow.workbench import Workbench
from whet.hardware import targets


@pytest.fixture(scope="module")
def trials(digits: tuple[whet.Net, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Trial], Path]:
    net, bundle = digits
    seen: list[Trial] = []
    out = tmp_path_factory.mktemp("runs") / "elastic"
    add = Study.add
    def slow(self: Workbench, path: Path, seconds: float = 0.0) -> Any:
        return latency("x", 1.0), self.timing.settings[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "add", lambda self, trial: seen.append(trial) or add(self, trial))
        patch.setattr(Workbench, "time_file", slow)  # so that others than the verified ones would be faster
        front = optimize(
            net, bundle.task, max_drop="25%", epochs=3.0, trials=4, elastic=True, out=out, recipe=bundle.recipe
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
    monkeypatch.setattr(elastic, "save_state", lambda *given: pytest.fail("the supernet was trained again"))
    optimize(net, bundle.task, max_drop="25%", epochs=3.0, trials=4, elastic=True, out=trials[1], recipe=bundle.recipe)
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


def test_steps_train_the_links_of_a_chain(
    digits: tuple[whet.Net, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, bundle = digits
    seen: list[list[whet.Decision]] = []

    def believed(self: ElasticExplore, strategy: Any) -> tuple[dict[str, float], dict[str, float]]:
        names = [choice.name for choice in self.space]
        return dict.fromkeys(names, -0.1), {name: 0.0125 * 2**i for i, name in enumerate(names)}

    def leg(self: ElasticExplore, supernet: Supernet, number: int) -> None:
        seen.append([self.scheduled(step) for step in range(80)])
        assert seen[-1] == [self.scheduled(step) for step in range(80)]
        self.study.remember(f"supernet_samples_{number}", 1000)
        self.study.remember("supernet_samples_per_second", 0.0)
        if number == 2:
            raise KeyboardInterrupt

    def drop(self: ElasticExplore, supernet: Supernet, decision: whet.Decision) -> float:
        return 0.0449 if decision in self.rungs[: 2 if len(seen) == 1 else 3] else 0.0451

    monkeypatch.setattr(elastic, "LEGS", ((0.3, 8), (0.6, 3), (1.0, 2)))
    monkeypatch.setattr(ElasticExplore, "_probe", lambda self, decision, timed: None)
    monkeypatch.setattr(ElasticExplore, "_beliefs", believed)
    monkeypatch.setattr(ElasticExplore, "_leg", leg)
    monkeypatch.setattr(ElasticExplore, "_drop", drop)
    optimize(net, bundle.task, max_drop="5%", budget="60s", elastic=True, out=tmp_path / "r", recipe=bundle.recipe)
    links, three, two = (sorted(set(leg), key=len) for leg in seen)
    assert len(links) == 4 and len(links[0])
    assert all(before.items() <= after.items() for before, after in pairwise(links))
    assert three == links[:3] and two == links[1:3]


def explorer(digits: tuple[whet.Net, Any], out: Path, rungs: int, rivals: int = 0, **job: Any) -> ElasticExplore:
    """Return an explorer that has planned so many rungs and rivals."""
    net, bundle = digits
    given = Job(net, bundle.task, targets.get("cpu"), (Width(),), (), 1200.0, out, elastic=True, **job)
    bench, plan = opened(given, Folder(out), Plan(), lambda event: None)
    explore = ElasticExplore(bench, plan)
    explore.rungs = [whet.Decision({"rung": i}) for i in range(rungs)]
    explore.rivals = [whet.Decision({"rival": i}) for i in range(rivals)]
    return explore


@pytest.mark.parametrize(
    ("rungs", "rivals", "legs"),
    [
        (6, 0, [(0.35, 6), (0.65, 4), (1.0, 3)]),
        (4, 0, [(0.65, 4), (1.0, 3)]),
        (3, 0, [(1.0, 3)]),
        (3, 3, [(0.35, 6), (1.875, 3)]),
        (1, 2, [(0.35, 3), (1.875, 2)]),
        (4, 2, [(0.35, 6), (0.65, 4), (1.875, 3)]),
    ],
)
def test_a_training_ends_only_where_rungs_are_left_behind(
    digits: tuple[whet.Net, Any], tmp_path: Path, rungs: int, rivals: int, legs: list[tuple[float, int]]
) -> None:
    explore = explorer(digits, tmp_path, rungs, rivals, max_drop=0.01, strategy="improvement")
    assert explore.legs == [(pytest.approx(share), most) for share, most in legs]
    assert explore.until == pytest.approx(0.4 * legs[-1][0])
    assert explore.finals_seconds() == (300.0 if rivals else 1200.0)


def test_of_k_sub_networks_at_once_each_gains_as_if_from_one_by_the_root_of_k_of_the_samples(
    digits: tuple[whet.Net, Any], tmp_path: Path
) -> None:
    """Six, four and three are trained for 0.35, 0.3 and 0.35 of 100 samples; then each may have one full training."""
    explore = explorer(digits, tmp_path, 6, max_drop=0.01, strategy="improvement")
    for leg in range(3):
        explore.study.remember(f"supernet_samples_{leg}", 6000 * (leg + 1))
    assert explore._own_samples(1) == int(6000 / 6**0.5)
    assert explore._own_samples(3) == int(6000 / 6**0.5 + 12_000 / 2 + 18_000 / 3**0.5)
    assert [explore._portion(leg) for leg in range(3)] == pytest.approx([0.35, 0.3, 0.35])
    explore.plan = replace(explore.plan, elastic_samples=100, full_samples=7)
    assert explore._samples_to_come(1) == pytest.approx(100 * (0.3 / 2 + 0.35 / 3**0.5) + 7)


def test_without_a_limit_all_rungs_are_trained_to_the_end(digits: tuple[whet.Net, Any], tmp_path: Path) -> None:
    assert explorer(digits, tmp_path, 6, strategy="improvement").legs == [(1.0, 6)]


def test_of_a_chain_only_the_rungs_are_tried(digits: tuple[whet.Net, Any], tmp_path: Path) -> None:
    """ResNet-20's supernet of three rungs was asked for 22 other candidates, which took 90 seconds: they lost 2-51%."""
    explore = explorer(digits, tmp_path, 3, max_drop=0.01, strategy="improvement")
    explore.kept = slice(0, 2)
    assert explore.most_candidates() == 2


def test_a_rival_that_lost_less_takes_the_last_place_and_one_more_rung_comes_after_it(
    digits: tuple[whet.Net, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, bundle = digits
    names = [choice.name for choice in Width().space(net, targets.get("cpu"))][:3]
    first, second, rival, further = (
        whet.Decision({names[i]: 0.5 for i in cut}) for cut in ((0,), (0, 1), (0, 2), (0, 1, 2))
    )
    seen: list[list[whet.Decision]] = []

    def leg(self: ElasticExplore, supernet: Supernet, number: int) -> None:
        seen.append([self.scheduled(step) for step in range(400)])
        self.study.remember(f"supernet_samples_{number}", 1000)
        self.study.remember("supernet_samples_per_second", 0.0)
        if number == 1:
            assert self._drops(0) == [0.01, 0.02, 0.05]
            raise KeyboardInterrupt

    def drop(self: ElasticExplore, supernet: Supernet, decision: whet.Decision) -> float:
        return {first: 0.01, second: 0.03, rival: 0.02, further: 0.05}[decision]

    monkeypatch.setattr(elastic, "planned", lambda strategy: ([first, second], [rival]))
    monkeypatch.setattr(elastic, "beyond", lambda strategy, rung: [further] if rung == rival else [])
    monkeypatch.setattr(ElasticExplore, "_probe", lambda self, decision, timed: None)
    monkeypatch.setattr(ElasticExplore, "_beliefs", lambda self, strategy: (dict.fromkeys(names, -0.1), {}))
    monkeypatch.setattr(ElasticExplore, "_leg", leg)
    monkeypatch.setattr(ElasticExplore, "_drop", drop)
    for _ in range(2):  # the second time as a resumed study, which knows the drops
        optimize(net, bundle.task, max_drop="5%", budget="60s", elastic=True, out=tmp_path / "r", recipe=bundle.recipe)
        monkeypatch.setattr(ElasticExplore, "_drop", lambda self, supernet, decision: pytest.fail("scored again"))
    assert [set(drawn) for drawn in seen] == 2 * [{first, second, rival}, {first, rival, further}]
    assert 160 < seen[1].count(further) < 240  # every other step


def test_what_a_leg_did_to_the_drops_says_how_far_the_next_may_go(
    digits: tuple[whet.Net, Any], tmp_path: Path
) -> None:
    """Rungs at 3.5% are out of reach of a limit of 1% by what is believed, and within it where a leg halved drops."""
    windows = []
    for after in (0.034, 0.011):
        explore = explorer(digits, tmp_path / str(after), 8, max_drop=0.01, strategy="improvement")
        for leg, drops in enumerate(([0.01] + [0.035] * 7, [0.009] + [after] * 4 + [0.035] * 3)):
            explore.study.remember(f"supernet_samples_{leg}", 60_000)
            explore.study.remember(f"supernet_drops_{leg}", drops)
        explore.study.remember("supernet_samples_per_second", 100.0)
        windows.append(explore._window(2))
    assert windows == [slice(0, 3), slice(3, 6)]
