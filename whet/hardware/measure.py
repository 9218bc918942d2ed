"""Latency by interleaved rounds: what is compared runs side by side, so that drift strikes all alike."""

from __future__ import annotations

import gc
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from whet.core.errors import TargetError, unknown
from whet.core.target import Array, Artifact, Session
from whet.hardware.device import Device, fingerprint
from whet.hardware.elsewhere import device_of, shared_machine

if sys.platform != "win32":  # there, one process is still kept from measuring twice at a time
    import fcntl

Call = Callable[[], object]
IDLE_SHARE = 0.25
SETTLE_SECONDS = 0.1
WARM_SECONDS = 0.01
LEAST_ROUNDS = 5


@dataclass(frozen=True)
class Latency:
    """What `measure` found for one session.

    `latency_ms` is the median over the rounds, to be compared on this device only. `ratio` is the median
    over the rounds of `baseline's time / this one's time` (above 1: faster than the baseline); `ratio_low`
    and `ratio_high` are its quartiles. `device` is the `Device.id`.
    """

    name: str
    latency_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    rounds: int
    protocol: str
    device: str

    @property
    def figures(self) -> dict[str, Any]:
        """What a study writes down: the ratio as `speedup`, with its quartiles."""
        ratios = {"speedup": self.ratio, "speedup_low": self.ratio_low, "speedup_high": self.ratio_high}
        return {**ratios, "latency_ms": self.latency_ms, "protocol": self.protocol}

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return asdict(self)


def measure(
    sessions: Mapping[str, Call],
    baseline: str,
    *,
    seconds: float = 10.0,
    rounds: int = 60,
    tolerance: float = 0.01,
    burst_seconds: float = 0.02,
    seed: int = 0,
) -> dict[str, Latency]:
    """Time callables against `baseline`, all in every round, in an order shuffled per round.

    In a round each session runs one burst: wait until the process is idle (thread pools spin after a call,
    ONNX Runtime's for 30 ms, and would slow whoever comes next), warm up for 10 ms and at least a call (the
    scheduler spreads a pool over the cores), then time calls for `burst_seconds`; the burst's figure is
    their median. Rounds go on until the 95 % notch of every ratio's median, `1.57 (q3 - q1) /
    sqrt(rounds)`, is below `tolerance` of it, or until `rounds` rounds or `seconds` are over, but at least
    five rounds. A file lock keeps a second measurement on the machine waiting.

    The calling thread runs on the cores that the process may use; give every session the same ones, and limit
    them for the whole process (`taskset`), as pools are created with the cores of their creator.

    Paper: McGill, Tukey, Larsen, Variations of box plots, The American Statistician 1978 (the notch).
    """
    times = timed(
        sessions, baseline, seconds=seconds, rounds=rounds, tolerance=tolerance, burst_seconds=burst_seconds, seed=seed
    )
    return compared(times, baseline, burst_seconds, device_of(sessions[baseline]))


