"""The files that a device keeps, by their SHA-256: each is sent once, and what was used longest ago makes room."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from whet.core.errors import ArtifactError
from whet.device.parts import CHUNK, MODEL, beside
from whet.device.protocol import HASH, Malformed, Missing


class Readable(Protocol):
    """What a file's bytes are read from."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Room:
    """How many files are kept at most, how many bytes they may take together, and one of them alone."""

    files: int = 1000
    bytes: int = 2 * 10**9
    each: int = 500 * 10**6


class Store:
    """A bounded folder of files that go by their content.

    `blobs/SHA256` are the files, `models/KEY/` folders in which those of a model lie side by side under their names,
    as hard links. Folders of models are made anew by each process; files stay. Not for two processes at once.
    """

    def __init__(self, folder: Path, room: Room | None = None) -> None:
        self.folder, self.room = folder, room or Room()
        self._lock = threading.RLock()
        self._models: dict[str, tuple[str, ...]] = {}
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("models", "coming"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in ("blobs", "models", "coming"):
            (folder / name).mkdir(exist_ok=True)
        kept = [p for p in (folder / "blobs").iterdir() if HASH.fullmatch(p.name) and p.is_file()]
        kept.sort(key=lambda path: path.stat().st_atime_ns)
        self._sizes = OrderedDict((path.name, path.stat().st_size) for path in kept)
        self._make_room(0, 0)

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def size_bytes(self) -> int:
        """What the files take."""
        with self._lock:
            return sum(self._sizes.values())

    def without_folders(self, text: str) -> str:
        """Return a text in which models are called by their names, without the folders that they lie in here."""
        for folder in (self.folder, self.folder.resolve()):
            text = re.sub(re.escape(str(folder / "models")) + "/[0-9a-f]{64}/", "", text)
        return text

    def put(self, digest: str, source: Readable, length: int) -> bool:
        """Keep `length` bytes of `source` under their SHA-256; say whether they are new.

        Raises: Malformed where there are fewer bytes, or where they have another SHA-256; nothing is kept then.
        """
        handle, name = tempfile.mkstemp(dir=self.folder / "coming")
        coming = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                found = _copied(source, file, length)
            if found != digest:
                raise Malformed(f"the body's SHA-256 is {found}, not {digest}.")
            with self._lock:
                new = digest not in self._sizes
                if new:
                    self._make_room(1, length)
                    os.replace(coming, self.folder / "blobs" / digest)
                    self._sizes[digest] = length
                self._used(digest)
            return new
        finally:
            coming.unlink(missing_ok=True)

    def read(self, digest: str) -> bytes:
        """Return the bytes of a file. Raises: Missing."""
        with self._lock:
            self._require([digest])
            self._used(digest)
            return (self.folder / "blobs" / digest).read_bytes()

    def model(self, files: Mapping[str, str]) -> Path:
        """Return the ONNX file of a model, in a folder where all its files, given by name and SHA-256, lie beside it.

        Raises: Missing for files that are not kept, ArtifactError for a model that reads others than these.
        """
        key = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        place = self.folder / "models" / key
        with self._lock:
            self._require(list(files.values()))
            for digest in files.values():
                self._used(digest)
            if key not in self._models:
                self._place(files, place)
                self._models[key] = tuple(files.values())
        return place / MODEL

    def _place(self, files: Mapping[str, str], place: Path) -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        try:
            for name, digest in files.items():
                os.link(self.folder / "blobs" / digest, place / name)
            others = sorted(set(beside(place / MODEL)) - files.keys())
            if others:
                raise ArtifactError(f"the model reads weights from files that did not come with it: {others[:5]}.")
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise

    def _require(self, digests: list[str]) -> None:
        missing = [digest for digest in dict.fromkeys(digests) if digest not in self._sizes]
        if missing:
            raise Missing(missing)

    def _used(self, digest: str) -> None:
        self._sizes.move_to_end(digest)
        path = self.folder / "blobs" / digest
        with suppress(OSError):
            # When it was changed stays: by that a guarded target knows a file again.
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))

    def _make_room(self, files: int, size: int) -> None:
        """Remove what was used longest ago until so many more files of so many bytes fit."""
        while self._sizes and (
            len(self._sizes) + files > self.room.files or sum(self._sizes.values()) + size > self.room.bytes
        ):
            digest, _ = self._sizes.popitem(last=False)
            for key in [key for key, digests in self._models.items() if digest in digests]:
                shutil.rmtree(self.folder / "models" / key, ignore_errors=True)
                del self._models[key]
            (self.folder / "blobs" / digest).unlink(missing_ok=True)


def _copied(source: Readable, into: object, length: int) -> str:
    """Copy `length` bytes and return their SHA-256."""
    found, left = hashlib.sha256(), length
    while left:
        chunk = source.read(min(left, CHUNK))
        if not chunk:
            raise Malformed(f"the body ends {left} bytes before its Content-Length.")
        found.update(chunk)
        into.write(chunk)  # type: ignore[attr-defined]
        left -= len(chunk)
    return found.hexdigest()
