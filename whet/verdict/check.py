"""`check`: measures of a finished file what its limits ask for, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from whet.core.target import Array, Target
from whet.core.task import Task
from whet.flow.quantities import Limit, parse, positive, resolved, seconds, size_bytes
from whet.hardware.elsewhere import device_of, machine_of
from whet.hardware.fresh import CALLS, Fresh, served_fresh
from whet.hardware.race import Raced
from whet.hardware.single_calls import SingleCalls, single_calls, spread_of
from whet.verdict.file_net import file_net
from whet.verdict.limits import Row, Verdict
from whet.verdict.located import Located, name_of, raced, settled
from whet.verdict.quality import Part, Quality, score

FILE, BASELINE = "file", "baseline"
PROCESSES = 3
"""How many fresh processes the cold start and the peak of memory are the median of."""
CHOOSING_SHARE, CALLS_SHARE = 0.4, 0.4
"""Which part of the time settings are raced for, where a file may be served in several, and single calls timed."""
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99}


@dataclass(frozen=True)
class Limits:
    """What a file may take, each None where nothing is asked: ratio, ms, bytes, bytes, seconds, metric, drop."""

    latency_ratio: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    size: float | None = None
    memory: float | None = None
    cold_start: float | None = None
    quality: float | None = None
    drop: Limit | None = None

    @property
    def asked(self) -> list[str]:
        """The names of the limits that are given."""
        return [name for name, value in vars(self).items() if value is not None]


def limits_of(**words: Any) -> Limits:
    """Return limits as people write them: `p99="2ms"`, `size="5MB"`, `drop="1%"`; ratio and quality are numbers.

    Raises: LimitError and ValueRangeError for what cannot be read.
    """
    read: dict[str, Callable[[Any], Any]] = {
        **{name: partial(seconds, name=name, like="2ms, 90s") for name in (*PERCENTILES, "cold_start")},
        "size": size_bytes, "memory": partial(size_bytes, name="max_memory"), "drop": parse,
        "latency_ratio": partial(positive, "max_latency_ratio"), "quality": float,
    }  # fmt: skip
    return Limits(**{name: read[name](value) for name, value in words.items() if value is not None})


@dataclass
class Subject:
    """The file that is checked, with what it is compared with, how it is served, and for how long it is measured."""

    file: Located
    target: Target
    baseline: Located | None = None
    batch: int = 1
    seconds: float = 10.0
    task: Task | None = None
    part: Part = "val"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> dict[str, Array]:
        """The arrays that the file is called with, `(batch, ...)` each, by the input's name."""
        return self.file.inputs(self.batch, self.shapes, self.fixed)

    @cached_property
    def race(self) -> Raced:
        """The race of the file with the baseline in all their settings, or of the file's own settings."""
        files = {FILE: self.file} | ({BASELINE: self.baseline} if self.baseline else {})
        inputs = {FILE: self.inputs}
        if self.baseline is not None:
            inputs[BASELINE] = self.baseline.inputs(self.batch, self.shapes, self.fixed)
        seconds = self.seconds if self.baseline else CHOOSING_SHARE * self.seconds
        return raced(files, self.target, inputs, BASELINE if self.baseline else FILE, seconds)

    @cached_property
    def served(self) -> Located:
        """The file in the one setting that it is served in: its own, or the fastest."""
        return self.file if len(self.file.settings) == 1 else settled(self.file, self.race.settings[FILE])

    @cached_property
    def calls(self) -> SingleCalls:
        """Single calls of the file, timed one by one."""
        sizes = {name: array.shape for name, array in self.inputs.items()}
        session = self.target.open(self.served.artifact, self.batch, sizes)
        return single_calls(partial(session, *self.inputs.values()), CALLS_SHARE * self.seconds)

    @cached_property
    def fresh(self) -> list[Fresh]:
        """What fresh processes took that opened the file."""
        inputs = {name: (array.shape, array.dtype.name) for name, array in self.inputs.items()}
        given = self.served.artifact, inputs, CALLS, machine_of(self.target)
        return [served_fresh(*given) for _ in range(PROCESSES)]

    def quality(self, of: Located) -> Quality:
        """Return a file's quality on the task's data."""
        assert self.task is not None
        original = None
        if self.baseline is not None:
            original = file_net(self.baseline.artifact, self.target, self.shapes)
        return score(of.artifact, self.target, self.task, self.part, original, self.shapes)

    @cached_property
    def own_quality(self) -> Quality:
        """The quality of the file that is checked."""
        return self.quality(self.served)


