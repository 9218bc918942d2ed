"""The main job with one supernet for all candidates."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import whet
from whet.compress.importance import Frozen
from whet.compress.width import Width
from whet.core.study import Study, Trial
from whet.elastic.supernet import Supernet
from whet.flow import elastic
from whet.flow.elastic import ElasticExplore, frozen
from whet.flow.front import DeliveredFront
from whet.flow.optimize import optimize
from whet.hardware import targets


@pytest.fixture(scope="module")
def trials(digits: tuple[whet.Net, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Trial], Path]:
    net, bundle = digits
    seen: list[Trial] = []
    out = tmp_path_factory.mktemp("runs") / "elastic"
    add = Study.add
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "add", lambda self, trial: seen.append(trial) or add(self, trial))
        front = optimize(
            net, bundle.task, max_drop="5%", epochs=6.0, trials=4, elastic=True, out=out, recipe=bundle.recipe
        )
    assert isinstance(front, DeliveredFront)
    return seen, out


def test_candidates_are_cut_from_the_supernet_and_go_on_from_there(trials: tuple[list[Trial], Path]) -> None:
    seen, out = trials
    assert (out / "supernet.safetensors").exists() and not (out / "supernet.part").exists()
    short = [t for t in seen if t.stage == "short"]
    assert len(short) == 4 and all(t.state for t in short)
    assert len({t.samples for t in short}) == 1
    full = [t for t in seen if t.stage == "full" and t.samples]
    assert full and all(t.samples > short[0].samples for t in full)


def test_the_supernet_is_trained_once(
    trials: tuple[list[Trial], Path], digits: tuple[whet.Net, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, bundle = digits
    written = (trials[1] / "supernet.safetensors").stat().st_mtime_ns
    monkeypatch.setattr(elastic, "save_state", lambda *given: pytest.fail("the supernet was trained again"))
    optimize(net, bundle.task, max_drop="5%", epochs=6.0, trials=4, elastic=True, out=trials[1], recipe=bundle.recipe)
    assert (trials[1] / "supernet.safetensors").stat().st_mtime_ns == written


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
    seen: list[Any] = []

    def believed(self: ElasticExplore) -> tuple[dict[str, float], dict[str, float]]:
        names = [choice.name for choice in self.space]
        return dict.fromkeys(names, -0.1), {name: 0.02 * 2**i for i, name in enumerate(names)}

    def stop(self: ElasticExplore) -> None:
        schedule = self.schedule()
        seen.extend(schedule(step) for step in range(40))
        assert seen == [self.schedule()(step) for step in range(40)]
        raise KeyboardInterrupt

    monkeypatch.setattr(ElasticExplore, "_probe", lambda self, decision, timed: None)
    monkeypatch.setattr(ElasticExplore, "_beliefs", believed)
    monkeypatch.setattr(ElasticExplore, "explore", stop)
    optimize(net, bundle.task, max_drop="5%", budget="60s", elastic=True, out=tmp_path / "r", recipe=bundle.recipe)
    links = sorted(set(seen), key=len)
    assert len(links) > 2 and len(links[0])
    assert all(before.items() <= after.items() for before, after in pairwise(links))
