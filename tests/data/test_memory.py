"""The teacher is asked once for each batch; what a training learns is the same to the bit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import whet
from whet import tasks
from whet.data.memory import TeacherMemory
from whet.train.fit import fit
from whet.train.recipe import Recipe

RECIPE = Recipe(learning_rate=0.01, precision="f32")


def distilled(memory: TeacherMemory | None, teacher: whet.Net, recipe: Recipe = RECIPE) -> dict[str, Tensor]:
    student = teacher.copy()
    fit(student, tasks.get("digits").task, teacher=teacher, recipe=recipe, samples=600, memory=memory)
    return dict(student.module.state_dict())


def counting(teacher: whet.Net) -> list[int]:
    calls: list[int] = []
    teacher.module.register_forward_hook(lambda module, inputs, output: calls.append(1))
    return calls


def digits() -> whet.Net:
    bundle = tasks.get("digits")
    torch.manual_seed(0)
    return whet.lift(bundle.builders["digits_cnn"]().eval(), bundle.example)


def test_a_second_training_asks_the_teacher_nothing_and_learns_the_same() -> None:
    torch.set_num_threads(1)
    teacher = digits()
    plain = distilled(None, teacher)
    memory = TeacherMemory(teacher)
    first = distilled(memory, teacher)
    calls = counting(teacher)
    second = distilled(memory, teacher)
    assert not calls
    for name, tensor in plain.items():
        assert torch.equal(tensor, first[name]) and torch.equal(tensor, second[name]), name


def test_hints_need_the_teachers_inner_layers_so_it_runs() -> None:
    teacher = digits()
    memory = TeacherMemory(teacher)
    distilled(memory, teacher)
    calls = counting(teacher)
    layer = next(name for name, m in teacher.layers().items() if isinstance(m, torch.nn.Conv2d))
    distilled(memory, teacher, Recipe(learning_rate=0.01, precision="f32", hints=(layer,)))
    assert calls


def test_the_memory_of_another_teacher_is_not_used() -> None:
    teacher, other = digits(), digits()
    memory = TeacherMemory(other)
    distilled(memory, teacher)
    assert memory.used_bytes == 0


def test_full_memory_keeps_what_came_first() -> None:
    teacher = digits()
    first, second = torch.randn(4, 1, 8, 8), torch.randn(4, 1, 8, 8)
    memory = TeacherMemory(teacher, limit_bytes=4 * 10 * 4)
    asked: list[Any] = []

    def ask(x: Tensor) -> Tensor:
        return memory.outputs((x,), lambda: asked.append(1) or teacher(x))  # type: ignore[func-returns-value]

    for x in (first, second, first, second):
        torch.testing.assert_close(ask(x), teacher(x))
    assert len(asked) == 3


def test_inputs_of_other_precision_or_shape_are_other_inputs() -> None:
    teacher = digits()
    memory = TeacherMemory(teacher)
    zeros = torch.zeros(4, 1, 8, 8)
    with torch.no_grad():
        memory.outputs((zeros,), lambda: teacher(zeros))
        with torch.autocast("cpu", torch.bfloat16):
            assert memory.outputs((zeros,), lambda: teacher(zeros)).dtype == torch.bfloat16
        assert memory.outputs((zeros[:2],), lambda: teacher(zeros[:2])).shape[0] == 2
