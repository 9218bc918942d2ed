"""What outputs mean is told from targets, loss and values; what compares them follows it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from whet.core.errors import TrainingError, UnknownNameError
from whet.core.kinds import Kind
from whet.data.kinds import apart, chosen, kind_of, kinds_of, likened, likeness, predictions, saliency

torch.manual_seed(0)
UNIT = F.normalize(torch.randn(16, 8), dim=-1)


def ints(*shape: int, high: int = 2) -> Tensor:
    values = torch.randint(0, high, shape)
    values.view(-1)[:2] = torch.tensor([0, high - 1])
    return values


@pytest.mark.parametrize(
    ("outputs", "targets", "kind"),
    [
        (torch.randn(16, 5), ints(16), Kind("logits", 1)),
        (torch.randn(16, 5), ints(16, 1), Kind("logits", 1)),
        (torch.randn(4, 5, 8, 6), ints(4, 8, 6, high=5), Kind("logits", 1)),
        (torch.randn(4, 5, 8, 8), ints(4, 1, 8, 8, high=5), Kind("logits", 1)),
        (torch.randn(4, 8, 6, 5), ints(4, 8, 6, high=5), Kind("logits", 3)),
        (torch.randn(4, 7, 30), ints(4, 7, high=30), Kind("logits", 2)),
        (torch.randn(4, 30, 7), ints(4, 7, high=30), Kind("logits", 1)),
        (torch.randn(4, 7, 30), ints(28, high=30), Kind("logits", 2)),
        (torch.randn(4, 7, 30), ints(4, 3, high=30), Kind("logits", 2)),
        (torch.randn(16, 5).softmax(1), ints(16), Kind("probabilities", 1)),
        (torch.randn(16, 5), torch.randn(16, 5).softmax(1), Kind("logits", 1)),
        (torch.randn(4, 5, 8, 8), F.one_hot(ints(4, 8, 8, high=5), 5).movedim(-1, 1).float(), Kind("logits", 1)),
        (torch.randn(16), torch.randn(16), Kind("regression")),
        (torch.randn(16, 1), torch.randn(16), Kind("regression")),
        (torch.randn(16, 1), ints(16), Kind("regression")),
        (torch.randn(16, 4), torch.randn(16, 4), Kind("regression")),
        (torch.randn(16, 4), ints(16, 4), Kind("regression")),
        (torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8), Kind("regression")),
        (UNIT, ints(16), Kind("embedding")),
        (UNIT, None, Kind("embedding")),
        (torch.randn(16, 64) * 0.3, None, Kind("embedding")),
        (torch.randn(16, 5) * 20, None, Kind("logits", 1)),
        (torch.randn(16, 3, 9).softmax(2), None, Kind("probabilities", 2)),
        (torch.randn(16, 3, 9), None, Kind("regression")),
        (torch.randn(16), None, Kind("regression")),
        (ints(16), None, Kind("integers")),
    ],
)
def test_the_kind_of_an_output(outputs: Tensor, targets: Tensor | None, kind: Kind) -> None:
    assert kind_of(outputs, targets) == kind


@pytest.mark.parametrize(("loss", "axis"), [
    (F.cross_entropy, 1),
    (lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten()), 2),
    (lambda o, y: F.nll_loss(o.log_softmax(1), y), 1),
])  # fmt: skip
def test_where_two_axes_fit_the_loss_tells_the_classes(loss: Any, axis: int) -> None:
    outputs = torch.randn(16, 6, 6)
    assert kind_of(outputs, ints(16, 6, high=6), loss) == Kind("logits", axis)


def test_several_outputs_each_have_a_kind() -> None:
    outputs = {"loc": torch.randn(8, 12, 4), "conf": torch.randn(8, 12, 3)}
    assert kinds_of(outputs, {"loc": torch.randn(8, 12, 4), "conf": ints(8, 12, high=3)}) == (
        Kind("regression"),
        Kind("logits", 2),
    )
    assert kinds_of((torch.randn(8, 5), torch.randn(8, 2, 16)), ints(8, high=5)) == (
        Kind("logits", 1),
        Kind("regression"),
    )
    heads = kinds_of([torch.randn(8, 9, 5), torch.randn(8, 1, 16), torch.randn(8, 9, 5)], ints(8, 9, high=5))
    assert heads == (Kind("logits", 2), Kind("regression"), Kind("logits", 2))


def test_names_that_nothing_answers_to() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'logits'"):
        Kind("logit")


def test_divergence_runs_over_the_class_axis() -> None:
    a, b = torch.randn(4, 5, 8, 8), torch.randn(4, 5, 8, 8)
    by_hand = F.kl_div(
        (a / 2).log_softmax(1).movedim(1, -1).reshape(-1, 5),
        (b / 2).softmax(1).movedim(1, -1).reshape(-1, 5),
        reduction="batchmean",
    )
    assert torch.allclose(apart(a, b, (Kind("logits", 1),), temperature=2.0), 4 * by_hand)
    shifted = b + torch.randn(4, 1, 8, 8)
    assert float(apart(shifted, b, (Kind("logits", 1),))) == pytest.approx(0, abs=1e-5)
    assert float(apart(shifted, b, (Kind("logits", 3),))) > 0.1


@pytest.mark.parametrize("shape", [(16,), (16, 1), (16, 4), (2, 3, 8, 8)])
def test_numbers_are_apart_by_their_difference(shape: tuple[int, ...]) -> None:
    a, b = torch.randn(shape), torch.randn(shape)
    assert float(apart(a, b, (Kind("regression"),))) == pytest.approx(float((a - b).square().mean()))


def test_angles_do_not_count_lengths() -> None:
    assert float(apart(3 * UNIT, UNIT, (Kind("embedding"),))) == pytest.approx(0, abs=1e-6)
    assert float(apart(-UNIT, UNIT, (Kind("embedding"),))) == pytest.approx(2)


def test_several_outputs_weigh_the_same_whatever_their_units() -> None:
    kinds = (Kind("regression"), Kind("regression"))
    a, b = torch.randn(32, 4), torch.randn(32, 4)
    both = apart((a, 1000 * a), (b, 1000 * b), kinds)
    assert float(both) == pytest.approx(float(apart(a, b, kinds[:1], "relative")), rel=1e-4)
    assert chosen("auto", kinds) == ("relative", "relative") and chosen("auto", kinds[:1]) == ("mse",)
    assert chosen("cosine", (Kind("logits", 1), Kind("integers"))) == ("cosine", None)


def test_shares_of_one_class_are_no_distance() -> None:
    with pytest.raises(TrainingError, match=r"shape \(16, 1\).*distance='mse'"):
        apart(torch.randn(16, 1), torch.randn(16, 1), (Kind("regression"),), "kl")


@pytest.mark.parametrize(
    ("kind", "near", "far"),
    [
        (Kind("logits", 1), {"top1_agreement": 1.0}, {"top1_agreement": 0.0}),
        (Kind("embedding"), {"cosine_similarity": 1.0}, {"cosine_similarity": -1.0}),
        (Kind("regression"), {"relative_error": 0.0, "correlation": 1.0}, {"relative_error": 2.0, "correlation": -1.0}),
    ],
)
def test_agreement_is_named_for_what_it_is(kind: Kind, near: dict[str, float], far: dict[str, float]) -> None:
    x = torch.randn(16, 2) * torch.tensor([[1.0, -1.0]])
    x = x - x.mean()
    assert likened(kind, x, x) == pytest.approx(near, abs=1e-6)
    assert likened(kind, -x, x) == pytest.approx(far, abs=1e-6)


def test_the_worst_of_several_outputs_counts() -> None:
    a, b = torch.randn(16, 5), torch.randn(16, 4)
    kinds = (Kind("logits", 1), Kind("regression"))
    assert likeness((a, b), (a, b), kinds) == ("agreement", 1.0, "max")
    assert likeness((a, 0 * b), (a, b), kinds)[1] == pytest.approx(0.0)
    assert likeness((-a, b), (a, b), kinds)[1] == pytest.approx(float((a.argmax(1) == a.argmin(1)).float().mean()))


@pytest.mark.parametrize("kind", [Kind("logits", 1), Kind("embedding"), Kind("regression")])
def test_what_stands_for_a_loss_has_a_gradient_at_the_original(kind: Kind) -> None:
    x = torch.randn(16, 4, requires_grad=True)
    saliency(x, (kind,)).backward()
    assert x.grad is not None and float(x.grad.norm()) > 1e-3
    y = x.detach().clone().requires_grad_()
    apart(y, x.detach(), (kind,)).backward()
    assert y.grad is not None and float(y.grad.norm()) < 1e-5


@pytest.mark.parametrize(
    ("shape", "kind", "count"),
    [
        ((2, 10), Kind("logits", 1), 1),
        ((2, 65, 128), Kind("logits", 1), 128),
        ((2, 128, 65), Kind("logits"), 128),
        ((2, 1), Kind("regression"), 1),
        ((2,), Kind("regression"), 1),
        ((2, 24, 384), Kind("embedding"), 24),
        ((2, 3, 32, 16), Kind("regression"), 32),
        ((2, 8, 8, 21), Kind("logits", 3), 8),
    ],
)
def test_a_sample_has_as_many_predictions_as_places(shape: tuple[int, ...], kind: Kind, count: int) -> None:
    assert predictions(torch.zeros(shape), [kind]) == count
    assert predictions((torch.zeros(2, 4), torch.zeros(shape)), [Kind("logits", 1), kind]) == count
