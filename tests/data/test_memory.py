"""The teacher is asked once for each batch; what a training learns is the same to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import whet
from whet import tasks
from whet.data.memory import KEY_BYTES, TeacherMemory
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
    memory = TeacherMemory(teacher, limit_bytes=4 * (10 * 4 + KEY_BYTES))
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


def test_samples_are_known_in_another_order_and_batch() -> None:
    teacher = digits()
    memory = TeacherMemory(teacher)
    x = torch.randn(6, 1, 8, 8)
    expected = memory.outputs((x,), lambda: teacher(x))
    order = torch.tensor([4, 0, 3])
    assert torch.equal(memory.outputs((x[order],), lambda: 1 / 0), expected[order])
    mixed = torch.cat([x[2:4], torch.randn(2, 1, 8, 8)])
    torch.testing.assert_close(memory.outputs((mixed,), lambda: teacher(mixed)), teacher(mixed))
    torch.testing.assert_close(memory.outputs((mixed.flip(0),), lambda: 1 / 0), teacher(mixed.flip(0)))


@pytest.mark.parametrize("outputs", [lambda x: x.mean(), lambda x: {"rows": x + 1, "mean": x.mean()}])
def test_outputs_that_have_no_rows_are_known_by_the_whole_batch(outputs: Callable[[Tensor], Any]) -> None:
    memory, x = TeacherMemory(digits()), torch.randn(4, 3)
    expected = memory.outputs((x,), lambda: outputs(x))
    assert str(memory.outputs((x,), lambda: 1 / 0)) == str(expected)
    other = x.flip(0)[:2]
    assert str(memory.outputs((other,), lambda: outputs(other))) == str(outputs(other))
    assert str(memory.outputs((x.view(2, 6),), lambda: outputs(x.view(2, 6)))) == str(outputs(x.view(2, 6)))


def test_outputs_of_several_tensors_keep_their_structure() -> None:
    memory, x = TeacherMemory(digits()), torch.randn(4, 3)
    expected = memory.outputs((x, x * 2), lambda: {"a": x, "b": (x * 2, None)})
    found = memory.outputs((x.flip(0), x.flip(0) * 2), lambda: 1 / 0)
    assert found["b"][1] is None and torch.equal(found["b"][0], expected["b"][0].flip(0))
    with pytest.raises(ZeroDivisionError):
        memory.outputs((x, x * 3), lambda: 1 / 0)
