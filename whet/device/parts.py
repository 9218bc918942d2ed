"""The files that one model is: the ONNX file, and those beside it that hold its weights."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx

from whet.core.errors import ArtifactError
from whet.hardware.cpu import refusing, require

MODEL = "model.onnx"
"""What the ONNX file is called on a device."""
NAME = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]{1,200}")
"""Names of files: no folders, nothing hidden, nothing unprintable."""
CHUNK = 1 << 20


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def parts_of(path: Path) -> dict[str, Path]:
    """Return the files of an ONNX model by the names that they have on a device.

    Raises: ArtifactError for what is no ONNX file, and for weights that lie in another folder.
    """
    if path.suffix != ".onnx":
        raise ArtifactError(f"'{path}': a device takes ONNX files alone.")
    require(path)
    parts = {MODEL: path}
    for name in beside(path):
        parts[name] = path.parent / name
        require(parts[name])
    return parts


def beside(path: Path) -> list[str]:
    """Return the names of the files that an ONNX file has its weights in.

    Raises: ArtifactError for one that is no ONNX file or reads a file of another folder.
    """
    with refusing(ArtifactError, f"'{path}' is truncated or no ONNX model"):
        model = onnx.load(str(path), load_external_data=False)
        names = {name for tensor in _tensors_of_model(model) if (name := _place(tensor)) is not None}
    for name in names:
        if not NAME.fullmatch(name) or name == MODEL:
            raise ArtifactError(f"'{path}' reads weights from {name!r:.80}: they must lie beside it.")
    return sorted(names)


def _place(tensor: Any) -> str | None:
    entries: Mapping[str, str] = {item.key: item.value for item in tensor.external_data}
    if tensor.data_location != onnx.TensorProto.EXTERNAL and not entries:
        return None
    return entries.get("location", "")


def _tensors_of_model(model: Any) -> Iterator[Any]:
    yield from _tensors(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function.node)
    for training in model.training_info:
        yield from _tensors(training.initialization)
        yield from _tensors(training.algorithm)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _tensors(graph)
