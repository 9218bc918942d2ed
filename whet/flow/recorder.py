"""`Recorder`: writes trials, failures and notes, and tells the user how the search goes."""

from __future__ import annotations

import math
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from whet.core.objectives import Figures
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.study import Stage, Study, Trial
from whet.flow.failures import Attempt, reason
from whet.flow.folder import Folder
from whet.flow.stopwatch import Stopwatch
from whet.graph.empty import EMPTIED
from whet.hardware.elsewhere import device_of, machine_of
from whet.report.texts import drop_text, gain_text
from whet.schedule.goal import Goal
from whet.train.state import save_state

PARAMETERS = "parameters:{}"
"""Under what name a study remembers how many parameters the network of a trial has."""


class Recorder:
    """Appends to one study. `reference` is the original's quality, `whole` its other figures."""

    def __init__(self, study: Study, run: Run, folder: Folder, stopwatch: Stopwatch, goal: Goal) -> None:
        self.study, self.run, self.folder, self.stopwatch, self.goal = study, run, folder, stopwatch, goal
        self.device = device_of(run.target)
        if (machine := machine_of(run.target)) is not None:
            machine.listen(self.say)
        self.reference, self.whole = 0.0, Figures()
        self.drop_unit = (1.0, "")
        self.notes: list[str] = []
        self.interrupted = False

    def record(self, stage: Stage, decision: Decision, quality: float, **more: Any) -> Trial:
        """Append a finished trial; a trained net's weights are written first."""
        number, net = self.study.next_number, more.pop("net", None)
        if net is not None:
            state = Path("trials") / f"{number}.safetensors"
            self.folder.claim(state.as_posix())
            save_state(net, self.folder.path / state, {EMPTIED: net.module.meta.get(EMPTIED, {})})
            self.study.remember(PARAMETERS.format(number), net.parameter_count)
            more["state"] = str(state)
        reference, latency = more.pop("reference", self.reference), more.pop("latency", None)
        if latency is not None:
            more |= latency.figures
        gain = more.pop("gain", None) or self._gain(more)
        trial = Trial(
            number, stage, decision, gain=gain, speedup=more.pop("speedup", math.nan), quality=quality,
            drop=self.run.task.loss_of_quality(quality, reference), spent_seconds=self.run.budget.spent_seconds,
            device=self.device.id, **more,
        )  # fmt: skip
        self.study.add(trial)
        self.say(stage, trial=number, best=self.best_line())
        return trial

    def _gain(self, figures: dict[str, Any]) -> float:
        size = figures.get("size_bytes") or self.whole.size_bytes
        served = Figures(figures["speedup"], size, figures.get("memory_bytes", 0))
        return self.goal.objectives.gain(served, self.whole)

    def attempt(self, stage: str, decision: Decision, parent: int | None = None) -> Attempt:
        """Return a context in which a candidate may fail: that becomes a failed trial, and the search goes on.

        The traceback goes into `.whet/failures.log`.
        """
        return Attempt(partial(self._failed, stage, decision, parent), self.stopwatch.stage(stage))

    def _failed(self, stage: str, decision: Decision, parent: int | None, error: Exception) -> None:
        trial = Trial(
            self.study.next_number, "failed", decision, quality=math.nan, drop=math.nan, speedup=math.nan,
            parent=parent, note=reason(error), attempted=stage, spent_seconds=self.run.budget.spent_seconds,
            device=self.device.id,
        )  # fmt: skip
        self.study.add(trial)
        with (self.folder.own / "failures.log").open("a", encoding="utf-8") as log:
            log.write(f"trial {trial.number}: {decision!r}\n{''.join(traceback.format_exception(error))}\n")
        self.say(f"trial {trial.number} failed: {trial.note}")

    def say(self, stage: str, **more: Any) -> None:
        """Tell the user what is going on."""
        self.run.progress({"stage": stage, **more, "seconds_left": self.run.budget.left_seconds})

    def note(self, text: str) -> None:
        """Keep a sentence for the conclusion and the report, once."""
        sentence = f"{text[:1].upper()}{text[1:].rstrip('.')}."
        if sentence not in self.notes:
            self.notes.append(sentence)

    def best_line(self) -> str:
        """Say in a few words which verified candidate within the limits is the best so far."""
        full = [t for t in self.study.trials if t.stage == "full" and not t.simulated]
        good = [t for t in full if self.goal.feasible(t)]
        if not good:
            return "none within the limits yet"
        best = max(good, key=lambda t: t.gain)
        figures = gain_text(best, self.goal.objectives.wanted)
        return f"{figures} at drop {drop_text(best.drop, self.drop_unit)} (trial {best.number})"
