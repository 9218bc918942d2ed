"""How sure a drop is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import whet
from whet.core.errors import TaskError
from whet.core.task import Task
from whet.verify.interval import GROUPS, drop_interval, drop_of_returns

CLASSES = Task("t", None, [0], metric=whet.accuracy)


def wrong(share: float, seed: int, rows: int = 2000) -> Tensor:
    """Return logits of two classes that miss the target 0 in about `share` of the rows."""
    missed = torch.rand(rows, generator=torch.Generator().manual_seed(seed)) < share
    return torch.stack([1.0 - missed.float(), missed.float()], 1)


def test_for_an_accuracy_it_is_the_error_of_paired_differences() -> None:
    rows = 8000
    ours, theirs, targets = wrong(0.12, 1, rows), wrong(0.10, 2, rows), torch.zeros(rows, dtype=torch.long)
    found = drop_interval(CLASSES, ours, theirs, targets)
    assert found is not None
    differences = (theirs.argmax(1) == 0).double() - (ours.argmax(1) == 0).double()
    assert sum(found) / 2 == pytest.approx(float(differences.mean()), abs=1e-6)
    exact = 2 * 1.96 * float(differences.std()) / rows**0.5
    assert found[1] - found[0] == pytest.approx(exact, rel=0.4)


def test_it_holds_the_true_drop_about_as_often_as_it_says() -> None:
    targets = torch.zeros(400, dtype=torch.long)
    reference = wrong(0.0, 0, 400)
    held = 0
    for seed in range(300):
        found = drop_interval(CLASSES, wrong(0.2, seed, 400), reference, targets)
        assert found is not None
        held += found[0] <= 0.2 <= found[1]
    assert 0.91 * 300 <= held <= 0.99 * 300


def test_what_both_get_wrong_makes_it_no_wider() -> None:
    alike = wrong(0.4, 3)
    assert drop_interval(CLASSES, alike, alike.clone(), torch.zeros(2000, dtype=torch.long)) == (0.0, 0.0)


def test_of_an_error_it_is_relative_and_every_output_is_taken() -> None:
    def error(outputs: dict[str, Tensor], targets: list[dict[str, Tensor]]) -> float:
        return float((outputs["a"] - torch.stack([t["y"] for t in targets])).square().mean())

    task = Task("t", None, [0], metric=error, metric_name="mse", direction="min", drop="relative")
    noise = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    targets = [{"y": y} for y in torch.zeros(4000)]
    found = drop_interval(task, {"a": 1.1 * noise}, {"a": noise}, targets)
    assert found is not None and found == pytest.approx((0.21, 0.21), abs=1e-4)  # 1.1 squared in every group


def fails(outputs: Tensor, targets: Tensor) -> Any:
    if len(outputs) <= 2000 // GROUPS:
        raise TaskError("one class alone")
    return 0.5


def test_too_few_samples_and_metrics_that_need_more_give_none() -> None:
    few = 2 * GROUPS - 1
    assert drop_interval(CLASSES, wrong(0.1, 0, few), wrong(0.1, 1, few), torch.zeros(few, dtype=torch.long)) is None
    task = Task("t", None, [0], metric=fails)
    assert drop_interval(task, wrong(0.1, 0), wrong(0.1, 1), torch.zeros(2000, dtype=torch.long)) is None


@pytest.mark.parametrize(("drop", "scale"), [("absolute", 1.0), ("relative", 1 / 8)])
def test_returns_are_compared_episode_by_episode(drop: Any, scale: float) -> None:
    ours, theirs = torch.tensor([5.0, 7.0, 9.0]), torch.tensor([6.0, 7.0, 11.0])
    lost = np.array([1.0, 0.0, 2.0]) * scale
    by_hand = stats.t.interval(0.95, 2, lost.mean(), stats.sem(lost))
    assert drop_of_returns(Task("t", None, [0], drop=drop), ours, theirs) == pytest.approx(by_hand)
    assert drop_of_returns(Task("t", None, [0]), ours[:1], theirs[:1]) is None
