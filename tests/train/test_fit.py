from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import whet
from whet.core.checks import ValueRangeError
from whet.core.errors import ArtifactError, TaskError, TrainingError
from whet.core.task import Task
from whet.tasks.bundle import TensorBatches
from whet.train.fit import fit
from whet.train.recipe import Recipe

F32 = Recipe(learning_rate=0.05, precision="f32")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def task(loss: Any = functional.cross_entropy, count: int = 256) -> Task:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 6, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    train = TensorBatches(x, y, 32, shuffle=True)
    return Task("toy", train=train, val=[(x, y)], loss=loss, metric=whet.accuracy)


def test_it_learns_and_ends_in_eval_mode() -> None:
    module, data = network(), task()
    report = fit(module, data, recipe=F32, epochs=15)
    x, y = next(iter(data.val))
    assert whet.accuracy(module(x), y) > 0.9
    assert report.samples == 15 * 256 and report.steps == 15 * 8
    assert report.losses[-1] < report.losses[0] * 0.75
    assert not module.training


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_interrupted_and_resumed_equals_undisturbed(tmp_path: Path, optimizer: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    recipe = Recipe(optimizer, 0.01, precision="f32")
    whole = network()
    fit(whole, task(), recipe=recipe, samples=1000)
    broken, seen = network(), 0

    def interrupting(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal seen
        seen += 1
        if seen == 14:
            os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C in the middle of a step
        return functional.cross_entropy(outputs, targets)

    checkpoint = tmp_path / "half.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(broken, task(interrupting), recipe=recipe, samples=1000, checkpoint=checkpoint)
    resumed = network()
    report = fit(resumed, task(), recipe=recipe, samples=1000, checkpoint=checkpoint)
    torch.set_num_threads(threads)
    assert report.samples >= 1000 and not checkpoint.exists()
    for name, tensor in whole.state_dict().items():
        if name != "1.num_batches_tracked":
            assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_loss_that_is_no_number_stops_and_keeps_good_weights() -> None:
    module, steps = network(), 0

    def failing(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal steps
        steps += 1
        return functional.cross_entropy(outputs, targets) * (float("nan") if steps == 60 else 1.0)

    with pytest.raises(TrainingError, match=r"loss was nan at step 60.*learning rate than 0.05"):
        fit(module, task(failing), recipe=F32, epochs=20)
    assert all(torch.isfinite(p).all() for p in module.state_dict().values())
    x, y = next(iter(task().val))
    assert whet.accuracy(module.eval()(x), y) > 0.6, "the weights are those of step 50, not the first ones"


@pytest.mark.parametrize("damage", ["truncated", "pickle"])
def test_damaged_checkpoints_are_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"\x80\x04pickled" if damage == "pickle" else b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(ArtifactError, match=rf"checkpoint\.safetensors.*{damage}"):
        fit(network(), task(), recipe=F32, samples=64, checkpoint=path)


def test_a_teacher_equal_to_the_student_gives_no_gradient() -> None:
    torch.manual_seed(0)
    student = nn.Linear(6, 3)
    teacher = nn.Linear(6, 3)
    teacher.load_state_dict(student.state_dict())
    before = student.weight.detach().clone()
    recipe = Recipe(distillation=1.0, temperature=1.0, weight_decay=0.0, precision="f32")
    fit(student, task(), teacher=teacher, recipe=recipe, samples=256)
    torch.testing.assert_close(student.weight, before, rtol=0, atol=1e-6)


def test_a_student_comes_to_its_teacher() -> None:
    torch.manual_seed(1)
    teacher, student = nn.Linear(6, 3), nn.Linear(6, 3)
    recipe = Recipe(learning_rate=0.1, distillation=1.0, weight_decay=0.0, temperature=2.0, precision="f32")
    report = fit(student, task(), teacher=teacher, recipe=recipe, epochs=40)
    assert report.losses[-1] < report.losses[0] / 50


def test_the_loss_is_the_tasks_and_the_teachers_by_their_shares_and_the_hints() -> None:
    """Hinton et al. 2015: (1 - a) CE + a T^2 KL(teacher / T || student / T), and FitNets' hint; by hand, for a step."""
    torch.manual_seed(3)
    student, teacher = (nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 3)) for _ in range(2))
    student[1].p = 0.0
    data = task(count=32)
    ((x, y),) = data.val
    recipe = Recipe(distillation=0.7, temperature=3.0, hints=("0",), hint_weight=0.5, precision="f32", warmup=0.0)
    with torch.no_grad():
        own, wanted = student.eval()(x), teacher.eval()(x)
        p, q = (wanted / 3).softmax(1), (own / 3).softmax(1)
        divergence = 9 * (p * (p / q).log()).sum(1).mean()
        hint = (student[0](x) - teacher[0](x)).square().mean() / teacher[0](x).square().mean()
        expected = 0.3 * functional.cross_entropy(own, y) + 0.7 * divergence + 0.5 * hint
    report = fit(student, data, teacher=teacher, recipe=recipe, samples=32)
    assert report.losses == [pytest.approx(float(expected), rel=1e-5)]


@pytest.mark.parametrize(("clip", "moved"), [(0.5, 0.5), (0.0, 40.0)])
def test_gradients_are_clipped_to_a_norm(clip: float, moved: float) -> None:
    """At a rate of 1 without momentum the first step is the gradient itself, no longer than its bound."""
    torch.manual_seed(4)
    module = nn.Linear(6, 3)
    before = module.weight.detach().clone(), module.bias.detach().clone()
    recipe = Recipe("sgd", 1.0, 0.0, 0.0, schedule="constant", warmup=0.0, clip_norm=clip, precision="f32")
    fit(module, task(lambda outputs, targets: 1000 * functional.cross_entropy(outputs, targets), 32), recipe=recipe,
        samples=32)  # fmt: skip
    step = sum(float((a - b).square().sum()) for a, b in zip(module.parameters(), before, strict=True)) ** 0.5
    assert step == pytest.approx(moved, rel=1e-4) if clip else step > moved


def test_hints_pull_inner_layers_and_missing_ones_are_skipped() -> None:
    torch.manual_seed(2)
    teacher, student = network(), network()
    with torch.no_grad():
        teacher[0].weight.normal_()
    x, _ = next(iter(task().val))
    apart = float((student[0](x) - teacher[0](x)).square().mean())
    recipe = Recipe(learning_rate=0.05, hints=("0", "inner"), precision="f32", weight_decay=0.0)
    report = fit(student, task(), teacher=teacher, recipe=recipe, epochs=20)
    assert float((student[0](x) - teacher[0](x)).square().mean()) < apart / 5
    assert report.skipped == {"inner": "hint layer is not in both networks"}


def test_time_limits_are_kept_and_anneal_fully() -> None:
    rates: list[float] = []
    start = time.monotonic()
    report = fit(
        network(), task(), recipe=F32, seconds=1.2, progress=lambda event: rates.append(event["learning_rate"])
    )
    assert 1.2 <= time.monotonic() - start < 2.0
    assert report.samples_per_second > 0 and len(rates) <= 4
    assert rates[-1] < max(rates)


def test_without_data_or_limit_it_says_so() -> None:
    data = task()
    with pytest.raises(TaskError, match="no training data"):
        fit(network(), Task("t", train=None, val=data.val, loss=data.loss, metric=data.metric), samples=1)
    with pytest.raises(TrainingError, match="needs a limit"):
        fit(network(), data)


# -- outputs of any kind ---------------------------------------------------------------------------------------------

PICTURES = torch.randn(64, 2, 4, 4)


class Several(nn.Module):
    """A detector in small: two outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.loc, self.conf = nn.Linear(6, 4), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loc": 100 * self.loc(x), "conf": self.conf(x)}


def _pair(make: Any) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(3)
    teacher = make()
    torch.manual_seed(4)
    return make(), teacher


KINDS: dict[str, tuple[Any, Tensor, Tensor, Any, str]] = {
    "a number a row": (
        lambda: nn.Sequential(nn.Linear(6, 1), nn.Flatten(0)), torch.randn(64, 6), torch.randn(64),
        functional.mse_loss, "mse"),
    "a column": (lambda: nn.Linear(6, 1), torch.randn(64, 6), torch.randn(64, 1), functional.mse_loss, "mse"),
    "segmentation": (
        lambda: nn.Conv2d(2, 5, 1), PICTURES, (PICTURES[:, 0] * 2).long().clamp(0, 4),
        functional.cross_entropy, "kl over axis 1"),
    "an embedding": (
        lambda: nn.Linear(6, 8), torch.randn(64, 6), torch.randn(64, 1) * 0 + torch.arange(64).unsqueeze(1),
        lambda o, y: o.square().mean(), "cosine"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_distance_follows_the_kind_of_output(kind: str) -> None:
    make, x, y, loss, said = KINDS[kind]
    data = Task("t", train=[(x, y)], val=[(x, y)], loss=loss, metric=lambda o, t: 0.5)
    student, teacher = _pair(make)
    recipe = Recipe("adamw", 0.03, distillation=1.0, temperature=1.0, weight_decay=0.0, precision="f32")
    report = fit(student, data, teacher=teacher, recipe=recipe, epochs=150)
    assert report.distance == said
    assert report.losses[-1] < report.losses[0] / 20


@pytest.mark.parametrize("distance", ["auto", "relative", "mse"])
def test_several_outputs_come_to_their_teacher(distance: str) -> None:
    student, teacher = _pair(Several)
    x = torch.randn(64, 6)
    y = {"loc": torch.randn(64, 4), "conf": torch.randint(0, 3, (64,))}
    loss = lambda o, t: functional.mse_loss(o["loc"], t["loc"]) + functional.cross_entropy(o["conf"], t["conf"])  # noqa: E731
    data = Task("t", train=[(x, y)], val=[(x, y)], loss=loss, metric=lambda o, t: 0.5)
    recipe = Recipe("adamw", 0.05, distillation=1.0, weight_decay=0.0, distance=distance, precision="f32")
    report = fit(student, data, teacher=teacher, recipe=recipe, epochs=200)
    expected = {"auto": "relative, kl over axis 1", "relative": "relative, relative", "mse": "mse, mse"}
    assert report.distance == expected[distance]
    assert report.losses[-1] < report.losses[0] / 10


def test_a_chosen_class_axis_is_used() -> None:
    x, y = torch.randn(16, 2, 5, 5), torch.randint(0, 5, (16, 5, 5))
    data = Task("t", train=[(x, y)], val=[(x, y)], loss=functional.cross_entropy, metric=lambda o, t: 0.5)
    student, teacher = _pair(lambda: nn.Conv2d(2, 5, 1))
    report = fit(student, data, teacher=teacher, recipe=Recipe(class_axis=3, precision="f32"), epochs=1)
    assert report.distance == "kl over axis 3"


def test_divergence_of_one_class_is_refused() -> None:
    x, y = torch.randn(16, 6), torch.randn(16, 1)
    data = Task("t", train=[(x, y)], val=[(x, y)], loss=functional.mse_loss, metric=lambda o, t: 0.5)
    student, teacher = _pair(lambda: nn.Linear(6, 1))
    with pytest.raises(TrainingError, match=r"shape \(16, 1\) have less than two in axis -1"):
        fit(student, data, teacher=teacher, recipe=Recipe(distance="kl", precision="f32"), epochs=1)


@pytest.mark.parametrize("limit", ["samples", "epochs", "seconds"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "many"])
def test_limits_are_positive_numbers(limit: str, value: Any) -> None:
    with pytest.raises(ValueRangeError, match=f"{limit} must be a number above 0; got"):
        fit(network(), task(), **{limit: value})


def test_batches_of_a_loader_train_a_net() -> None:
    x = torch.randn(64, 6)
    net = whet.lift(network(), x[:2])
    before = net.module.get_parameter("0.weight").detach().clone()
    batches = [{"features": x, "label": (x[:, 0] > 0).int().numpy(), "path": ["a"] * 64}]
    data = Task("t", train=batches, val=batches, loss=functional.cross_entropy, metric=whet.accuracy)
    report = fit(net, data, teacher=net.copy(), recipe=F32, epochs=3)
    assert report.samples == 3 * 64 and report.distance == "kl over axis 1"
    assert not torch.equal(net.module.get_parameter("0.weight"), before)


def test_without_labels_training_is_distillation() -> None:
    x = torch.randn(64, 6)
    teacher, student = whet.lift(network(), x[:2]), whet.lift(network(), x[:2])
    with torch.no_grad():
        student.module.get_parameter("0.weight").normal_(0, 0.3)
    data = Task("t", train=[x], val=[x], kinds="logits")
    recipe = Recipe(learning_rate=0.1, temperature=1.0, weight_decay=0.0, precision="f32")
    report = fit(student, data, teacher=teacher, recipe=recipe, epochs=100)
    assert report.losses[-1] < report.losses[0] / 3
    with pytest.raises(TrainingError, match="no training labels: training needs a teacher"):
        fit(student, data, recipe=recipe, epochs=1)
