"""`fit`: the one training loop of the project."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whet.core.checks import positive
from whet.core.errors import TaskError, TrainingError
from whet.core.kinds import Kind
from whet.core.task import Batch, Batches, Task, floats, length_of, rows_of, split
from whet.data.kinds import apart, kinds_of
from whet.data.memory import TeacherMemory
from whet.support.structure import Tree
from whet.train.bound import Network, bound
from whet.train.checkpoint import between_steps, load_checkpoint, save_checkpoint
from whet.train.fit_report import FitReport as FitReport
from whet.train.held_out import HeldOut
from whet.train.hints import Hints
from whet.train.learned_points import LearnedPoints
from whet.train.learned_steps import LearnedSteps
from whet.train.recipe import Recipe
from whet.train.state import module_of
from whet.train.technique import Hooks, Session, Technique
from whet.train.zeros import HeldZeros

REPORT_SECONDS = 0.5
COUNTED = ("steps", "samples", "losses")
"""Of the report, what a training goes on with."""
GOOD_EVERY = 50
ALWAYS: tuple[Technique, ...] = (Hints(), HeldZeros(), LearnedSteps(), LearnedPoints())
"""Techniques of every training; they do nothing where neither recipe nor network asks for them."""


def fit(
    net: Network,
    task: Task,
    *,
    teacher: Network | None = None,
    recipe: Recipe | None = None,
    samples: int | None = None,
    epochs: float | None = None,
    seconds: float | None = None,
    seed: int = 0,
    memory: TeacherMemory | None = None,
    held_out: HeldOut | None = None,
    techniques: Sequence[Technique] = (),
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
    progress: Callable[[dict[str, Any]], None] = lambda event: None,
) -> FitReport:
    """Train `net` in place until `samples`, `epochs` or `seconds` are used up; it ends in eval mode.

    The schedule follows the larger of the shares of samples and of seconds that are used, so it always runs to its
    end; with samples alone, and one thread, the result is the same to the bit each time. With `checkpoint` the state is
    written now and then and on Ctrl-C, and the same call goes on from there, exactly where samples limit it. With
    `held_out` the better of the weights before and after is kept, by the loss on it in eval mode, the task's and the
    teacher's alone. `techniques` come beside those of the recipe (`whet.train.technique`).

    Raises: TaskError without training data; TrainingError at a loss that is no finite number, after the weights were
    set back to the last good ones, or with `held_out` only where the first loss is none; ArtifactError for a damaged
    checkpoint.
    """
    for name, limit in (("samples", samples), ("epochs", epochs), ("seconds", seconds)):
        if limit is not None:
            positive(name, limit)
    task = bound(task, net, teacher)
    if epochs is not None:
        samples = math.ceil(epochs * sum(rows_of(split(b)[0]) for b in task.training))
    if samples is None and seconds is None:
        raise TrainingError("fit needs a limit: samples, epochs or seconds.")
    recipe = recipe or Recipe()
    recipe = replace(recipe, techniques=(*recipe.techniques, *techniques))
    loop = _Loop(net, task, teacher, recipe, samples, seconds, seed, memory, held_out)
    loop.judge_before()
    if checkpoint is not None and checkpoint.exists():
        loop.load(checkpoint)
    try:
        with between_steps() as interrupted, loop.hooked((*ALWAYS, *recipe.techniques)):
            loop.run(progress, checkpoint, checkpoint_seconds, interrupted)
            if interrupted and checkpoint is not None:  # techniques change weights when they end
                loop.save(checkpoint)
        if interrupted:
            raise KeyboardInterrupt
        loop.keep_better()
    finally:
        loop.module.eval()
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return loop.report


def held_out_loss(
    net: Network, task: Task, held_out: HeldOut, *,
    teacher: Network | None = None, recipe: Recipe | None = None, memory: TeacherMemory | None = None,
) -> float:  # fmt: skip
    """Return the loss that `fit` would judge `net` by before a training."""
    loop = _Loop(net, bound(task, net, teacher), teacher, recipe or Recipe(), 1, None, 0, memory, held_out)
    loop.judge_before()
    return loop.report.held_before


class _Loop:
    def __init__(
        self, net: Network, task: Task, teacher: Network | None, recipe: Recipe,
        samples: int | None, seconds: float | None, seed: int, memory: TeacherMemory | None = None,
        held_out: HeldOut | None = None,
    ) -> None:  # fmt: skip
        self.net, self.module, self.task, self.recipe, self.seed = net, module_of(net), task, recipe, seed
        self.original = teacher if recipe.distillation > 0 else None
        self.teacher = module_of(self.original).eval() if self.original is not None else None
        self.memory = memory if memory is not None and memory.teacher is teacher else None
        self.samples, self.seconds, self.held_out = samples, seconds, held_out
        self.bf16 = recipe.bf16()
        self.kinds: tuple[Kind, ...] = recipe.kinds(task.kinds)
        self.report = FitReport()
        self.hooks: list[Hooks] = []
        self.kept: dict[str, Tensor] = {}
        self.resumed: dict[str, Tensor] = {}
        for module in (self.module, self.teacher):
            if module is not None:
                channels_last(module)
        self.optimizer = recipe.build(self.module)
        self.before: dict[str, Tensor] = {}
        self.before_seconds = 0.0
        self.started = time.monotonic()
        torch.manual_seed(seed)

    @contextmanager
    def hooked(self, techniques: Sequence[Technique]) -> Iterator[None]:
        """Have techniques take part in the steps that are made within."""
        session = Session(self.net, self.original, self.recipe, self.report, lambda: self.progress, self.keep)
        try:
            for technique in techniques:
                self.hooks.append(technique.begin(session))
            yield
        finally:
            for hook in self.hooks:
                if hook.end is not None:
                    hook.end()
            self.hooks.clear()

    @torch.no_grad()
    def keep(self, name: str, tensor: Tensor) -> Tensor:
        """Have a technique's tensor in checkpoints; it has the values of the one that this training goes on from."""
        if name in self.resumed:
            tensor.copy_(self.resumed[name])
        self.kept[name] = tensor
        return tensor

    # -- the loop --

    @property
    def progress(self) -> float:
        """The share of the limit that is used, in [0, 1]."""
        by_samples = self.report.samples / self.samples if self.samples else 0.0
        by_seconds = self.elapsed / self.seconds if self.seconds else 0.0
        return min(max(by_samples, by_seconds), 1.0)

    @property
    def elapsed(self) -> float:
        return self.before_seconds + time.monotonic() - self.started

    def batches(self) -> Iterator[Batch]:
        """Return the batches of all epochs, from where the report stands."""
        train, skip = self.task.training, self.report.steps
        for epoch in count():
            items = train.at_epoch(epoch) if hasattr(train, "at_epoch") else train
            length = length_of(items)
            if self.held_out is not None:
                length = None if length is None else length - self.held_out.skipped(items)
                items = self.held_out.others(items)
            if length is not None and 0 < length <= skip:
                skip -= length
                continue
            seen = 0
            for seen, batch in enumerate(self._loaded(items), 1):  # noqa: B007
                if skip:
                    skip -= 1
                else:
                    yield batch
            if not seen:
                raise TaskError(f"task '{self.task.name}' gives no training batch.")

    def _loaded(self, items: Batches) -> Iterator[Batch]:
        """Yield batches and charge the time that they take."""
        began = time.monotonic()
        for batch in items:
            self.report.data_seconds += time.monotonic() - began
            yield batch
            began = time.monotonic()

    def run(
        self,
        progress: Callable[[dict[str, Any]], None],
        checkpoint: Path | None,
        every: float,
        interrupted: list[int],
    ) -> None:
        self.module.train()
        good, told, saved = self._copy(), 0.0, time.monotonic()
        window: list[float] = []
        for batch in self.batches() if self.progress < 1 else ():
            loss = self.step(batch)
            if not math.isfinite(loss):
                self._failed(loss, good)
                break
            window.append(loss)
            now = time.monotonic()
            if self.report.steps % GOOD_EVERY == 0:
                good = self._copy()
                self.report.losses.append(sum(window) / len(window))
                window = []
            if now - told > REPORT_SECONDS:
                told = now
                progress(self._event(loss))
            if checkpoint is not None and now - saved > every:
                saved = now
                self.save(checkpoint)
            if self.progress >= 1 or interrupted:
                break
        if window:
            self.report.losses.append(sum(window) / len(window))
        self.report.seconds = self.elapsed

    def _failed(self, loss: float, good: dict[str, Tensor]) -> None:
        """Set the weights back; raise, unless it is known what they were before, which `keep_better` goes back to."""
        self.module.load_state_dict(good)
        which = "from before the training" if self.before else "of the last good step kept"
        self.report.failure = (
            f"the loss was {loss} at step {self.report.steps}; the weights are those {which}. "
            f"A lower learning rate than {self.recipe.learning_rate} may help."
        )
        if not self.before or self.report.steps == 1:
            raise TrainingError(self.report.failure)

    # -- no harm --

    def judge_before(self) -> None:
        """With held-out data, remember the weights and what they are worth; the time for it is part of the limit."""
        if self.held_out is not None:
            self.before, self.report.held_before = self._copy(), self._judged(self.held_out)
            if self.seconds is not None:  # as long again after the last step
                self.seconds = max(self.seconds - 2 * self.report.check_seconds, self.seconds / 2)
            self.started = time.monotonic()

    def keep_better(self) -> None:
        """Set the weights back where training made the loss on held-out data worse; the report says so."""
        if self.held_out is None:
            return
        self.report.held_after = math.nan if self.report.failure else self._judged(self.held_out)
        before, after = self.report.held_before, self.report.held_after
        self.report.kept = "after" if after <= before or math.isfinite(after) > math.isfinite(before) else "before"
        if self.report.kept == "before":
            self.module.load_state_dict(self.before)

    @torch.no_grad()
    def _judged(self, held_out: HeldOut) -> float:
        """Return the mean loss over held-out samples in eval mode."""
        began, total = time.monotonic(), 0.0
        self.module.eval()
        for batch in held_out.batches:
            inputs, targets = split(batch)
            total += rows_of(inputs) * float(self.loss(_laid_out(inputs), targets))
        self.report.check_seconds += time.monotonic() - began
        return total / held_out.samples

    def step(self, batch: Batch) -> float:
        """Take one optimizer step; return its loss."""
        inputs, targets = split(batch)
        inputs = _laid_out(inputs)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(self.progress)
        loss = self.loss(inputs, targets)
        value = float(loss.detach())
        self.report.steps += 1
        self.report.samples += rows_of(inputs)
        self.report.loss = value
        if math.isfinite(value):
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            for hook in self.hooks:
                if hook.before_step is not None:
                    hook.before_step()
            if self.recipe.clip_norm > 0:
                nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.clip_norm)
            self.optimizer.step()
            for hook in self.hooks:
                if hook.after_step is not None:
                    hook.after_step()
        return value

    def loss(self, inputs: tuple[Tensor, ...], targets: Tree) -> Tensor:
        """Return the task's loss mixed with the distance to the teacher, and what techniques add."""
        share = self.recipe.distillation if self.teacher is not None else 0.0
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            outputs = self.module(*inputs)
            if self.teacher is not None:
                began = time.monotonic()
                with torch.no_grad():
                    wanted = self._wanted(self.teacher, inputs)
                self.report.teacher_seconds += time.monotonic() - began
        outputs = floats(outputs)
        loss = self.task.loss(outputs, targets) * (1 - share) if share < 1 else torch.zeros(())
        if self.teacher is not None:
            self._told(wanted, targets)
            distance = apart(outputs, floats(wanted), self.kinds, self.recipe.distance, self.recipe.temperature)
            loss = loss + share * distance
        for hook in self.hooks:
            if hook.loss is not None:
                loss = loss + hook.loss()
        return loss

    def _told(self, wanted: Tree, targets: Tree) -> None:
        """Find the kinds of outputs from the teacher's, where the task does not say them; say what is compared how."""
        if not self.kinds:
            self.kinds = self.recipe.kinds(kinds_of(floats(wanted), targets))
        self.report.distance = self.report.distance or self.recipe.comparison(self.kinds)

    def _wanted(self, teacher: nn.Module, inputs: tuple[Tensor, ...]) -> Tree:
        """Return the teacher's outputs, from memory where nothing else of the teacher is needed."""
        if self.memory is None or any(hook.watches_teacher for hook in self.hooks):
            return teacher(*inputs)
        return self.memory.outputs(inputs, lambda: teacher(*inputs))

    def _copy(self) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in self.module.state_dict().items()}

    def _event(self, loss: float) -> dict[str, Any]:
        used, elapsed = self.progress, self.elapsed
        left = elapsed * (1 - used) / used if used else float("nan")
        return {
            "stage": "training",
            "step": self.report.steps,
            "steps": max(self.report.steps, round(self.report.steps / used)) if used else 0,
            "loss": loss,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "samples_per_second": self.report.samples / max(elapsed, 1e-9),
            "training_seconds_left": left,
        }

    # -- checkpoints --

    def save(self, path: Path) -> None:
        """Write what `load` goes on from, whole or not at all."""
        metadata = {**self._same, "seconds": self.elapsed} | {k: getattr(self.report, k) for k in COUNTED}
        save_checkpoint(path, self.module, self.optimizer, metadata, self.kept)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same training."""
        metadata, self.resumed = load_checkpoint(path, self.module, self.optimizer, self._same)
        for key in COUNTED:
            setattr(self.report, key, metadata[key])
        self.before_seconds, self.started = metadata["seconds"], time.monotonic()

    @property
    def _same(self) -> dict[str, Any]:
        return {"recipe": str(self.recipe), "seed": self.seed}


def _laid_out(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in inputs)


def channels_last(module: nn.Module) -> None:
    """Lay 4-D parameters out channels last, in place: about twice as fast to train on a CPU."""
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