def timed(
    sessions: Mapping[str, Call],
    baseline: str,
    *,
    seconds: float = 10.0,
    rounds: int = 60,
    tolerance: float = 0.01,
    burst_seconds: float = 0.02,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Return what `measure` compares: each session's seconds per call, round by round.

    Sessions on another machine are timed there, by this same function.
    """
    if baseline not in sessions:
        raise unknown("baseline", baseline, sessions)
    if seconds <= 0 or rounds < LEAST_ROUNDS or tolerance <= 0 or burst_seconds <= 0:
        raise ValueError(
            f"seconds, tolerance and burst_seconds must be positive and rounds at least {LEAST_ROUNDS}; "
            f"got {seconds}, {tolerance}, {burst_seconds}, {rounds}."
        )
    if (machine := shared_machine(sessions.values())) is not None:
        given = {"seconds": seconds, "rounds": rounds, "tolerance": tolerance, "burst_seconds": burst_seconds}
        return machine.timed(sessions, baseline, **given, seed=seed)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    order = list(sessions)
    shuffle = random.Random(seed).shuffle
    with alone(), no_collection():
        for call in sessions.values():
            call()
        until = time.monotonic() + seconds
        for done in range(rounds):
            if done >= LEAST_ROUNDS and (time.monotonic() > until or _notch(times, baseline) < tolerance):
                break
            shuffle(order)
            for name in order:
                times[name].append(_burst(sessions[name], burst_seconds))
    return times


def compared(
    times: Mapping[str, Sequence[float]], baseline: str, burst_seconds: float = 0.02, device: Device | None = None
) -> dict[str, Latency]:
    """Return the latencies of `timed` with ratios to `baseline`, which may be chosen after the fact.

    `device` is where they were timed, by default here.
    """
    device = device or fingerprint()
    protocol = (
        f"interleaved bursts of {burst_seconds * 1e3:g} ms in shuffled rounds, each after an idle wait and "
        f"warm-up, median of per-round ratios to '{baseline}' with quartiles, {device.cores} cores"
    )
    return {name: _summary(name, times[name], times[baseline], protocol, device.id) for name in times}


def measure_artifacts(
    open: Callable[[Artifact, int], Session],
    artifacts: Mapping[str, Artifact],
    example: Sequence[Array],
    baseline: str,
    **options: Any,
) -> dict[str, Latency]:
    """Open each artifact for the batch of `example`, an array `(batch, ...)` an input, and `measure` calls on it.

    `open` is `target.open`; `options` go to `measure`. A call includes copying inputs in and the output out.
    """
    if baseline not in artifacts:
        raise unknown("baseline", baseline, artifacts)
    if not example or example[0].ndim == 0:
        raise TargetError("the example must hold the network's input arrays, the batch in dimension 0.")
    inputs = tuple(np.ascontiguousarray(array) for array in example)
    batch = len(inputs[0])
    sessions = {name: partial(open(artifact, batch), *inputs) for name, artifact in artifacts.items()}
    return measure(sessions, baseline, **options)


def _burst(call: Call, burst_seconds: float) -> float:
    """Return the median seconds of a call within one burst."""
    wait_idle()
    clock = time.perf_counter
    warm = clock() + WARM_SECONDS
    call()
    while clock() < warm:
        call()
    taken = []
    start = clock()
    end = start + burst_seconds
    while start < end:
        call()
        now = clock()
        taken.append(now - start)
        start = now
    return float(np.median(taken))


def wait_idle(limit_seconds: float = SETTLE_SECONDS) -> float:
    """Sleep until the threads of this process use under a quarter of a core; return the seconds waited."""
    begin = now = time.perf_counter()
    quiet = 0
    # Twice in a row, as another process may have kept a spinning thread off its core for one look.
    while quiet < 2 and now - begin < limit_seconds:
        used, start = time.process_time(), now
        time.sleep(0.001)
        now = time.perf_counter()
        quiet = quiet + 1 if time.process_time() - used < IDLE_SHARE * (now - start) else 0
    return now - begin


def _notch(times: Mapping[str, Sequence[float]], baseline: str) -> float:
    """Return the largest relative half width of a ratio's notch."""
    widths = [0.0]
    for name, taken in times.items():
        low, middle, high = _ratios(taken, times[baseline])
        if name != baseline:
            widths.append(1.57 * (high - low) / len(taken) ** 0.5 / middle)
    return max(widths)


def _ratios(taken: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(np.asarray(base) / np.asarray(taken), (25, 50, 75))
    return float(low), float(middle), float(high)


def _summary(name: str, taken: Sequence[float], base: Sequence[float], protocol: str, device: str) -> Latency:
    low, middle, high = _ratios(taken, base)
    latency_ms = float(np.median(taken)) * 1e3
    return Latency(name, latency_ms, middle, low, high, len(taken), protocol, device)


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep Python's garbage collector from running inside a burst."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


_in_process = threading.Lock()


@contextmanager
def alone(path: Path | None = None) -> Iterator[None]:
    """Hold the machine's measuring lock; wait for whoever has it. A killed holder frees it.

    The lock is a file in the temporary directory, which processes of one machine share.
    """
    path = path or Path(tempfile.gettempdir()) / "whet-measure.lock"
    with _in_process:
        if sys.platform == "win32":
            yield
            return
        handle = _open_shared(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _open_shared(path: Path) -> int:
    """Open the lock file, made so that every user of the machine can, whatever the creator's umask."""
    try:
        # Linux refuses O_CREAT on another user's file in a shared temporary directory.
        if path.exists():
            return os.open(path, os.O_RDONLY)
        handle = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
        os.fchmod(handle, 0o666)
        return handle
    except OSError as error:
        raise TargetError(f"the measuring lock '{path}' cannot be opened: {error.strerror}.") from error
