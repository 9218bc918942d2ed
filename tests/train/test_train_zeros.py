"""Zeros in training: those that are held stay, and more come as the schedule says, also after an interruption."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from toy_training import F32, network, task

from whet.core.checks import ValueRangeError
from whet.graph.zeros import hold
from whet.train.fit import fit
from whet.train.recipe import Recipe
from whet.train.technique import Hooks, Session
from whet.train.zeros import GradualPruning


def test_zeros_that_are_held_stay_and_others_do_not() -> None:
    module = network()
    for layer in (module[0], module[2]):
        with torch.no_grad():
            layer.weight[:, ::2] = 0.0  # type: ignore[index, operator]
    hold(module[0])
    fit(module, task(), recipe=F32, epochs=2)
    first, last = (module[i].get_parameter("weight") for i in (0, 2))
    assert torch.equal(first[:, ::2], torch.zeros(32, 3)) and (first[:, 1::2] != 0).all()
    assert (last[:, ::2] != 0).any()


def test_the_share_follows_zhu_and_guptas_cubic() -> None:
    """s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3, as their equation 1 has it."""
    item = GradualPruning(0.9, initial=0.1, start=0.2, stop=0.7)
    for t in (0.0, 0.2, 0.3, 0.45, 0.69, 0.7, 1.0):
        share = min(max((t - 0.2) / 0.5, 0.0), 1.0)
        assert item.share_at(t) == pytest.approx(0.9 - 0.8 * (1 - share) ** 3)


@pytest.mark.parametrize("group", [0, 2])
def test_zeros_come_as_the_schedule_says_and_never_go(group: int) -> None:
    module, item = network(), GradualPruning(0.5, stop=0.5, every=2, group=group, least=64)
    shown: list[set[int]] = []

    @dataclass(frozen=True)
    class Watch:
        def begin(self, session: Session) -> Hooks:
            def look() -> None:
                weights = torch.cat([m.weight.flatten() for m in (module[0], module[2])])  # type: ignore[operator]
                shown.append(set((weights == 0).nonzero().flatten().tolist()))
                if not group and session.report.steps % 2 == 0:
                    assert len(shown[-1]) == int(item.share_at(session.progress()) * 288 + 0.5)

            return Hooks(after_step=look)

    fit(module, task(), recipe=F32, samples=640, techniques=(item, Watch()))
    assert all(a <= b for a, b in pairwise(shown))
    assert len(shown[-1]) == 144 and (group or len(shown[3]) < 144)
    assert not group or len({i // group for i in shown[-1]}) == 144, "one of each pair"


def test_layers_of_their_own_have_the_share_each() -> None:
    module = network()
    module[0].get_parameter("weight").data.mul_(100.0)
    fit(module, task(), recipe=F32, samples=640, techniques=(GradualPruning(0.5, each=True, every=2, least=64),))
    assert [int((module[i].get_parameter("weight") == 0).sum()) for i in (0, 2)] == [96, 48]


def test_pruning_goes_on_exactly_after_an_interruption(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    recipe = Recipe("adamw", 0.01, precision="f32", techniques=(GradualPruning(0.6, every=3, least=64),))
    whole, broken, seen = network(), network(), 0
    fit(whole, task(), recipe=recipe, samples=800)

    def interrupting(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal seen
        seen += 1
        if seen == 11:
            os.kill(os.getpid(), signal.SIGINT)
        return functional.cross_entropy(outputs, targets)

    with pytest.raises(KeyboardInterrupt):
        fit(broken, task(interrupting), recipe=recipe, samples=800, checkpoint=tmp_path / "c.safetensors")
    resumed = network()
    report = fit(resumed, task(), recipe=recipe, samples=800, checkpoint=tmp_path / "c.safetensors")
    torch.set_num_threads(threads)
    assert report.steps == 25
    assert all(map(torch.equal, whole.state_dict().values(), resumed.state_dict().values()))


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"start": 0.5, "stop": 0.5}, {"every": 0}])
def test_values_that_cannot_be_meant_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueRangeError):
        GradualPruning(**wrong)
