"""`Target`: a runtime on a device. `Artifact`: a deployable file with the settings it is served under."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whet.core.net import Net
from whet.core.space import Decision, Space

Array = NDArray[np.generic]
Session = Callable[..., Any]
"""A loaded artifact, for the sizes it was opened with: `session(*inputs)`, arrays in the file's order and layout.
It returns the file's output as an array, several as a tuple of arrays in the file's order."""


@dataclass(frozen=True)
class Artifact:
    """A model file and the runtime settings it is served under.

    `settings` holds `runtime` (`openvino`, `onnxruntime`, `inductor`), `precision` (`f32`, `bf16`), `threads`.
    """

    path: Path
    settings: dict[str, Any]

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of the model file with its side files (same stem)."""
        return sum(p.stat().st_size for p in self.path.parent.iterdir() if p.name.startswith(self.path.stem))


class Target(Protocol):
    """A runtime on a device, or a choice among several.

    `space` holds its own knobs as choices named `runtime:KIND` (`runtime:name`, `runtime:precision`,
    `runtime:threads`); `settings` turns a decision into an artifact's settings. `alignment` is the number of
    channels that layers should be a multiple of. `save` writes the model file (slow: seconds), `open` loads it
    for a static batch (fast: tenths of a second); `shapes` gives sizes by the input's name, in the file's layout, where
    they are to be others than those of the example that the file was written with. `kernels` names the integers that
    weights may be stored as (`int8`, `int4`, `dynamic int8`): what all of its runtimes load. `weight_bits` is how many
    bits weights may have at most for products with eight-bit inputs to be summed exactly: 8, or 7.
    """

    @property
    def name(self) -> str: ...

    @property
    def alignment(self) -> int: ...

    @property
    def weight_bits(self) -> int: ...

    def kernels(self) -> tuple[str, ...]: ...

    def space(self) -> Space: ...

    def settings(self, decision: Decision) -> dict[str, Any]: ...

    def all_settings(self) -> list[dict[str, Any]]: ...

    def save(self, net: Net, folder: Path) -> Path: ...

    def open(self, artifact: Artifact, batch: int, shapes: Mapping[str, Sequence[int]] | None = None) -> Session: ...
