"""A training that makes held-out data worse leaves the weights as they were, and says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import whet
from whet.core.errors import TaskError, TrainingError
from whet.core.task import Task
from whet.data.memory import KEY_BYTES, TeacherMemory
from whet.train.fit import fit
from whet.train.held_out import HeldOut
from whet.train.recipe import Recipe


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)).eval()


def task(count: int = 32, loss: Any = functional.cross_entropy) -> Task:
    x = torch.randn(count * 16, 6, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    batches = [(x[i : i + 16], y[i : i + 16]) for i in range(0, len(x), 16)]
    return Task("toy", train=batches, val=batches, loss=loss, metric=whet.accuracy)


def test_a_training_that_helps_is_kept_and_says_by_how_much() -> None:
    module, data = network(), task()
    report = fit(module, data, recipe=Recipe(precision="f32"), samples=2000, held_out=HeldOut.of(data, 32))
    x, y = (torch.cat(part) for part in zip(*data.training[16:18], strict=True))  # type: ignore[index]
    assert report.kept == "after" and report.held_after < 0.7 * report.held_before
    assert report.held_after == pytest.approx(float(functional.cross_entropy(module(x), y).detach()), rel=1e-5)


def test_a_training_that_harms_leaves_weights_and_statistics_as_they_were() -> None:
    module, data = network(), task()
    fit(module, data, recipe=Recipe(precision="f32"), samples=4000)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    rough = Recipe(learning_rate=30.0, schedule="constant", warmup=0.0, clip_norm=0.0, precision="f32")
    report = fit(module, data, recipe=rough, samples=200, held_out=HeldOut.of(data, 32))
    assert report.kept == "before" and report.held_after > report.held_before and report.samples == 208
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in before.items())


@pytest.mark.parametrize(("count", "start"), [(32, 16), (3000, 1024), (8, 0)])
def test_what_a_repair_is_solved_on_does_not_judge(count: int, start: int) -> None:
    data = task(count)
    held = HeldOut.of(data, 32)
    assert held.start == start and torch.equal(held.batches[0][0], data.training[start][0])  # type: ignore[index]
    left = [x for x, _ in held.others(data.training)]
    assert len(left) == (count - 2 if start else count)
    assert start == 0 or not any(torch.equal(x, held.batches[0][0]) for x in left)


@pytest.mark.parametrize(("at", "kept"), [(1, None), (5, "before")])
def test_a_loss_that_is_no_number_is_a_harm_unless_it_is_the_first(at: int, kept: str | None) -> None:
    steps = 0

    def failing(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal steps
        steps += outputs.requires_grad
        return functional.cross_entropy(outputs, targets) * (float("nan") if steps == at else 1.0)

    module, data = network(), task(loss=failing)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    if kept is None:
        with pytest.raises(TrainingError, match="the loss was nan at step 1"):
            fit(module, data, samples=200, held_out=HeldOut.of(data, 32))
    else:
        report = fit(module, data, samples=200, held_out=HeldOut.of(data, 32))
        assert report.kept == kept and "nan at step 5" in report.failure
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in before.items())


def test_what_is_held_out_is_not_trained_on_in_any_epoch() -> None:
    seen: list[float] = []

    def watched(outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.requires_grad:
            seen.extend(targets.tolist())
        return outputs.square().mean()

    batches = [(torch.randn(4, 6), torch.full((4,), i)) for i in range(16)]
    data = Task("t", train=batches, val=batches, loss=watched, metric=whet.accuracy)
    fit(network(), data, epochs=3, held_out=HeldOut.of(data, 8))
    assert set(seen) == set(range(16)) - {8, 9}
    few = Task("t", train=batches[:5], val=batches, loss=watched, metric=whet.accuracy)
    seen.clear()
    fit(network(), few, epochs=3, held_out=HeldOut.of(few, 8))
    assert set(seen) == set(range(5)), "of few batches none is set apart"


def test_hints_do_not_count_and_the_teacher_is_remembered() -> None:
    data = task(16)
    teacher, student = (whet.lift(network(i), torch.randn(2, 6)) for i in (0, 1))
    held, memory = HeldOut.of(data, 32), TeacherMemory(teacher)
    recipe = Recipe(distillation=1.0, temperature=1.0, hints=("0",), hint_weight=100.0, precision="f32")
    report = fit(student, data, teacher=teacher, recipe=recipe, samples=16, held_out=held, memory=memory)
    x = torch.cat([x for x, _ in held.batches])
    wanted, got = teacher(x).log_softmax(1), network(1)(x).log_softmax(1)
    apart = functional.kl_div(got, wanted, log_target=True, reduction="batchmean")
    assert report.held_before == pytest.approx(float(apart.detach()), rel=1e-4)
    assert memory.used_bytes == 32 * (3 * 4 + KEY_BYTES)


def test_no_training_data_is_said() -> None:
    with pytest.raises(TaskError, match="'t' gives no training batch"):
        HeldOut.of(Task("t", train=[], val=[1], loss=functional.mse_loss))
