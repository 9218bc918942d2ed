"""Features of a rounded teacher: the distance by hand, its grid, what is trained by what, and what is gained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from toy_training import F32, interrupted, network, rounded, task

from whet.core.checks import ValueRangeError
from whet.graph.grids import Grid
from whet.train.fit import fit
from whet.train.fit_report import FitReport
from whet.train.quantized_features import QuantizedFeatures
from whet.train.technique import Hooks, Session


def taught() -> nn.Sequential:
    """Return a teacher of other weights than the student's beginning."""
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))


def begun(bits: int, weight: float = 1.0) -> tuple[nn.Sequential, nn.Sequential, Hooks, dict[str, Tensor]]:
    student, teacher, kept = rounded(Grid(3)).train(), taught(), dict[str, Tensor]()
    session = Session(student, teacher, F32, FitReport(), lambda: 0.3, lambda n, t: kept.setdefault(n, t))
    return student, teacher, QuantizedFeatures(bits, weight).begin(session), kept


def step_of(kept: dict[str, Tensor]) -> Tensor:
    return kept["quantized-features.step"]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_the_loss_is_the_distance_to_rounded_features_and_that_of_the_teachers_answers(bits: int) -> None:
    student, teacher, hooks, kept = begun(bits, 0.7)
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    student(x), teacher(x)
    assert hooks.loss is not None
    loss = hooks.loss()
    f, g = (m[1](m[0](x)).detach() for m in (student, teacher))
    s = float(step_of(kept).detach())
    q = s * (g / s).round().clamp(0, 2**bits - 1)
    assert len(q.unique()) == 2**bits and int(kept["quantized-features.zero"]) == 0, "features are positive"
    first = (f - q).square().sum() / q.square().sum()
    second = (teacher[2](q) - teacher[2](g)).square().sum() / teacher[2](g).square().sum()
    assert float(loss.detach()) == pytest.approx(float((0.7 * first + second).detach()), rel=1e-5)


@pytest.mark.parametrize("bits", [1, 3])
def test_the_step_begins_with_the_least_squared_error(bits: int) -> None:
    student, teacher, hooks, kept = begun(bits)
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(1))
    student(x), teacher(x)
    assert hooks.watches_teacher and hooks.loss is not None and not step_of(kept)
    hooks.loss()
    g = teacher[1](teacher[0](x)).detach()

    def lost(s: float) -> float:
        return float((s * (g / s).round().clamp(0, 2**bits - 1) - g).square().sum())

    widest = float(g.max()) / (2**bits - 1)
    each = [lost(widest * c) for c in torch.linspace(0.4, 1.0, 25).tolist()]
    assert lost(float(step_of(kept).detach())) == pytest.approx(min(each), rel=1e-5)
    assert min(each) < 0.95 * each[-1], "the widest step is not the best"


def test_the_student_learns_by_the_first_term_and_the_step_by_the_second() -> None:
    student, teacher, hooks, kept = begun(2)
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    student(x), teacher(x)
    assert hooks.loss is not None and hooks.after_step is not None
    hooks.loss().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in teacher.parameters()) and student[2].weight.grad is None
    g = teacher[1](teacher[0](x)).detach()
    s = step_of(kept).detach().clone()
    inside = (g / s).round() <= 3
    slope = torch.where(inside, (g / s).round() - g / s, 3.0)  # of a rounded feature by the step
    with torch.no_grad():
        wanted, head = teacher[2](g), teacher[2].weight
        error = teacher[2](s * (g / s).round().clamp(0, 3)) - wanted
        by_hand = 2 * ((error @ head) * slope).sum() / wanted.square().sum()
    assert step_of(kept).grad is not None and torch.allclose(step_of(kept).grad, by_hand, rtol=1e-4)
    assert student[0].weight.grad is not None and student[0].weight.grad.abs().sum() > 0
    hooks.after_step()
    assert torch.allclose(step_of(kept).detach() - s, -F32.rate_at(0.3) * by_hand * (1 + F32.momentum), rtol=1e-3)


def test_features_come_nearer_to_the_rounded_ones_and_hooks_are_gone() -> None:
    teacher, recipe = taught(), replace(F32, distillation=0.5)
    fit(teacher, task(), recipe=F32, epochs=6)
    ((x, _),) = task().val
    apart = {}
    for weight in (0.0, 3.0):
        student, kept = rounded(Grid(4)), dict[str, Tensor]()

        class Kept:
            def begin(self, session: Session, kept: dict[str, Tensor] = kept, weight: float = weight) -> Hooks:
                again = replace(session, keep=lambda n, t: kept.setdefault(n, session.keep(n, t)))
                return QuantizedFeatures(2, weight).begin(again)

        fit(student, task(), teacher=teacher, recipe=recipe, epochs=12, techniques=(Kept(),))
        s = step_of(kept).detach()
        f, g = (m[1](m[0](x)).detach() for m in (student, teacher))
        q = s * (g / s).round().clamp(0, 3)
        apart[weight] = float((f - q).square().sum() / q.square().sum())
        assert not any(m._forward_pre_hooks for net in (student, teacher) for m in net.modules())
    assert apart[3.0] < 0.5 * apart[0.0]


def test_a_training_that_was_interrupted_goes_on_exactly(tmp_path: Path) -> None:
    whole, other = interrupted(QuantizedFeatures(2), lambda: rounded(Grid(3)), tmp_path, teacher=taught())
    assert all(map(torch.equal, whole.state_dict().values(), other.state_dict().values()))


def test_what_cannot_be_is_said() -> None:
    report = fit(rounded(Grid(3)), task(), recipe=F32, samples=64, techniques=(QuantizedFeatures(),))
    assert report.skipped == {"quantized-features": "there is no teacher whose features could be rounded"}
    narrow = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    report = fit(narrow, task(), teacher=network(), recipe=F32, samples=64, techniques=(QuantizedFeatures(),))
    assert report.skipped == {"2": "student and teacher have no last layer that reads as many features"}
    for options in ({"bits": 0}, {"weight": -1.0}, {"rate": 0.0}):
        with pytest.raises(ValueRangeError):
            QuantizedFeatures(**options)  # type: ignore[arg-type]
