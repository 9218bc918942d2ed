"""`Scores`: how good nets are, in torch and on as few samples as it takes, and how good files are, in their runtime."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whet.core.net import Net
from whet.core.target import Artifact
from whet.core.task import Task, floats, rows_of, split
from whet.flow.original import kind
from whet.flow.request import Request
from whet.support import structure
from whet.support.structure import Tree, tensors
from whet.train.fit import channels_last
from whet.verify.equivalence import evaluate, played

QUICK_SAMPLES = 5000
"""How many validation samples a net is scored on."""
FAR = ((1000, 5.0), (2000, 3.0))
"""After how many samples no more are looked at, from which drop on, in shares of the limit."""
EVALUATION_BATCH = 64
KEPT_OUTPUTS, KEPT_BYTES = 16, 2**29
"""How many files' outputs on the validation data are kept, and what they may take together."""

Scored = tuple[Tree, Tree]


class Scores:
    """Scores nets and files of one request; `clock` times each step by its kind.

    `original_speed` is how many samples a second the original was scored at, infinite until it was.
    """

    def __init__(self, request: Request, kept: Path, clock: Callable[[str], AbstractContextManager[None]]) -> None:
        self.request, self.kept, self.clock = request, kept, clock
        self.original_speed = math.inf
        self._files: dict[tuple[Path, str], Scored] = {}
        self._returns: dict[tuple[Path, str, str], Tensor] = {}

    # -- nets ------------------------------------------------------------------------------------------------------

    def net(self, net: Net, limit: float | None = None) -> tuple[float, float]:
        """Return the quality of a net and that of the original on the same validation samples, both in torch.

        They are scored in the precision that is trained in. With a limit of the drop, fewer samples are enough where
        they show a drop far beyond it: `FAR`.
        """
        parts, seen, left = list[Scored](), 0, list(FAR) if limit else []
        if self.request.task.played is not None:
            with self.clock("quick"):
                return float(returns(self.request.task, net, self.request.recipe.bf16()).mean()), self.reference
        with self.clock("quick"):
            for part, rows in self._run(net):
                parts.append(part)
                seen += rows
                if left and seen >= left[0][0]:
                    _, far = left.pop(0)
                    quality, reference = self._score(parts), self._score(self.original[: len(parts)])
                    if self.request.task.loss_of_quality(quality, reference) > far * (limit or math.inf):
                        return quality, reference
        return self._score(parts), self._score(self.original[: len(parts)])

    @cached_property
    def original(self) -> list[Scored]:
        """The original's outputs and targets, batch by batch."""
        began = time.monotonic()
        found = list(self._run(self.request.net))
        self.original_speed = sum(rows for _, rows in found) / max(time.monotonic() - began, 1e-9)
        return [part for part, _ in found]

    @cached_property
    def reference(self) -> float:
        """The original's quality on all of them."""
        if self.request.task.played is not None:
            return float(returns(self.request.task, self.request.net, self.request.recipe.bf16()).mean())
        return self._score(self.original)

    def _score(self, parts: list[Scored]) -> float:
        outputs, targets = zip(*parts, strict=True)
        return self.request.task.score(structure.joined(outputs), structure.joined(targets))

    def _run(self, net: Net) -> Iterator[tuple[Scored, int]]:
        channels_last(net.eval().module)
        seen = 0
        for batch in self.request.task.val:
            inputs, targets = split(batch)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.request.recipe.bf16()):
                outputs = floats(net(*inputs))
            seen += rows_of(inputs)
            yield (outputs, targets), rows_of(inputs)
            if seen >= QUICK_SAMPLES:
                return

    # -- files -----------------------------------------------------------------------------------------------------

    def outputs(self, artifact: Artifact, batches: Any) -> Scored:
        """Return a file's outputs in its runtime, and the targets; those on the validation data are kept for a while.

        The file `kept` is kept all the time: the original is compared with all others. All processors are used,
        whatever the setting says: outputs depend on runtime and precision.
        """
        key = artifact.path, kind(artifact.settings)
        if batches is self.request.task.val and key in self._files:
            return self._files[key]
        with self.clock("evaluate"):
            opened = partial(self.request.target.open, self._fastest(artifact))
            found = evaluate(opened, batches, EVALUATION_BATCH, self.request.net)
        if batches is self.request.task.val and sum(t.nbytes for t in tensors(found)) <= KEPT_BYTES / KEPT_OUTPUTS:
            self._files[key] = found
            if len(self._files) > KEPT_OUTPUTS:
                del self._files[next(k for k in self._files if k[0] != self.kept)]
        return found

    def file(self, artifact: Artifact, batches: Any) -> float:
        """Return a file's quality in its runtime."""
        if self.request.task.played is not None:
            return float(self.returns(artifact, batches).mean())
        return self.request.task.score(*self.outputs(artifact, batches))

    def returns(self, artifact: Artifact, batches: Any) -> Tensor:
        """Return what a file gains in its runtime in each of the episodes of a task that is played, (episodes,)."""
        task = self.request.task
        key = artifact.path, kind(artifact.settings), "val" if batches is task.val else "test"
        if key not in self._returns:
            with self.clock("evaluate"):
                opened = partial(self.request.target.open, self._fastest(artifact))
                self._returns[key] = played(task, opened, key[2], EVALUATION_BATCH, self.request.net)
        return self._returns[key]

    def _fastest(self, artifact: Artifact) -> Artifact:
        most = max(s["threads"] for s in self.request.target.all_settings())
        return Artifact(artifact.path, {**artifact.settings, "threads": most})


def returns(task: Task, net: Net, bf16: bool) -> Tensor:
    """Return what a net gains in torch in each of the validation episodes of a task that is played, (episodes,)."""
    assert task.played is not None
    channels_last(net.eval().module)

    def run(*inputs: Tensor) -> Tree:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return floats(net(*inputs))

    return task.played(run, "val")
