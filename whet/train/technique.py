"""`Technique`: what plugs into the training loop: a term of the loss, or something before or behind each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor, nn

from whet.core.net import Net
from whet.train.fit_report import FitReport
from whet.train.state import module_of

if TYPE_CHECKING:
    from whet.train.recipe import Recipe


@dataclass(frozen=True)
class Session:
    """A training that begins, or goes on from a checkpoint, whose weights are there by then.

    `teacher` is None where none counts. `report` has the steps and samples so far; `progress()` is the share of the
    limit that is used, in [0, 1], which the learning rate follows, too. What cannot be treated is said in
    `report.skipped`. `keep(name, tensor)` returns a tensor that is part of checkpoints as the weights are: the given
    one, with the values of the checkpoint where the training goes on from one. The technique changes it in place; the
    name is to be of that technique alone.
    """

    net: Net | nn.Module
    teacher: Net | nn.Module | None
    recipe: Recipe
    report: FitReport
    progress: Callable[[], float]
    keep: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor

    @property
    def module(self) -> nn.Module:
        """The module that trains, without the net around it."""
        return module_of(self.net)


@dataclass(frozen=True)
class Hooks:
    """What a technique does in each step; all is optional.

    `loss()` is added to the loss, after student and teacher gave their outputs; held-out data are judged without it.
    `before_step()` may change the gradients; they are clipped afterwards. `after_step()` comes behind the optimizer.
    `end()` is called once, also where the training fails. A technique that `watches_teacher` needs it to run in every
    step: its outputs are not taken from memory.
    """

    loss: Callable[[], Tensor] | None = None
    after_step: Callable[[], None] | None = None
    end: Callable[[], None] | None = None
    watches_teacher: bool = False
    before_step: Callable[[], None] | None = None


@runtime_checkable
class Technique(Protocol):
    """A frozen dataclass; `begin` returns its part in one training.

    What it needs beyond weights, recipe and progress is not in a checkpoint unless `session.keep` puts it there: it
    must be told from those, so that a training that was interrupted goes on exactly.
    """

    def begin(self, session: Session) -> Hooks: ...
