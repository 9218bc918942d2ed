"""What the CPU runtimes share: bound buffers behind one kind of session, and clear errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from whet.core.errors import ArtifactError, TargetError
from whet.core.target import Array


class BoundSession:
    """A loaded model: `session(*inputs) -> output`, numpy in and numpy out.

    The same steps in every runtime, so that timing a call is fair: copy each input into memory that the
    runtime reads in place, infer, copy the output into a fresh array, which later calls leave alone.
    `infer` runs the model on `bound` and returns its output. Not for two threads at once.

    Raises: TargetError if the count or a shape of the inputs is not what the session was opened with.
    """

    def __init__(self, bound: Sequence[Array], infer: Callable[[], Array]) -> None:
        self.bound = tuple(bound)
        self.infer = infer

    def __call__(self, *inputs: Array) -> Array:
        if len(inputs) != len(self.bound):
            raise TargetError(f"the session takes {len(self.bound)} inputs; got {len(inputs)}.")
        for into, given in zip(self.bound, inputs):
            # Checked because copyto would repeat a batch of one silently.
            if given.shape != into.shape:
                raise TargetError(f"the session was opened for shape {into.shape}; got {given.shape}.")
            np.copyto(into, given)
        return self.infer().copy()


def static_shape(shape: Sequence[Any], batch: int, name: str) -> tuple[int, ...]:
    """Return `shape` with `batch` in dimension 0, or raise `TargetError` if another dimension is dynamic.

    >>> static_shape([None, 3, 32, 32], 4, "x")
    (4, 3, 32, 32)
    """
    if len(shape) == 0:
        raise TargetError(f"input '{name}' is a scalar; dimension 0 of each input must be the batch.")
    rest = [dim if isinstance(dim, int) and dim > 0 else None for dim in shape[1:]]
    if None in rest:
        raise TargetError(f"input '{name}' has shape {list(shape)}: only dimension 0 may be dynamic.")
    return (batch, *(dim for dim in rest if dim is not None))


NOISE = ("Exception from ", "Check '", "FrontEnd API failed", "Summary:")
"""How the lines begin in which OpenVINO tells where in its own source it stopped, before it says why."""


def first_line(error: BaseException) -> str:
    """Return the first line of a runtime's message that says why (at most two joined)."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(NOISE)]
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


@contextmanager
def refusing(kind: type[ArtifactError] | type[TargetError], what: str) -> Iterator[None]:
    """Turn whatever a runtime throws into `kind`, saying `what` failed and the runtime's first line."""
    try:
        yield
    except (ArtifactError, TargetError):
        raise
    except Exception as error:  # runtimes raise their own types, which share no base but Exception
        raise kind(f"{what}: {first_line(error)}") from error
