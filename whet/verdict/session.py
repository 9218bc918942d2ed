"""`Session`: a delivered file, opened in its runtime and setting for whatever it is called with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.core.errors import TargetError
from whet.core.target import Artifact, Session, Target
from whet.hardware.openvino import inputs_of_file

MOST_OPEN = 4
"""For how many shapes a file is kept open at a time."""


class FileSession:
    """Calls a file with arrays or tensors, `(batch, ...)` each in the file's order; returns the same kind.

    The file is opened for the shapes of the first call, and again where others come; one output comes alone, several as
    a tuple.

    Raises: TargetError for another number of inputs, and for shapes that the file does not take.
    """

    def __init__(self, artifact: Artifact, target: Target) -> None:
        self.artifact, self.target = artifact, target
        self.names = [port.name for port in inputs_of_file(artifact.path)[0]]
        self._open: dict[tuple[tuple[int, ...], ...], Session] = {}

    def __call__(self, *inputs: Any) -> Any:
        if len(inputs) != len(self.names):
            names = ", ".join(self.names)
            raise TargetError(f"'{self.artifact.path}' takes {len(self.names)} inputs, {names}; got {len(inputs)}.")
        arrays = [np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x) for x in inputs]
        found = self._opened(tuple(array.shape for array in arrays))(*arrays)
        if not any(isinstance(x, Tensor) for x in inputs):
            return found
        given = tuple(torch.from_numpy(a) for a in (found if isinstance(found, tuple) else (found,)))
        return given if isinstance(found, tuple) else given[0]

    def _opened(self, shapes: tuple[tuple[int, ...], ...]) -> Session:
        if shapes not in self._open:
            if len(self._open) == MOST_OPEN:
                del self._open[next(iter(self._open))]
            named = dict(zip(self.names, shapes, strict=True))
            batch = shapes[0][0] if shapes[0] else 1
            self._open[shapes] = self.target.open(self.artifact, batch, named)
        return self._open[shapes]
