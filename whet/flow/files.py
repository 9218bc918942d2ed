"""`Files`: the files of candidates: written, timed, and removed again where they are only looked at."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from whet.core.net import Net
from whet.core.passes import Chain
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.target import Artifact
from whet.core.task import split
from whet.flow.folder import Folder
from whet.flow.request import Request
from whet.flow.stopwatch import Stopwatch
from whet.flow.timing import Timing, cost_signature
from whet.hardware.elsewhere import machine_of
from whet.hardware.fresh import CALLS
from whet.hardware.measure import Latency
from whet.hardware.memory import peak_memory_bytes
from whet.hardware.targets import inputs_of
from whet.schedule.actions import Finishers
from whet.schedule.obvious import in_words

CANDIDATE_SECONDS, FINISHED_SECONDS = 1.2, 2.0
"""How long the files of a candidate, and a finished one, are timed."""
TIMED_SAMPLES = 8
MODEL_FILES = ("model.onnx", "model.data")
"""What a target writes for a network; large weights lie beside the graph."""


class Files:
    """Writes and times the files of one request; `timing` is there once the uncompressed network was timed."""

    timing: Timing

    def __init__(self, request: Request, run: Run, folder: Folder, clock: Stopwatch) -> None:
        self.request, self.run, self.folder, self.clock = request, run, folder, clock
        self._times: dict[tuple[str, Decision | None], dict[str, Any]] = {}

    def claim(self, folder: Path) -> None:
        """List the files of a network that is about to be written into a folder of the study's."""
        self.folder.claim(*((folder.relative_to(self.request.out) / name).as_posix() for name in MODEL_FILES))

    def save(self, net: Net, folder: Path) -> Path:
        with self.clock("save"):
            return self.request.target.save(net.eval(), folder)

    def time_net(self, net: Net, finishers: Finishers | None) -> dict[str, Any]:
        """Time a candidate as it is and, with `finishers`, in its finished form; keep no file.

        Finishing costs no training, so a candidate is as fast as the faster of the two; where finishers clearly sped up
        the untouched network, only that form is timed. Candidates of equal operations and shapes are timed once.
        Returns the fields `latency`, `settings`, `size_bytes` and `note`.
        """
        key = (cost_signature(net), None if finishers is None else finishers.decision)
        if key not in self._times:
            self._times[key] = self._time_net(net, finishers or Finishers())
        return self._times[key]

    def _time_net(self, net: Net, finishers: Finishers) -> dict[str, Any]:
        folder = self.folder.scratch
        variants = {} if finishers.alone else {"as it is": net}
        if finishers.decision:
            how = f"with {in_words(finishers.decision)}"
            variants[how] = Chain(self.request.finishers).apply(net, finishers.decision, self.hasty).net
        try:
            files = {how: self.save(v, folder / str(i)) for i, (how, v) in enumerate(variants.items())}
            with self.clock("race"):
                timed = self.timing(files, CANDIDATE_SECONDS)
            size = Artifact(files[timed.how], {}).size_bytes
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return {"latency": timed.latency, "settings": timed.settings, "size_bytes": size, "note": f"timed {timed.how}"}

    def size_of(self, net: Net) -> int:
        """Return what a network takes on disk; keep no file."""
        size = Artifact(self.save(net, self.folder.scratch / "sized"), {}).size_bytes
        shutil.rmtree(self.folder.scratch, ignore_errors=True)
        return size

    def time_file(self, path: Path, brief: bool = False) -> tuple[Latency, dict[str, Any]]:
        """Time a saved candidate, briefly or not; return its latency and the setting that it is fastest in."""
        with self.clock("race"):
            timed = self.timing({"file": path}, CANDIDATE_SECONDS if brief else FINISHED_SECONDS)
        return timed.latency, timed.settings

    def memory_of(self, artifact: Artifact) -> int:
        """Return the peak of memory of a new process that serves a file, in bytes."""
        arrays = zip(self.request.net.inputs, inputs_of(self.request.net, self.request.batch), strict=True)
        inputs = {port.name: (array.shape, array.dtype.name) for port, array in arrays}
        with self.clock("memory"):
            return peak_memory_bytes(artifact, inputs, CALLS, machine_of(self.request.target))

    @cached_property
    def hasty(self) -> Run:
        """The run with so few calibration inputs that they take no time: what is timed only need not be good."""
        task = self.request.task
        given = task.calibration if task.calibration is not None else task.train
        batch = next(iter(given), None) if given is not None else None
        few = None if batch is None else [(tuple(x[:TIMED_SAMPLES] for x in split(batch)[0]), None)]
        return replace(self.run, task=replace(self.run.task, calibration=few))
