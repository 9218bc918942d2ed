"""Networks of decisions: cut, repaired, finished, built again from their weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from quick import made
from torch import nn

import whet
from whet.compress.width import Width
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow.builder import Builder
from whet.flow.request import Request
from whet.flow.stopwatch import Stopwatch
from whet.flow.training import cut_empty
from whet.graph.axes import analyze
from whet.graph.empty import EMPTIED, exact, tensors_of
from whet.testing.runs import AlignedTarget, classification
from whet.train.state import save_state


def builder(out: Path = Path("unused"), elastic: bool = False, **data: Any) -> Builder:
    net, task = made()
    target: Any = AlignedTarget(1)
    request = Request(net, replace(task, **data), target, (Width(),), (), 60.0, out, elastic=elastic)
    return Builder(request, Run(request.task, target, teacher=net), Stopwatch())


def halved(made_by: Builder) -> Decision:
    name = next(c.name for c in made_by.space if 0.5 in c.values)
    return Decision({name: 0.5})


def test_all_nets_have_the_layout_that_training_and_scoring_give_them() -> None:
    """Else what is solved of a net depends, in the last places, on whether it was scored or trained before."""
    torch.manual_seed(0)
    convolutions = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.ReLU())
    net = whet.lift(convolutions.append(nn.Flatten()).append(nn.Linear(128, 5)).eval(), (torch.randn(2, 3, 8, 8),))
    task, target = classification(net), AlignedTarget(1)
    request = Request(net, task, target, (Width(),), (), 60.0, Path("unused"))  # type: ignore[arg-type]
    found = Builder(request, Run(task, target, teacher=net), Stopwatch())  # type: ignore[arg-type]
    half = halved(found)
    for made_net in (net, found.cut(half).net, found.structure(half).net):
        weights = [p for p in made_net.module.parameters() if p.dim() == 4]
        assert weights and all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


def test_what_is_cut_is_repaired_and_nothing_else() -> None:
    found = builder()
    half = halved(found)
    cut, repaired = found.cut(half), found.structure(half)
    assert found.output_error(repaired.net) < 0.5 * found.output_error(cut.net)
    assert repaired.changed[: len(cut.changed)] == cut.changed
    assert [c.kind for c in repaired.changed[len(cut.changed) :]] == ["repaired"]
    whole = found.cut(Decision())
    assert found.repaired(whole, found.request.net) is whole
    assert {"cut", "repair", "error"} <= set(found.clock.lasted)


@pytest.mark.parametrize(
    ("elastic", "trains", "calibrates", "repairs"),
    [(False, True, False, True), (False, False, True, True), (False, False, False, False), (True, True, True, False)],
)
def test_candidates_are_repaired_where_there_are_inputs_and_weights_of_their_own(
    elastic: bool, trains: bool, calibrates: bool, repairs: bool
) -> None:
    data = made()[1].val
    found = builder(elastic=elastic, train=data if trains else None, calibration=data if calibrates else None)
    assert found.repairs is repairs
    assert any(c.kind == "repaired" for c in found.structure(halved(found)).changed) is repairs


def test_only_where_nothing_trains_in_place_the_last_network_is_kept() -> None:
    kept, fresh = builder(train=None, calibration=made()[1].val), builder()
    half = halved(kept)
    assert kept.structure(half) is kept.structure(half) and fresh.structure(half) is not fresh.structure(half)
    kept.structure(Decision())
    assert len(kept.structure(half).changed) > 0, "another decision is another network"


def test_a_trial_is_built_again_with_its_own_weights(tmp_path: Path) -> None:
    found = builder(tmp_path)
    half = halved(found)
    net = found.structure(half).net
    with torch.no_grad():
        for parameter in net.module.parameters():
            parameter.add_(0.1)
    save_state(net, tmp_path / "0.safetensors")
    trial = Trial(0, "full", half, 0.9, 0.0, 1.0, state="0.safetensors")
    x = net.example[0]
    assert torch.equal(found.rebuild(trial)(x), net(x))
    assert torch.equal(found.rebuild(replace(trial, state=None))(x), found.structure(half).net(x))


def test_what_training_left_empty_is_cut_and_is_not_there_when_the_trial_is_built_again(tmp_path: Path) -> None:
    found = builder(tmp_path)
    half = halved(found)
    result = found.structure(half)
    group = next(g for s, g in analyze(result.net).groups.items() if s in exact(result.net, analyze(result.net)))
    with torch.no_grad():
        for parameter, dim, atom in tensors_of(result.net, group)[0]:
            parameter.index_fill_(dim, (atom == 1).nonzero().flatten(), 0.0)
    narrow = cut_empty(result)
    assert [(c.site, c.kind) for c in narrow.changed[len(result.changed) :]] == [(group.site, "emptied")]
    assert narrow.net.parameter_count < result.net.parameter_count and cut_empty(narrow) is narrow
    save_state(narrow.net, tmp_path / "0.safetensors", {EMPTIED: narrow.net.module.meta[EMPTIED]})
    again = found.rebuild(Trial(0, "full", half, 0.9, 0.0, 1.0, state="0.safetensors"))
    x = narrow.net.example[0]
    assert torch.equal(again(x), narrow.net(x)) and torch.allclose(again(x), result.net(x), atol=1e-4)


def test_the_original_is_forecast_to_be_itself_and_half_of_it_faster_and_smaller() -> None:
    found = builder()
    assert found.forecast(found.request.net) == {"speedup": 1.0, "gain": 1.0}
    half = found.forecast(found.cut(halved(found)).net)
    assert half["speedup"] > 1.5 and half["gain"] == half["speedup"], "gain is speed, where only that is wanted"
