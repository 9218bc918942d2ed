"""Judging: every delivered file is scored from disk in its runtime, and all are timed interleaved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whet.bench.peers.work import Delivered, Work
from whet.core.errors import WhetError
from whet.core.target import Artifact
from whet.hardware.guard import Guarded
from whet.hardware.measure import Latency
from whet.hardware.race import race
from whet.hardware.targets import RUNTIMES, get, inputs_of, setting_name, thread_counts
from whet.verify.equivalence import evaluate

SECONDS_EACH = 1.0
QUICK_SECONDS_EACH = 0.3
LATE = 1.1
"""A file is late after so many times the budget."""


@dataclass(frozen=True)
class Judged:
    """A file's figures: `drop` in the unit of the limit, against f32; None where there is nothing to score.

    `seconds` after the clock started it was handed in; `late` is beyond the budget, and counts for nothing.
    """

    peer: str
    name: str
    setting: str
    quality: float | None
    drop: float | None
    speedup: float
    speedup_low: float
    speedup_high: float
    speedup_f32: float | None
    latency_ms: float
    size_bytes: int
    zstd_bytes: int
    seconds: float = 0.0
    late: bool = False
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return asdict(self)


def settings_of(item: Delivered, cores: int) -> list[dict[str, Any]]:
    """Return the settings that a file may be served in."""
    target = get("cpu")
    legal = RUNTIMES[item.runtime].legal(target.device)
    precisions = [item.precision] if item.precision else list(legal)
    counts = tuple(reversed(thread_counts(cores)))
    return [{"runtime": item.runtime, "precision": p, "threads": t} for p in precisions for t in counts]


@dataclass(frozen=True)
class Verdict:
    """What became of all files: figures, files that are lost with the reason, the bar, and the reference quality."""

    rows: list[Judged]
    lost: list[dict[str, str]]
    bar: str
    reference: float | None
    protocol: str


class Judge:
    """Opens, times and scores the files of all peers on one work, with `seconds_each` for a file in a setting."""

    def __init__(self, work: Work, cores: int, seconds_each: float = SECONDS_EACH) -> None:
        self.work, self.cores, self.seconds_each = work, cores, seconds_each
        self.target = Guarded(get("cpu"))
        self.net = work.net()
        self.inputs = inputs_of(self.net)

    def judge(self, delivered: Mapping[str, list[Delivered]]) -> Verdict:
        """Time and score all files.

        The bar is the fastest setting of the peer `runtime`, whose files are the uncompressed network.
        """
        items = {_label(peer, d.name): (peer, d) for peer, files in delivered.items() for d in files}
        files = {label: (Path(d.path), settings_of(d, self.cores)) for label, (_, d) in items.items()}
        plain = [label for label, (peer, _) in items.items() if peer == "runtime"]
        raced = race(self.target, self.inputs, files, plain, self.seconds_each)
        qualities, unscored = self._qualities({k: (items[k][1], setting) for k, setting in raced.settings.items()})
        errors = raced.errors | unscored
        lost = [
            {"peer": peer, "name": d.name, "error": errors[k]} for k, (peer, d) in items.items() if k not in qualities
        ]
        full = [k for k in plain if k in qualities and raced.settings[k]["precision"] == "f32"]
        reference = next((qualities[k] for k in full if qualities[k] is not None), None)
        f32 = {raced.settings[k]["runtime"]: raced.latencies[k] for k in full}
        rows = [
            self._row(*items[k], raced.settings[k], raced.latencies[k], f32, quality, reference)
            for k, quality in qualities.items()
        ]
        bar = f"{items[raced.bar][1].name} ({setting_name(raced.settings[raced.bar])})"
        return Verdict(rows, lost, bar, reference, raced.latencies[raced.bar].protocol)

    def _qualities(
        self, served: Mapping[str, tuple[Delivered, dict[str, Any]]]
    ) -> tuple[dict[str, float | None], dict[str, str]]:
        """Score each file; one that runs at batch 1 alone cannot be scored, and is lost with its reason."""
        found: dict[str, float | None] = {}
        errors: dict[str, str] = {}
        for label, (item, setting) in served.items():
            try:
                found[label] = self._quality(item, setting)
            except WhetError as error:
                errors[label] = str(error).splitlines()[0][:200]
        return found, errors

    def _quality(self, item: Delivered, setting: dict[str, Any]) -> float | None:
        if self.work.latency_only:
            return None
        task = self.work.bundle.task
        artifact = Artifact(Path(item.path), setting)
        # Each tool calls the inputs as it likes, and all put the batch first.
        return task.score(*evaluate(lambda n, shapes: self.target.open(artifact, n), task.val, 64, self.net))

    def _row(
        self, peer: str, item: Delivered, setting: dict[str, Any], own: Latency, f32: Mapping[str, Latency],
        quality: float | None, reference: float | None,
    ) -> Judged:  # fmt: skip
        same = f32.get(item.runtime)
        scored = quality is not None and reference is not None
        stored = Path(item.stored or item.path)
        return Judged(
            peer=peer, name=item.name, setting=setting_name(setting), quality=quality,
            drop=self.work.bundle.task.loss_of_quality(quality, reference) if scored else None,  # type: ignore[arg-type]
            speedup=own.ratio, speedup_low=own.ratio_low, speedup_high=own.ratio_high,
            speedup_f32=own.ratio / same.ratio if same else None, latency_ms=own.latency_ms,
            size_bytes=Artifact(stored, {}).size_bytes, zstd_bytes=zstd_bytes(stored), seconds=item.seconds,
            late=item.seconds > LATE * self.work.seconds, note=item.note,
        )  # fmt: skip


def _label(peer: str, name: str) -> str:
    return f"{peer}: {name}"


def zstd_bytes(path: Path) -> int:
    """Return the bytes of a file with its side files after zstd at level 19."""
    import zstandard

    sides = (part for part in path.parent.iterdir() if part.name.startswith(path.stem))
    return sum(len(zstandard.ZstdCompressor(level=19).compress(part.read_bytes())) for part in sides)
