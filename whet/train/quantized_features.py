"""A teacher with rounded features: what the student's last layer reads is pulled to few values of the teacher's."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from whet.core.checks import positive, whole
from whet.graph.fake_quantize import asymmetric_grid, fake_quantize
from whet.graph.grids import CLIPS, InputGrid
from whet.train.beside import Beside
from whet.train.learned_steps import LEAST_STEP
from whet.train.state import module_of
from whet.train.technique import Hooks, Session

NAME = "quantized-features"
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class QuantizedFeatures:
    """The features f that the last layer reads are pulled towards the teacher's, rounded to 2^bits values.

        loss + weight |f_student - Q_s(f_teacher)|^2 / |Q_s(f_teacher)|^2
             + |h(Q_s(f_teacher)) - h(f_teacher)|^2 / |h(f_teacher)|^2

    A network of few bits can have rounded features, and not quite those of a network of floats. `bits` 1 makes them
    binary. The grid holds zero; its step s begins with the least squared error on the first batch, and the second term
    trains it, so that the teacher's last layer h still answers the same: of the teacher nothing else changes. The
    paper trains the whole teacher on its rounded features first, and does not divide the distance by their length.
    The teacher's outputs count besides, as far as the recipe says. Its text was known here by the abstract and reviews.

    Nothing is done, and the report says so, without a teacher, or where both last layers do not read as many features.

    Paper: Zhu et al. 2023, Quantized Feature Distillation for Network Quantization.
    Raises: ValueRangeError for no bits, a negative weight, or a rate that is not positive.
    """

    bits: int = 4
    weight: float = 1.0
    rate: float = 1.0
    paper: str = field(default="zhu2023quantized", init=False, repr=False)

    def __post_init__(self) -> None:
        whole("bits", self.bits)
        positive("weight", self.weight, zero=True)
        positive("rate", self.rate)

    def begin(self, session: Session) -> Hooks:
        if session.teacher is None:
            session.report.skipped[NAME] = "there is no teacher whose features could be rounded"
            return Hooks()
        teacher = module_of(session.teacher)
        site = last_layer(teacher)
        own = dict(session.module.named_modules()).get(site)
        head = teacher.get_submodule(site)
        if not isinstance(own, LAYERS) or own.weight.shape[1] != head.weight.shape[1]:  # type: ignore[index]
            session.report.skipped[site or NAME] = "student and teacher have no last layer that reads as many features"
            return Hooks()
        pull = _Pull(self, own, head, session)
        beside = Beside(NAME, [pull.step], session, self.rate)

        @torch.no_grad()
        def after_step() -> None:
            beside.step()
            pull.step.clamp_(min=LEAST_STEP)

        return Hooks(loss=pull.loss, after_step=after_step, end=pull.remove, watches_teacher=True)


class _Pull:
    """What both last layers read in a step, and the grid of the teacher's."""

    def __init__(self, item: QuantizedFeatures, own: nn.Module, head: nn.Module, session: Session) -> None:
        self.item, self.head, self.seen = item, head, dict[str, Tensor]()
        self.step = session.keep(f"{NAME}.step", torch.zeros(())).requires_grad_(True)
        self.zero = session.keep(f"{NAME}.zero", torch.zeros((), dtype=torch.long))
        self.handles = [
            layer.register_forward_pre_hook(lambda _, given, role=role: self.seen.__setitem__(role, given[0]))
            for role, layer in (("student", own), ("teacher", head))
        ]

    def loss(self) -> Tensor:
        """Return both terms, a scalar: the first trains the student alone, the second the step alone."""
        wanted, got = self.seen.pop("teacher").detach().float(), self.seen.pop("student").float()
        most = InputGrid(self.item.bits).most
        if not self.step:
            self.begin(wanted)
        rounded: Tensor = fake_quantize(wanted, self.step, self.zero, -1, 0, most)
        fixed = {name: p.detach() for name, p in self.head.named_parameters()}
        answers = [torch.func.functional_call(self.head, fixed, (x,)) for x in (rounded, wanted)]
        self.seen.clear()
        return self.item.weight * distance(got, rounded.detach()) + distance(*answers)

    @torch.no_grad()
    def begin(self, features: Tensor) -> None:
        """Set zero point and step: of shares of the range that whose squared error is least."""
        most = InputGrid(self.item.bits).most
        widest, zero = asymmetric_grid(*features.aminmax(), most)
        self.zero.copy_(zero)

        def lost(step: Tensor) -> float:
            return float((fake_quantize(features, step, zero, -1, 0, most) - features).square().sum())

        self.step.copy_(min((widest * clip for clip in CLIPS), key=lost))

    def remove(self) -> None:
        """Take the hooks off both networks."""
        for handle in self.handles:
            handle.remove()


def distance(got: Tensor, wanted: Tensor) -> Tensor:
    """Return |got - wanted|^2 / |wanted|^2 of tensors of one shape, a scalar.

    >>> float(distance(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])))
    0.10000000149011612
    """
    return (got - wanted).square().sum() / wanted.square().sum().clamp_min(1e-12)


def last_layer(module: nn.Module) -> str:
    """Return the name of the last convolution or linear layer; empty if there is none.

    >>> last_layer(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)))
    '2'
    """
    found = [name for name, layer in module.named_modules() if isinstance(layer, LAYERS)]
    return found[-1] if found else ""
