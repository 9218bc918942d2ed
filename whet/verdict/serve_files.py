"""What lies beside a delivered file so that it can be served: `serve.py`, `settings.json`, `sample.npz`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whet.core.errors import ArtifactError
from whet.core.target import Array, Artifact
from whet.graph.file_inputs import named_sizes
from whet.hardware.openvino import compile_options, inputs_of_file
from whet.support.files import write_text
from whet.verdict.located import SETTINGS

SERVE, SAMPLE = "serve.py", "sample.npz"
Call = tuple[Mapping[str, Array], Sequence[Array]]
"""Inputs of one call by name, in the file's order, and the outputs that it gave."""

HEAD = '''"""Serves {file} with {title} as settings.json says: `from serve import serve`."""

import json
from pathlib import Path

import numpy as np
import {module}

here = Path(__file__).resolve().parent
settings = json.loads((here / "settings.json").read_text(encoding="utf-8"))
'''
OPENVINO = '''model = ov.Core().read_model(here / settings["file"])
names = {name for port in model.inputs for name in port.get_names()}  # an input that nothing reads may be gone
model.reshape({port["name"]: port["shape"] for port in settings["inputs"] if port["name"] in names})
request = ov.compile_model(model, "CPU", settings["options"]).create_infer_request()


def serve(*inputs):
    """Return the outputs, a list of arrays, for arrays of the order and shapes of settings["inputs"]."""
    given = zip(settings["inputs"], inputs, strict=True)
    feeds = {port["name"]: np.asarray(x, port["dtype"]) for port, x in given if port["name"] in names}
    return list(request.infer(feeds).values())
'''
ONNXRUNTIME = '''options = ort.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = settings["threads"], 1
for name, size in settings["options"]["free_dimensions"].items():
    options.add_free_dimension_override_by_name(name, size)
session = ort.InferenceSession(str(here / settings["file"]), options, providers=["CPUExecutionProvider"])


def serve(*inputs):
    """Return the outputs, a list of arrays, for arrays of the order and shapes of settings["inputs"]."""
    given = zip(settings["inputs"], inputs, strict=True)
    return session.run(None, {port["name"]: np.asarray(x, port["dtype"]) for port, x in given})
'''
PROGRAMMES = {
    "openvino": ("OpenVINO", "openvino as ov", OPENVINO),
    "onnxruntime": ("ONNX Runtime", "onnxruntime as ort", ONNXRUNTIME),
}
"""For each runtime its title, how it is imported, and what follows that."""


def write_serving(folder: Path, artifact: Artifact, inputs: Mapping[str, Array], batch: int) -> None:
    """Write `serve.py` and `settings.json` for a file in `folder` that was measured with `inputs`, `(batch, ...)` each.

    `serve.py` imports NumPy and the runtime and nothing else; shapes are as measured.

    Raises: ArtifactError for a runtime that serves no file of its own.
    """
    runtime = artifact.settings["runtime"]
    if runtime not in PROGRAMMES:
        raise ArtifactError(f"there is no serve.py for runtime '{runtime}'.")
    title, module, body = PROGRAMMES[runtime]
    shapes = {name: array.shape for name, array in inputs.items()}
    if runtime == "openvino":
        options = compile_options(artifact.path, artifact.settings)
    else:
        options = {"free_dimensions": named_sizes(inputs_of_file(artifact.path)[0], shapes)}
    ports = [{"name": n, "shape": list(a.shape), "dtype": a.dtype.name} for n, a in inputs.items()]
    own = {key: artifact.settings[key] for key in ("runtime", "precision", "threads")}
    settings = {**own, "batch": batch, "file": artifact.path.name, "options": options, "inputs": ports}
    write_text(folder / SETTINGS, json.dumps(settings, indent=1) + "\n")
    write_text(folder / SERVE, HEAD.format(file=artifact.path.name, title=title, module=module) + body)


def write_sample(folder: Path, calls: Sequence[Call]) -> None:
    """Write a few calls: `0.input.NAME` and `0.output.0` hold what the first took and gave, `(batch, ...)` each."""
    arrays: dict[str, Any] = {}
    for number, (inputs, outputs) in enumerate(calls):
        arrays |= {f"{number}.input.{name}": array for name, array in inputs.items()}
        arrays |= {f"{number}.output.{i}": array for i, array in enumerate(outputs)}
    np.savez_compressed(folder / SAMPLE, **arrays)


def read_sample(folder: Path) -> list[Call]:
    """Return the calls of a sample, arrays `(batch, ...)`.

    Raises: ArtifactError where it is missing, damaged or empty.
    """
    path = folder / SAMPLE
    if not path.is_file():
        raise ArtifactError(f"'{path}' does not exist: there are no outputs to compare with.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except Exception as error:  # numpy and zipfile raise what they like
        raise ArtifactError(f"'{path}' is damaged: {error}") from error
    calls: dict[int, tuple[dict[str, Array], list[Array]]] = {}
    for key, array in arrays.items():
        number, side, name = key.split(".", 2)
        inputs, outputs = calls.setdefault(int(number), ({}, []))
        if side == "input":
            inputs[name] = array
        else:
            outputs.append(array)
    if not calls:
        raise ArtifactError(f"'{path}' holds no call.")
    return [calls[number] for number in sorted(calls)]
