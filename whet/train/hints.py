"""Hints: inner layers of the student are pulled towards the same layers of the teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from whet.core.net import Net
from whet.train.state import module_of
from whet.train.technique import Hooks, Session

COUNT = 3


def alike_layers(student: Net, teacher: Net, count: int = COUNT) -> list[str]:
    """Return up to `count` layers with weights, spread evenly, whose outputs have one shape in both networks.

    The last such layer is left out where it gives the network's output: the distillation loss has it already.
    """
    shapes = []
    for net in (student, teacher):
        outputs = net.forward_shapes()
        nodes = [n for n in net.graph.nodes if n.op == "call_module" and hasattr(net.layer(str(n.target)), "weight")]
        shapes.append({str(n.target): outputs[n.name] for n in nodes if n.name in outputs})
    shared = [name for name, shape in shapes[1].items() if shapes[0].get(name) == shape]
    shared = [n for n in shared if _comparable(student.layer(n), teacher.layer(n))][:-1]
    if len(shared) <= count:
        return shared
    return [shared[(i + 1) * len(shared) // (count + 1)] for i in range(count)]


def _comparable(student: nn.Module, teacher: nn.Module) -> bool:
    """Say whether both are the same kind of layer; with a batch norm folded in, the output means something else."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    same = type(student) is type(teacher) and type(student) in kinds
    return same and (student.bias is None) == (teacher.bias is None)


class Taps:
    """Records the outputs of hint layers in student and teacher during a forward pass."""

    def __init__(
        self, student: nn.Module, teacher: nn.Module | None, hints: Sequence[str], skipped: dict[str, str]
    ) -> None:
        self.seen: dict[str, dict[str, Tensor]] = {}
        self.handles = []
        for name in hints if teacher is not None else ():
            if any(name not in dict(m.named_modules()) for m in (student, teacher) if m is not None):
                skipped[name] = "hint layer is not in both networks"
                continue
            for role, module in (("student", student), ("teacher", teacher)):
                assert module is not None
                self.handles.append(module.get_submodule(name).register_forward_hook(self._record(name, role)))

    def _record(self, name: str, role: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda module, inputs, output: self.seen.setdefault(name, {}).update({role: output})

    def distance(self) -> Tensor:
        """Return the sum over hints of |student - teacher|^2 / |teacher|^2, a scalar, and forget the outputs."""
        total = torch.zeros(())
        for outputs in self.seen.values():
            got, wanted = outputs["student"].float(), outputs["teacher"].float()
            if got.shape == wanted.shape:
                total = total + (got - wanted).square().mean() / wanted.square().mean().clamp_min(1e-12)
        self.seen.clear()
        return total

    def remove(self) -> None:
        """Take the hooks off both networks and forget the outputs."""
        for handle in self.handles:
            handle.remove()
        self.seen.clear()


@dataclass(frozen=True)
class Hints:
    """The technique of hints: `recipe.hint_weight` times the distance of the layers that `recipe.hints` names."""

    def begin(self, session: Session) -> Hooks:
        teacher = module_of(session.teacher) if session.teacher is not None else None
        taps = Taps(session.module, teacher, self._layers(session), session.report.skipped)
        if not taps.handles:
            return Hooks()
        weight = session.recipe.hint_weight
        return Hooks(loss=lambda: weight * taps.distance(), end=taps.remove, watches_teacher=True)

    def _layers(self, session: Session) -> Sequence[str]:
        if session.recipe.hints != "auto":
            return session.recipe.hints
        both = isinstance(session.net, Net) and isinstance(session.teacher, Net)
        return alike_layers(session.net, session.teacher) if both else ()  # type: ignore[arg-type]
