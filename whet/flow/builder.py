"""`Builder`: makes the networks of decisions: cut, repaired, finished, with the weights that they were left with."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from whet.compress.repair import Repair, output_error, reference_of
from whet.core.net import Net
from whet.core.objectives import Figures
from whet.core.passes import Chain, Result, changes
from whet.core.run import Run
from whet.core.space import Decision, Space
from whet.core.study import Trial
from whet.flow.request import Request
from whet.flow.stopwatch import Stopwatch
from whet.graph.empty import EMPTIED, emptied
from whet.graph.operations import total_operations
from whet.graph.zeros import numbers_stored
from whet.train.fit import channels_last
from whet.train.recalibrate import recalibrate
from whet.train.state import load_state, metadata_of

RECALIBRATED_SAMPLES = 512


class Builder:
    """Builds candidates of one request; what it does is timed by kind.

    All nets are laid out channels last from the beginning, and the original with them. If the first that trains or
    scores one did it, what was computed of it before and after would differ in the last places, and a study that was
    killed and resumed would not end as one that was not.
    """

    def __init__(self, request: Request, run: Run, clock: Stopwatch) -> None:
        self.request, self.run, self.clock = request, run, clock
        channels_last(request.net.module)
        self._built: tuple[Decision, Result] | None = None

    @cached_property
    def space(self) -> Space:
        """The space of the structure."""
        return self.request.space()

    def structure(self, decision: Decision) -> Result:
        """Apply the structural passes to the trained original and repair what they cut; deterministic.

        Where nothing is trained in place, the last one is kept: what is found good is built again at once.
        """
        if self._built is not None and self._built[0] == decision:
            return self._built[1]
        result = self.repaired(self.cut(decision), self.request.net)
        self._built = (decision, result) if self.request.task.train is None else None
        return result

    def cut(self, decision: Decision) -> Result:
        """Apply the structural passes alone: for weights that come from elsewhere."""
        with self.clock("cut"):
            result = Chain(self.request.passes).apply(self.request.net, decision, self.run)
        channels_last(result.net.module)
        return result

    def repaired(self, result: Result, whole: Net) -> Result:
        """Solve the layers that read what was cut of `whole`; where there are no inputs to solve on, do nothing."""
        if not (self.repairs and result.changed):
            return result
        with self.clock("repair"):
            done = Repair().apply(result.net, Decision(), replace(self.run, teacher=whole))
            channels_last(done.net.module)
        said = {"network": f"{len(done.changed)} layers solved on calibration data"} if done.changed else {}
        return result.then(replace(done, changed=changes("repaired", said)))

    @property
    def repairs(self) -> bool:
        """Whether candidates are repaired, which leaves nothing for statistics estimated again to mend.

        Not where they train together: their weights are a supernet's, and probes of repaired cuts, which lose next to
        nothing, promise more than it keeps.
        """
        task = self.request.task
        return (task.calibration is not None or task.train is not None) and not self.request.elastic

    def output_error(self, net: Net) -> float:
        """Return the squared error of a cut's outputs on held-out calibration inputs, as a share of their variance."""
        with self.clock("error"):
            return output_error(reference_of(self.request.net, self.run, Repair().samples), net)

    def finish(self, net: Net, decision: Decision) -> Result:
        """Apply the passes that need no training of their own."""
        with self.clock("finish"):
            return Chain(self.request.finishers).apply(net, decision, self.run)

    def finished(self, result: Result, decision: Decision) -> Result:
        """Apply the finishers to a structure; what was changed and skipped before stays said."""
        return result.then(self.finish(result.net, decision))

    def rebuild(self, trial: Trial) -> Net:
        """Return the net of a trial with its trained weights."""
        result = self.structure(trial.decision) if trial.state is None else self.cut(trial.decision)
        if trial.state is None:
            return self.finish(result.net, trial.decision).net
        path = self.request.out / trial.state
        narrow = emptied(result.net, metadata_of(path).get(EMPTIED, {}))
        net = self.finish(narrow, trial.decision).net
        load_state(path, net)
        return net

    def recalibrated(self, net: Net) -> Net:
        """Re-estimate batch-norm statistics in place, on training data."""
        if self.request.task.train is not None:
            recalibrate(net, self.request.task.train, samples=RECALIBRATED_SAMPLES)
        return net

    def forecast(self, net: Net) -> dict[str, float]:
        """Return `speedup` and `gain` by multiply-accumulates and parameters: where there is no time to measure."""
        speedup = self._original_operations / max(total_operations(net), 1)
        sizes = (numbers_stored(module) for module in (net.module, self.request.net.module))
        served, whole = (Figures(x, max(int(size), 1)) for x, size in zip((speedup, 1.0), sizes, strict=True))
        return {"speedup": speedup, "gain": self.request.objectives.gain(served, whole)}

    @cached_property
    def _original_operations(self) -> int:
        return total_operations(self.request.net)