def check(subject: Subject, limits: Limits) -> Verdict:
    """Measure what the limits ask for; return the verdict.

    Raises: TargetError where the file does not run; TaskError where its quality cannot be computed.
    """
    rows = [ROWS[name](subject, name, getattr(limits, name)) for name in limits.asked]
    base = subject.baseline
    setting = name_of(subject.served) if "race" in vars(subject) or len(subject.file.settings) == 1 else ""
    raced_in = subject.race.settings.get(BASELINE) if base is not None and "race" in vars(subject) else None
    device = device_of(subject.target).to_dict()
    return Verdict(
        str(subject.file.path), setting, tuple(rows), device, str(base.path) if base else "",
        name_of(settled(base, raced_in)) if base and raced_in else "",
    )  # fmt: skip


def _ratio(subject: Subject, name: str, allowed: float) -> Row:
    latency = subject.race.latencies[FILE]
    against = f"{latency.latency_ms:.3g} ms in {name_of(subject.served)}, interleaved with the baseline's"
    against += f" {subject.race.latencies[BASELINE].latency_ms:.3g} ms, {latency.rounds} rounds"
    figures = 1 / latency.ratio, 1 / latency.ratio_high, 1 / latency.ratio_low
    return Row("latency ratio", allowed, *figures, "", against, "quartiles")


def _percentile(subject: Subject, name: str, allowed: float) -> Row:
    found = subject.calls.percentile_ms(PERCENTILES[name])
    how = f"of {len(subject.calls.seconds):,} single calls in {name_of(subject.served)}"
    return Row(name, 1e3 * allowed, *found, "ms", how, "95 % interval")


def _size(subject: Subject, name: str, allowed: float) -> Row:
    size = subject.file.size_bytes
    return Row("size", allowed, size, size, size, "bytes", "on disk, with the weights beside it")


def _memory(subject: Subject, name: str, allowed: float) -> Row:
    found = spread_of([f.peak_bytes for f in subject.fresh])
    return Row("memory", allowed, *found, "bytes", f"peak of a fresh process, median of {PROCESSES}", "least and most")


def _cold_start(subject: Subject, name: str, allowed: float) -> Row:
    found = spread_of([f.cold_start_seconds for f in subject.fresh])
    how = f"a fresh process, from opening the file to its first answer, median of {PROCESSES}"
    return Row("cold start", allowed, *found, "s", how, "least and most")


def _quality(subject: Subject, name: str, allowed: float) -> Row:
    found = subject.own_quality
    how = f"{found.samples:,} samples of {subject.part} data in {name_of(subject.served)}"
    least = found.direction == "max"
    return Row(found.metric, allowed, found.value, found.value, found.value, "", how, least=least)


def _drop(subject: Subject, name: str, allowed: Limit) -> Row:
    assert subject.task is not None and subject.baseline is not None
    own, other = subject.own_quality, subject.quality(subject.baseline)
    # The metric and its direction are those of the bound task where there are no labels.
    better = own.value - other.value if own.direction == "min" else other.value - own.value
    drop = better if subject.task.drop == "absolute" else better / max(abs(other.value), 1e-12)
    most = resolved(allowed, other.value, subject.task)
    assert most is not None
    how = f"{own.metric} {own.value:.4f} against the baseline's {other.value:.4f} on {subject.part} data"
    return Row("drop", most, drop, drop, drop, "", how)


ROWS: dict[str, Callable[[Subject, str, Any], Row]] = {
    "latency_ratio": _ratio, "p50": _percentile, "p95": _percentile, "p99": _percentile, "size": _size,
    "memory": _memory, "cold_start": _cold_start, "quality": _quality, "drop": _drop,
}  # fmt: skip
"""What measures each limit."""
