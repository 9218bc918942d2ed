"""What OpenVINO made of a file and how long each of its operations takes, by its own counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whet.core.target import Array
from whet.hardware.openvino import OpenVINO
from whet.hardware.profile import Operation


class Profiled:
    """A file compiled as `OpenVINO.open` does, with performance counters on; `inputs` are what it is run on."""

    def __init__(self, path: Path, settings: Mapping[str, Any], inputs: Sequence[Array], batch: int) -> None:
        self.request, bound = OpenVINO().request(path, settings, batch, PERF_COUNT=True)
        for buffer, given in zip(bound, inputs, strict=True):
            np.copyto(buffer, given)
        made = list(self.request.get_compiled_model().get_runtime_model().get_ordered_ops())
        places = {op.get_friendly_name(): i for i, op in enumerate(made)}
        readers: list[list[int]] = [[] for _ in made]
        for i, op in enumerate(made):
            for value in op.input_values():
                readers[places[value.get_node().get_friendly_name()]].append(i)
        self.operations = [
            Operation(op.get_friendly_name(), sources_of(op), tuple(reading))
            for op, reading in zip(made, readers, strict=True)
        ]

    def infer(self) -> dict[str, float]:
        """Run it once and return the milliseconds that each operation took, by name."""
        self.request.infer()
        return {info.node_name: info.real_time.total_seconds() * 1e3 for info in self.request.profiling_info}


def sources_of(op: Any) -> tuple[str, ...]:
    """Return the names of the file's nodes that an operation stands for, its own name the last."""
    return (*(name for name in note_of(op, "originalLayersNames").split(",") if name), op.get_friendly_name())


def note_of(op: Any, key: str) -> str:
    """Return what OpenVINO notes of an operation that it made, `layerType` or `primitiveType`; empty without one."""
    notes = op.get_rt_info()
    return str(notes[key].astype(str)) if key in notes else ""
