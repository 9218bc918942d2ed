"""Where a file's time goes: each layer's own time by the runtime's clock, what converts charged to those it serves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whet.core.target import Array
from whet.hardware.cpu import read_onnx
from whet.hardware.elsewhere import Elsewhere
from whet.hardware.measure import alone

PROFILERS = {"openvino": "whet.hardware.openvino_profile:Profiled"}
"""The runtimes that tell how long each of their operations took."""
INFERENCES, WARM = 8, 2
"""How many inferences of a file come together, and how many of them only warm the caches that another one used."""
QUICKEST = 0.25
"""The share of the inferences whose mean is an operation's time: whatever else the machine does only adds to it."""


@dataclass(frozen=True)
class Operation:
    """One thing that a runtime does. `sources` are names of the file's nodes and tensors that it stands for.

    `readers` are the places of the operations that read what it gives.
    """

    name: str
    sources: tuple[str, ...]
    readers: tuple[int, ...]


class Profiler(Protocol):
    """A file that is open, with what the runtime made of it."""

    operations: Sequence[Operation]

    def infer(self) -> Mapping[str, float]:
        """Run it once and return the milliseconds that each operation took, by name."""
        ...


def layer_times(
    files: Mapping[str, Path], settings: Mapping[str, Any], layers: Collection[str], inputs: Sequence[Array],
    rounds: int = 10, batch: int = 1, machine: Elsewhere | None = None,
) -> dict[str, dict[str, float]] | None:  # fmt: skip
    """Return the milliseconds of each layer in each file; None where the runtime does not tell them.

    Files take turns, so that drift strikes all alike. What an operation that is no layer takes (conversions, sums) is
    shared by the layers that read it, next to it or through others of that kind, or by those in front where none does.
    A layer that the file does not have takes no time. `inputs` are arrays `(batch, ...)` in the file's layout.
    They are taken on `machine`, where that is given.
    """
    if settings["runtime"] not in PROFILERS:
        return None
    if machine is not None:
        return machine.layer_times(files, settings, list(layers), inputs, rounds, batch)
    module, _, name = PROFILERS[settings["runtime"]].partition(":")
    opened = {key: getattr(import_module(module), name)(path, settings, inputs, batch) for key, path in files.items()}
    times: dict[str, list[Mapping[str, float]]] = {key: [] for key in files}
    with alone():
        for _ in range(rounds):
            for key, profiler in opened.items():
                times[key] += [profiler.infer() for _ in range(INFERENCES)][WARM:]
    return {
        key: charged(profiler.operations, quickest(times[key]), nodes_of_layers(files[key], layers), layers)
        for key, profiler in opened.items()
    }


def quickest(times: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each operation's quickest inferences.

    >>> quickest([{"a": 1.0}, {"a": 9.0}, {"a": 8.0}, {"a": 2.0}])
    {'a': 1.0}
    """
    found: dict[str, float] = {}
    for name in times[0]:
        taken: NDArray[np.float64] = np.sort([each[name] for each in times])
        found[name] = float(taken[: max(1, int(QUICKEST * len(taken)))].mean())
    return found


def charged(
    operations: Sequence[Operation], times: Mapping[str, float], nodes: Mapping[str, str], layers: Collection[str]
) -> dict[str, float]:
    """Return each layer's time: its own operations', and its share of those that are no layer's."""
    own = [next(iter(layers_of(operation.sources, nodes)), None) for operation in operations]
    writers: list[list[int]] = [[] for _ in operations]
    for i, operation in enumerate(operations):
        for reader in operation.readers:
            writers[reader].append(i)
    found = dict.fromkeys(layers, 0.0)
    for i, operation in enumerate(operations):
        taken, site = times.get(operation.name, 0.0), own[i]
        served = [site] if site is not None else _nearest(i, own, [o.readers for o in operations])
        served = served or _nearest(i, own, writers)
        for layer in served:
            found[layer] += taken / len(served)
    return found


def _nearest(start: int, own: Sequence[str | None], edges: Sequence[Sequence[int]]) -> list[str]:
    """Return the layers that are reached first along edges, through operations that are no layer's."""
    found: dict[str, None] = {}
    seen, waiting = {start}, [start]
    while waiting:
        for i in edges[waiting.pop()]:
            site = own[i]
            if site is not None:
                found[site] = None
            elif i not in seen:
                seen.add(i)
                waiting.append(i)
    return list(found)


def layers_of(sources: Sequence[str], nodes: Mapping[str, str]) -> list[str]:
    """Return the layers that names of a runtime's sources stand for, in order: those of the longest known beginning.

    >>> layers_of(["conv/WithoutBiases", "relu", "fc"], {"conv": "a", "fc": "b"})
    ['a', 'b']
    """
    found: dict[str, None] = {}
    for source in sources:
        while source and source not in nodes:
            source = source.rpartition("/")[0]
        if source:
            found[nodes[source]] = None
    return list(found)


def nodes_of_layers(path: Path, layers: Collection[str]) -> dict[str, str]:
    """Return which layer an ONNX file's nodes are, by their names and those of what they give.

    A node is the layer whose weight it reads, as it is stored or computed from constants: `LAYER.weight.int8`. So is
    the sum of a layer's product and a constant, its bias.
    """
    graph = read_onnx(path).graph
    constants: dict[str, str | None] = {t.name: _owner(t.name, layers) for t in graph.initializer}
    found: dict[str, str] = {}
    for node in graph.node:
        given = [name for name in node.input if name]
        sites = [site for name in given if (site := constants.get(name)) is not None]
        if all(name in constants for name in given):
            constants |= dict.fromkeys(node.output, sites[0] if sites else None)
            continue
        added = [found[name] for name in given if name in found] if node.op_type == "Add" else []
        if len(added) == 1 and any(name in constants for name in given):
            sites = sites or added
        if sites:
            found |= dict.fromkeys((n for n in (node.name, *node.output) if n), sites[0])
    return found


def _owner(name: str, layers: Collection[str]) -> str | None:
    """Return the layer that a tensor is of: the longest beginning of its name that is one."""
    while name and name not in layers:
        name = name.rpartition(".")[0]
    return name or None
