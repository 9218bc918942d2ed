"""What the CPU runtimes share: bound buffers behind one kind of session, and clear errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.helper import tensor_dtype_to_np_dtype

from whet.core.errors import ArtifactError, TargetError
from whet.core.target import Array
from whet.graph.file_inputs import Dim, FileInput

Results = Sequence[Any]
"""What a runtime's call gives: an array an output, in the file's order."""


class BoundSession:
    """A loaded model: `session(*inputs)`, numpy in and numpy out; one output comes alone, several as a tuple.

    The same steps in every runtime, so that timing a call is fair: copy each input into memory that the
    runtime reads in place, infer, copy the outputs into fresh arrays, which later calls leave alone.
    `infer` runs the model on `bound` and returns its outputs. Not for two threads at once.

    Raises: TargetError if the count or a shape of the inputs is not what the session was opened with, and for what the
    runtime does not compute.
    """

    def __init__(self, bound: Sequence[Array], infer: Callable[[], Results]) -> None:
        self.bound = tuple(bound)
        self.infer = infer

    def __call__(self, *inputs: Array) -> Any:
        if len(inputs) != len(self.bound):
            raise TargetError(f"the session takes {len(self.bound)} inputs; got {len(inputs)}.")
        for into, given in zip(self.bound, inputs):
            # Checked because copyto would repeat a batch of one silently.
            if given.shape != into.shape:
                raise TargetError(f"the session was opened for shape {into.shape}; got {given.shape}.")
            np.copyto(into, given)
        try:
            found = self.infer()
        except Exception as error:  # runtimes raise their own types, which share no base but Exception
            raise TargetError(f"the runtime cannot run the network: {first_line(error)}") from error
        copies = tuple(value.copy() if isinstance(value, np.ndarray) else value for value in found)
        return copies[0] if len(copies) == 1 else copies


SHAPES = "whet.shapes"
"""Where a file that whet wrote says, as JSON, the sizes of the example that its free dimensions were written with."""

NOISE = ("Exception from ", "Check '", "FrontEnd API failed", "Summary:", "Model wasn't fully converted")
"""How the lines begin in which OpenVINO tells where in its own source it stopped, before it says why."""


def first_line(error: BaseException) -> str:
    """Return the first line of a runtime's message that says why (at most two joined)."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(NOISE) and not line.endswith("with a message:")]
    return " ".join((telling or lines or [type(error).__name__])[:2])[:300]


def require(path: Path) -> None:
    """Raise `ArtifactError` unless `path` is a file with something in it."""
    if not path.is_file():
        raise ArtifactError(f"model file '{path}' does not exist.")
    if path.stat().st_size == 0:
        raise ArtifactError(f"model file '{path}' is empty.")


def read_onnx(path: Path) -> Any:
    """Return the parsed ONNX model without its external weights, once they are known to be there in full.

    Raises: ArtifactError if the file or one with its weights is missing, truncated or no ONNX model.
    """
    require(path)
    with refusing(ArtifactError, f"'{path}' is truncated or no ONNX model"):
        model = onnx.load(str(path), load_external_data=False)
    if not model.graph.node and not model.graph.output:
        raise ArtifactError(f"'{path}' is truncated or no ONNX model: it holds no graph.")
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entry = {item.key: item.value for item in tensor.external_data}
        side = path.parent / entry["location"]
        require(side)
        end = int(entry.get("offset", 0)) + int(entry.get("length", 0))
        if side.stat().st_size < end:
            raise ArtifactError(f"'{side}' is truncated: '{tensor.name}' ends at byte {end}.")
    return model


def inputs_of_model(model: Any, what: str) -> list[FileInput]:
    """Return the inputs of a parsed ONNX model; files of old list their weights among them, which are left out.

    Raises: TargetError for an input that is no tensor or has no shape.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    stored |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    found = []
    for value in model.graph.input:
        if value.name in stored:
            continue
        kind = value.type.tensor_type
        if value.type.WhichOneof("value") != "tensor_type":
            reason = "a sequence, an optional or a map; inputs must be tensors"
            raise TargetError(f"{what}: input '{value.name}' is {reason}.")
        if not kind.HasField("shape"):
            raise TargetError(f"{what}: input '{value.name}' has no shape in the file, not even how many dimensions.")
        dtype = np.dtype(tensor_dtype_to_np_dtype(kind.elem_type))
        found.append(FileInput(value.name, dtype, tuple(map(_dim, kind.shape.dim))))
    return found


def _dim(dim: Any) -> Dim:
    if dim.WhichOneof("value") == "dim_value":
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    # A question mark, which some converters write, names nothing: two of them may be different sizes.
    return str(dim.dim_param).strip("?") or None


def recorded_shapes(model: Any) -> dict[str, list[Dim]]:
    """Return the sizes that whet wrote beside the network; nothing for the files of others."""
    note = next((entry.value for entry in model.metadata_props if entry.key == SHAPES), "{}")
    found = json.loads(note)
    return found if isinstance(found, dict) else {}


@contextmanager
def refusing(kind: type[ArtifactError] | type[TargetError], what: str) -> Iterator[None]:
    """Turn whatever a runtime throws into `kind`, saying `what` failed and the runtime's first line."""
    try:
        yield
    except (ArtifactError, TargetError):
        raise
    except Exception as error:  # runtimes raise their own types, which share no base but Exception
        raise kind(f"{what}: {first_line(error)}") from error
