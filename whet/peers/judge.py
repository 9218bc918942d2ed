"""Judging: every delivered file is scored from disk in its runtime, and all are timed interleaved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from whet.core.errors import WhetError
from whet.core.target import Artifact
from whet.hardware.guard import Guarded
from whet.hardware.measure import Latency, measure
from whet.hardware.targets import RUNTIMES, get, setting_name, thread_counts
from whet.peers.work import Delivered, Work, as_arrays
from whet.verify.equivalence import evaluate

HEAT_SECONDS = 0.4
RACE_SECONDS = 1.5


@dataclass(frozen=True)
class Judged:
    """A file's figures: `drop` in the unit of the limit, against f32; None where there is nothing to score."""

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
    note: str = ""
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def settings_of(item: Delivered, cores: int) -> list[dict[str, Any]]:
    """Return the settings that a file may be served in."""
    target = get("cpu")
    legal = RUNTIMES[item.runtime].legal(target.device)
    precisions = [item.precision] if item.precision else list(legal)
    counts = tuple(reversed(thread_counts(cores)))
    return [{"runtime": item.runtime, "precision": p, "threads": t} for p in precisions for t in counts]


class Judge:
    """Opens, times and scores the files of all peers on one work."""

    def __init__(self, work: Work, cores: int) -> None:
        self.work, self.cores = work, cores
        self.target = Guarded(get("cpu"))
        self.inputs = as_arrays(tuple(x[:1] for x in work.module()[1]))
        self.errors: dict[tuple[str, str], str] = {}
        self.protocol = ""

    def judge(self, delivered: Mapping[str, list[Delivered]]) -> tuple[list[Judged], str, float | None]:
        """Return the files' figures, the name of the bar, and the reference quality.

        The bar is the fastest setting of the peer `runtime`, whose files are the uncompressed network.
        """
        items = {(peer, d.name): d for peer, files in delivered.items() for d in files}
        sessions = self._open(items)
        best = self._heat(sessions)
        plain = {key: setting for key, setting in best.items() if key[0] == "runtime"}
        if not plain:
            raise WhetError(f"no runtime opens the uncompressed network: {self.errors}")
        latencies = measure(
            {_label(key): sessions[key, setting_name(s)] for key, s in best.items()},
            _label(next(iter(plain))), seconds=5.0 + RACE_SECONDS * len(best),
        )  # fmt: skip
        self.protocol = next(iter(latencies.values())).protocol
        bar = min(plain, key=lambda key: latencies[_label(key)].latency_ms)
        qualities = self._qualities(items, best)
        full = [key for key, s in plain.items() if s["precision"] == "f32" and key in qualities]
        reference = next((qualities[key] for key in full if qualities[key] is not None), None)
        f32 = {plain[key]["runtime"]: latencies[_label(key)] for key in full}
        rows = [
            self._row(key, items[key], best[key], latencies, bar, f32, quality, reference)
            for key, quality in qualities.items()
        ]
        return rows, f"{bar[1]} ({setting_name(best[bar])})", reference

    def lost(self, rows: list[Judged]) -> dict[tuple[str, str], str]:
        """Return why files that no setting opens are not among the rows."""
        judged = {(row.peer, row.name) for row in rows}
        return {key: why for key, why in self.errors.items() if key not in judged}

    def _open(self, items: Mapping[tuple[str, str], Delivered]) -> dict[tuple[tuple[str, str], str], Any]:
        sessions: dict[tuple[tuple[str, str], str], Any] = {}
        for key, item in items.items():
            for setting in settings_of(item, self.cores):
                try:
                    session = partial(self.target.open(Artifact(Path(item.path), setting), 1), *self.inputs)
                    session()
                except WhetError as error:
                    self.errors[key] = str(error).splitlines()[0][:200]
                    continue
                sessions[key, setting_name(setting)] = session
        return sessions

    def _heat(self, sessions: Mapping[tuple[tuple[str, str], str], Any]) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the setting that each file is fastest in, from one interleaved heat of all."""
        named = {f"{_label(key)} | {setting}": session for (key, setting), session in sessions.items()}
        heat = measure(named, next(iter(named)), seconds=HEAT_SECONDS * len(named))
        best: dict[tuple[str, str], dict[str, Any]] = {}
        for key in dict.fromkeys(k for k, _ in sessions):
            tried = [s for k, s in sessions if k == key]
            fastest = min(tried, key=lambda s: heat[f"{_label(key)} | {s}"].latency_ms)
            runtime, precision, threads = fastest.split("/")
            best[key] = {"runtime": runtime, "precision": precision, "threads": int(threads)}
        return best

    def _qualities(
        self, items: Mapping[tuple[str, str], Delivered], best: Mapping[tuple[str, str], dict[str, Any]]
    ) -> dict[tuple[str, str], float | None]:
        """Score each file; one that runs at batch 1 alone cannot be scored, and is lost with its reason."""
        found: dict[tuple[str, str], float | None] = {}
        for key, setting in best.items():
            try:
                found[key] = self._quality(items[key], setting)
            except WhetError as error:
                self.errors[key] = str(error).splitlines()[0][:200]
        return found

    def _quality(self, item: Delivered, setting: dict[str, Any]) -> float | None:
        if self.work.latency_only:
            return None
        task = self.work.bundle.task
        artifact = Artifact(Path(item.path), setting)
        return task.score(*evaluate(lambda n: self.target.open(artifact, n), task.val, batch=64))

    def _row(
        self, key: tuple[str, str], item: Delivered, setting: dict[str, Any], latencies: Mapping[str, Latency],
        bar: tuple[str, str], f32: Mapping[str, Latency], quality: float | None, reference: float | None,
    ) -> Judged:  # fmt: skip
        own, base = latencies[_label(key)], latencies[_label(bar)]
        same = f32.get(item.runtime)
        scored = quality is not None and reference is not None
        path = Path(item.path)
        return Judged(
            peer=key[0], name=item.name, setting=setting_name(setting), quality=quality,
            drop=self.work.bundle.task.loss_of_quality(quality, reference) if scored else None,  # type: ignore[arg-type]
            speedup=own.ratio / base.ratio, speedup_low=own.ratio_low / base.ratio,
            speedup_high=own.ratio_high / base.ratio, speedup_f32=own.ratio / same.ratio if same else None,
            latency_ms=own.latency_ms, size_bytes=Artifact(path, {}).size_bytes, zstd_bytes=zstd_bytes(path),
            note=item.note,
        )  # fmt: skip


def _label(key: tuple[str, str]) -> str:
    return f"{key[0]}: {key[1]}"


def zstd_bytes(path: Path) -> int:
    """Return the bytes of a file with its side files after zstd at level 19."""
    import zstandard

    sides = (part for part in path.parent.iterdir() if part.name.startswith(path.stem))
    return sum(len(zstandard.ZstdCompressor(level=19).compress(part.read_bytes())) for part in sides)
