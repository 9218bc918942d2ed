"""What goes over the line: orders as JSON, arrays as `.npz`; everything is checked before anything is done with it."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib import format as npy

from whet.core.errors import WhetError
from whet.core.target import Array
from whet.device.parts import MODEL, NAME

VERSION = 1
"""Of what is said over the line; another one is refused."""
HASH = re.compile(r"[0-9a-f]{64}")
RUNTIMES, PRECISIONS = ("openvino", "onnxruntime"), ("f32", "bf16")
"""What a device opens files in. Inductor is not among them: what it saves is code."""
MOST_PARTS, MOST_INPUTS, MOST_CALLS, MOST_LAYERS = 64, 64, 1024, 100_000
MOST_ELEMENTS = 1 << 28
"""How many numbers the inputs of a call may be."""
MOST_BATCH = 1 << 16
MOST_HEADER = 4096


class Malformed(WhetError):
    """A request that cannot be read, or asks for what is not allowed."""


class Missing(WhetError):
    """Files that a device does not have, or no longer, by their SHA-256."""

    def __init__(self, hashes: Sequence[str]) -> None:
        super().__init__(f"{len(hashes)} files are not there: PUT /v1/files/SHA256 first.")
        self.hashes = list(hashes)


@dataclass(frozen=True)
class Order:
    """A model's files by name and SHA-256, and how it is to be opened."""

    files: Mapping[str, str]
    settings: Mapping[str, Any]
    batch: int = 1
    shapes: Mapping[str, Sequence[int]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        shapes = None if self.shapes is None else {name: list(map(int, sizes)) for name, sizes in self.shapes.items()}
        return {"files": dict(self.files), "settings": dict(self.settings), "batch": self.batch, "shapes": shapes}

    @cached_property
    def key(self) -> str:
        """What two orders have in common that are the same."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    @classmethod
    def read(cls, data: Any, cores: int) -> Order:
        """Return the order that JSON data are; `cores` is how many threads there may be.

        Raises: Malformed.
        """
        given = Fields(data, "the order")
        settings, shapes = given.fields("settings"), given.optional("shapes")
        chosen = {
            "runtime": settings.one_of("runtime", RUNTIMES), "precision": settings.one_of("precision", PRECISIONS),
            "threads": settings.whole("threads", 1, cores),
        }  # fmt: skip
        sizes = None if shapes is None else read_sizes(shapes, "shapes")
        return cls(read_files(given.get("files"), "files"), chosen, given.whole("batch", 1, MOST_BATCH), sizes)


@dataclass(frozen=True)
class Fields:
    """A JSON object whose values are taken out by name and kind."""

    data: Any
    what: str = "the body"
    own: Mapping[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.data, dict):
            raise Malformed(f"{self.what} must be a JSON object; got {_brief(self.data)}.")
        object.__setattr__(self, "own", self.data)

    def get(self, name: str) -> Any:
        """Return a value that must be there."""
        if name not in self.own:
            raise Malformed(f"{self.what} lacks '{name}'.")
        return self.own[name]

    def optional(self, name: str) -> Any:
        """Return a value, or None."""
        return self.own.get(name)

    def fields(self, name: str) -> Fields:
        """Return a value that is an object."""
        return Fields(self.get(name), f"'{name}'")

    def named(self, name: str, most: int) -> dict[str, Any]:
        """Return an object of at most so many entries, at least one."""
        found = dict(self.fields(name).own)
        if not 1 <= len(found) <= most:
            raise Malformed(f"'{name}' must have from 1 to {most} entries; got {len(found)}.")
        return found

    def text(self, name: str, most: int = 200) -> str:
        """Return a value that is a text of at most so many characters."""
        found = self.get(name)
        if not isinstance(found, str) or len(found) > most:
            raise Malformed(f"'{name}' must be a text of at most {most} characters; got {_brief(found)}.")
        return found

    def texts(self, name: str, most: int) -> list[str]:
        """Return a list of at most so many texts."""
        found = self.get(name)
        if not isinstance(found, list) or len(found) > most or not all(isinstance(each, str) for each in found):
            raise Malformed(f"'{name}' must be a list of at most {most} texts; got {_brief(found)}.")
        return found

    def one_of(self, name: str, allowed: Sequence[str]) -> str:
        """Return a value that is one of those allowed."""
        found = self.get(name)
        if found not in allowed:
            raise Malformed(f"'{name}' must be one of {', '.join(allowed)}; got {_brief(found)}.")
        return str(found)

    def whole(self, name: str, least: int, most: int) -> int:
        """Return a whole number in a range."""
        found = self.get(name)
        if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
            raise Malformed(f"'{name}' must be a whole number from {least} to {most}; got {_brief(found)}.")
        return found

    def number(self, name: str, most: float) -> float:
        """Return a number above 0 and at most `most`."""
        found = self.get(name)
        real = isinstance(found, int | float) and not isinstance(found, bool)
        if not real or not math.isfinite(found) or not 0 < found <= most:
            raise Malformed(f"'{name}' must be a number above 0 and at most {most:g}; got {_brief(found)}.")
        return float(found)

    def hash(self, name: str) -> str:
        """Return a SHA-256 in hexadecimal digits."""
        return read_hash(self.get(name), f"'{name}'")


def _brief(value: Any) -> str:
    return f"{value!r:.60}"


def read_hash(value: Any, what: str) -> str:
    """Return a SHA-256 in hexadecimal digits; raise Malformed for anything else."""
    if not isinstance(value, str) or not HASH.fullmatch(value):
        raise Malformed(f"{what} must be a SHA-256, 64 digits from 0 to f; got {_brief(value)}.")
    return value


def read_files(data: Any, what: str) -> dict[str, str]:
    """Return a model's files by name and SHA-256; raise Malformed for other names, or where there is no model."""
    found = Fields(data, f"'{what}'").own
    if MODEL not in found or len(found) > MOST_PARTS:
        raise Malformed(f"'{what}' must have '{MODEL}' and at most {MOST_PARTS - 1} files beside it.")
    for name in found:
        if not NAME.fullmatch(name):
            raise Malformed(f"'{what}': {_brief(name)} is no name of a file.")
    return {name: read_hash(value, f"'{what}': '{name}'") for name, value in found.items()}


def read_sizes(data: Any, what: str) -> dict[str, list[int]]:
    """Return sizes by the input's name; raise Malformed for what is none, or too large."""
    found = Fields(data, f"'{what}'").own
    if len(found) > MOST_INPUTS:
        raise Malformed(f"'{what}' must have at most {MOST_INPUTS} inputs; got {len(found)}.")
    for name, sizes in found.items():
        whole = isinstance(sizes, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in sizes)
        if not whole or len(sizes) > 32 or any(n < 0 for n in sizes) or math.prod(sizes) > MOST_ELEMENTS:
            raise Malformed(
                f"'{what}': sizes of '{name:.40}' must be whole numbers of a product up to {MOST_ELEMENTS}; "
                f"got {_brief(sizes)}."
            )
    return dict(found)


def read_json(body: bytes) -> Any:
    """Return the JSON that a body is; raise Malformed for what is none.

    >>> read_json(b'{"a": 1}')
    {'a': 1}
    """
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is no JSON: {str(error)[:120]}.") from None


def packed(arrays: Sequence[Array]) -> bytes:
    """Return arrays of any shapes, in their order, as the bytes of a `.npz` file.

    >>> [a.tolist() for a in unpacked(packed([np.zeros(2), np.arange(3)]))]
    [[0.0, 0.0], [0, 1, 2]]

    Raises: Malformed for arrays of Python objects.
    """
    if any(array.dtype.hasobject for array in arrays):
        raise Malformed("arrays of Python objects do not go over the line.")
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as file:
        for index, array in enumerate(arrays):
            # Written by hand, as `savez` puts the time into the file and equal inputs are to be equal bytes.
            part = io.BytesIO()
            npy.write_array(part, np.asarray(array, order="C"), allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{index}.npy"), part.getvalue())
    return into.getvalue()


def unpacked(data: bytes) -> list[Array]:
    """Return the arrays of `packed`, of any shapes; nothing is unpickled, and none takes more memory than `data`.

    Raises: Malformed for what `packed` does not write.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            entries = file.infolist()
            wanted = [f"{i}.npy" for i in range(len(entries))]
            stored = all(e.compress_type == zipfile.ZIP_STORED and e.file_size <= len(data) for e in entries)
            if [entry.filename for entry in entries] != wanted or not stored or len(entries) > MOST_INPUTS:
                raise Malformed(f"inputs must be at most {MOST_INPUTS} arrays, 0.npy, 1.npy, ..., not compressed.")
            return [_array(file.read(entry)) for entry in entries]
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError, RuntimeError, KeyError) as error:
        raise Malformed(f"the arrays cannot be read: {str(error)[:120]}.") from None


def _array(data: bytes) -> Array:
    stream = io.BytesIO(data)
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise Malformed(f"arrays must be of version 1 or 2 of the format; got {version}.")
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = header(stream, max_header_size=MOST_HEADER)
    if dtype.hasobject or dtype.itemsize == 0 or dtype.names is not None or fortran:
        raise Malformed(f"arrays must be of numbers or texts, in C order; got {dtype}.")
    rest = data[stream.tell() :]
    if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(rest):
        raise Malformed(f"an array of {shape} {dtype} must take {math.prod(shape) * dtype.itemsize} bytes.")
    return np.frombuffer(rest, dtype).reshape(shape)
