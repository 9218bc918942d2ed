"""`Baseline`: the uncompressed network as what candidates have to beat, and what quality is held against."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from whet.core.objectives import Figures
from whet.core.study import Study
from whet.core.target import Artifact
from whet.flow.original import Original, kind, scored
from whet.flow.quantities import resolved
from whet.flow.request import Request
from whet.flow.stopwatch import Stopwatch
from whet.hardware.targets import Settings, baselines, inputs_of, setting_name

BASELINE_SECONDS, BASELINE_SHARE = 6.0, 0.05
"""How long the uncompressed network is timed at first, and at most which share of the budget; the last race times it
again in every setting."""


@dataclass
class Baseline:
    """`bars` are the settings of the uncompressed network that candidates have to beat, `bar` names the fastest.

    `unfit` says why settings are left out, `seconds` what it took to write, time and score the network, `memory_bytes`
    the peak of a process that serves it in the fastest setting, 0 where nobody asked for that.
    """

    original: Original
    bars: list[Settings]
    seconds: float = 0.0
    bar: str = ""
    unfit: dict[str, str] = field(default_factory=dict)
    memory_bytes: int = 0

    def __post_init__(self) -> None:
        self.unfit = dict(self.original.unfit)
        self.bar = min(self.names, key=self.original.latency_ms.__getitem__)

    @property
    def names(self) -> list[str]:
        """The names of the bars."""
        return [setting_name(s) for s in self.bars]

    @property
    def reference(self) -> float:
        """The original's quality on the validation data, in f32 where that runs."""
        return self.original.quality

    @property
    def artifact(self) -> Artifact:
        """The uncompressed network in its fastest setting."""
        return self.original.artifact(next(s for s in self.bars if setting_name(s) == self.bar))

    @property
    def reference_artifact(self) -> Artifact:
        """The uncompressed network in f32, where that runs: what quality is held against."""
        return self.original.artifact(next(s for s in self.bars if kind(s) == self.original.reference))

    @cached_property
    def size_bytes(self) -> int:
        """What the uncompressed network takes on disk."""
        return Artifact(self.original.path, {}).size_bytes

    @property
    def figures(self) -> Figures:
        """What candidates are compared with."""
        return Figures(1.0, self.size_bytes, self.memory_bytes)


def uncompressed(request: Request) -> Path:
    """Return where the file of the uncompressed network is."""
    return request.out / "uncompressed" / "model.onnx"


def original_of(
    request: Request, study: Study, score: Callable[[Artifact], float], claim: Callable[[Path], None], clock: Stopwatch
) -> Original:
    """Write, time and score the uncompressed network in every setting of any runtime; a resumed study knows it."""
    path, memo = uncompressed(request), study.recall("prepared")
    if memo is not None and path.exists():
        return Original(path, **memo)
    claim(path.parent)
    seconds = min(BASELINE_SECONDS, BASELINE_SHARE * request.budget_seconds)
    began = time.monotonic()
    inputs = inputs_of(request.net, request.batch)
    found = baselines(request.net, request.target, path.parent, inputs, seconds=seconds)
    # The first file takes about twice as long as a later one: libraries are loaded with it.
    clock.lasted["save"] = [(time.monotonic() - began - seconds) / 2]
    times = {name: latency.latency_ms for name, latency in found.latencies.items()}

    def sound(quality: float, reference: float) -> bool:
        """Say whether a quality is within the limit, beside the original's in f32."""
        limit = request.max_drop
        if request.limit is not None:
            limit = resolved(request.limit, reference, request.task)
        return limit is None or request.task.loss_of_quality(quality, reference) <= limit

    original = scored(path, request.target, times, found.unfit, score, sound)
    study.remember("prepared", original.to_dict())
    return original
