"""`Timing`: how fast candidates are during the search, and which of them need no new measurement."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import fx

from whet.core.errors import StudyError, TargetError, WhetError
from whet.core.net import Net
from whet.core.target import Artifact, Target
from whet.graph.zeros import zeros_of
from whet.hardware.elsewhere import device_of
from whet.hardware.measure import Latency, measure
from whet.hardware.targets import Settings, every_setting, inputs_of, setting_name

KEEP_SETTINGS = 3


@dataclass(frozen=True)
class Timed:
    """A candidate's fastest file `how` and setting, and its latency; `ratio` holds the thread count equal."""

    how: str
    latency: Latency
    settings: Settings


class Timing:
    """Times files against the uncompressed network, each thread count against the same thread count.

    With several threads a small network's speed depends on where the machine's scheduler puts them, which changes
    from minute to minute and doubles latencies; with equal counts the same fate strikes both sides. The ratio of a
    candidate is therefore the geometric mean, over the promising thread counts, of

        latency of the uncompressed network's fastest setting / latency of the candidate's fastest setting.

    `latencies_ms` are those of the uncompressed network `original` by `setting_name`; the promising settings are the
    target's fastest three. `bars` names the settings in which the uncompressed network is a rival, by default all. The
    final race compares each with its best, whatever the count.
    """

    def __init__(
        self, target: Target, net: Net, original: Path, latencies_ms: Mapping[str, float], unfit: dict[str, str],
        bars: Collection[str] | None = None, batch: int = 1,
    ) -> None:  # fmt: skip
        self.target, self.original, self.unfit = target, original, unfit
        self.inputs, self.batch = inputs_of(net, batch), batch
        legal = {setting_name(s): s for s in target.all_settings()}
        ranked = sorted(latencies_ms, key=latencies_ms.__getitem__)
        self.settings = [legal[n] for n in ranked if n in legal][:KEEP_SETTINGS]
        every = {setting_name(s): s for s in every_setting(device_of(target))}
        counts = {s["threads"] for s in self.settings}
        self.bars: dict[int, Settings] = {}
        for name in ranked:
            threads = every[name]["threads"] if name in every else 0
            if threads in counts and (bars is None or name in bars):
                self.bars.setdefault(threads, every[name])

    def __call__(self, files: Mapping[str, Path], seconds: float) -> Timed:
        """Time the variants of a candidate interleaved with the uncompressed network; return the fastest.

        Raises: TargetError if no setting runs any of them.
        """
        return self._fastest(*self._timed(files, seconds))

    def each(self, files: Mapping[str, Path], seconds: float) -> dict[str, list[Timed]]:
        """Time files interleaved with each other and the uncompressed network; return each in each of its settings.

        The ratios of one file's settings compare as their times do. Raises: TargetError if no setting runs any of them.
        """
        found, running = self._timed(files, seconds)
        return {how: self._settings(found, {k: s for k, s in running.items() if k[0] == how}) for how in files}

    def _settings(self, found: Mapping[str, Latency], running: Mapping[tuple[str, str], Settings]) -> list[Timed]:
        if not running:
            return []
        best = self._fastest(found, running)
        shares = {key: found[" ".join(key)].ratio / max(found[" ".join(k)].ratio for k in running) for key in running}
        return [
            Timed(key[0], _scaled(found[" ".join(key)], best.latency.ratio * shares[key]), setting)
            for key, setting in running.items()
        ]

    def _timed(
        self, files: Mapping[str, Path], seconds: float
    ) -> tuple[dict[str, Latency], dict[tuple[str, str], Settings]]:
        """Return all latencies of one race, and the settings of those that ran by file and setting's name."""
        sessions: dict[str, partial[Any]] = {}
        for threads, setting in self.bars.items():
            sessions[f"bar {threads}"] = self._session(self.original, setting)
        base = next(iter(sessions))
        tried = {(how, setting_name(s)): (path, s) for how, path in files.items() for s in self.settings}
        for key, (path, setting) in tried.items():
            try:
                sessions[" ".join(key)] = self._session(path, setting)
            except StudyError:  # the device is gone: nothing can be opened on it
                raise
            except WhetError as error:
                self.unfit[" ".join(key)] = str(error).splitlines()[0]
        found = measure(sessions, base, seconds=seconds)
        running = {key: tried[key][1] for key in tried if " ".join(key) in found}
        if not running:
            names = ", ".join(p.name for p in files.values())
            raise TargetError(f"no setting of {self.target.name} runs {names}: {self.unfit}")
        return found, running

    def _fastest(self, found: Mapping[str, Latency], running: Mapping[tuple[str, str], Settings]) -> Timed:
        ratio = self._level(found, running)
        best = max(running, key=lambda key: found[" ".join(key)].ratio)
        return Timed(best[0], _scaled(found[" ".join(best)], ratio), running[best])

    def _session(self, path: Path, setting: Settings) -> partial[Any]:
        session = partial(self.target.open(Artifact(path, setting), self.batch), *self.inputs)
        session()
        return session

    def _level(self, found: Mapping[str, Latency], running: Mapping[tuple[str, str], Settings]) -> float:
        """Return the geometric mean over thread counts of the ratio to the bar with as many."""
        logs = []
        for threads in self.bars:
            own = [found[" ".join(key)].ratio for key, s in running.items() if s["threads"] == threads]
            if own:
                logs.append(math.log(max(own) / found[f"bar {threads}"].ratio))
        return math.exp(float(np.mean(logs)))


def _scaled(latency: Latency, ratio: float) -> Latency:
    """Return `latency` with another ratio and the same relative spread."""
    factor = ratio / latency.ratio
    protocol = latency.protocol.replace("median of", "geometric mean over thread counts of the median of", 1)
    return replace(
        latency, ratio=ratio, ratio_low=latency.ratio_low * factor, ratio_high=latency.ratio_high * factor,
        protocol=protocol,
    )  # fmt: skip


def cost_signature(net: Net) -> str:
    """Return a digest of all that latency depends on: operations, their order and arguments, and tensor shapes.

    Names and values of weights do not enter, so nets that lost different ones of several alike blocks are equal.
    """
    order = {node: index for index, node in enumerate(net.graph.nodes)}
    text = [repr(_described(net, node, order)) for node in net.graph.nodes]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()


def _described(net: Net, node: fx.Node, order: Mapping[fx.Node, int]) -> Sequence[Any]:
    args = fx.map_arg((node.args, node.kwargs), lambda n: f"%{order[n]}")
    if node.op == "call_module":
        layer = net.layer(str(node.target))
        shapes = [tuple(t.shape) for t in layer.state_dict().values()]
        return "layer", repr(layer), shapes, zeros_of(layer), args
    if node.op == "get_attr":
        value: Any = net.module
        for part in str(node.target).split("."):
            value = getattr(value, part)
        return "constant", tuple(value.shape), str(value.dtype), args
    return node.op, str(node.target) if node.op == "call_function" else "", args
