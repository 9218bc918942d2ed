"""Files are kept once, by their content, in so much room and no more."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from served import model

from whet.core.errors import ArtifactError
from whet.device.parts import MODEL
from whet.device.protocol import Malformed, Missing
from whet.device.store import Room, Store


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(store: Store, data: bytes) -> str:
    store.put(digest_of(data), io.BytesIO(data), len(data))
    return digest_of(data)


def files_in(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_a_file_is_kept_once_and_is_there_for_the_next_process(tmp_path: Path) -> None:
    store, data = Store(tmp_path), b"some bytes"
    digest = digest_of(data)
    assert store.put(digest, io.BytesIO(data), len(data))
    assert not store.put(digest, io.BytesIO(data), len(data))
    assert store.read(digest) == data and (len(store), store.size_bytes) == (1, len(data))
    (tmp_path / "blobs" / "note.txt").write_text("not ours")
    (tmp_path / "coming" / "half").write_text("left over")
    again = Store(tmp_path)
    assert again.read(digest) == data and len(again) == 1
    assert files_in(tmp_path) == {f"blobs/{digest}", "blobs/note.txt"}


@pytest.mark.parametrize(("sent", "length"), [(b"other bytes", 11), (b"some", 10), (b"", 10)])
def test_other_or_fewer_bytes_are_not_kept(sent: bytes, length: int, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(Malformed, match=r"SHA-256 is|ends \d+ bytes before"):
        store.put(digest_of(b"some bytes"), io.BytesIO(sent), length)
    assert len(store) == 0 and not files_in(tmp_path)
    with pytest.raises(Missing):
        store.read(digest_of(b"some bytes"))


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    store = Store(tmp_path, Room(files=3, bytes=100, each=50))
    first, second, third = (put(store, bytes([i]) * 30) for i in range(3))
    store.read(first)
    fourth = put(store, b"x" * 10)  # a fourth file
    assert store.read(first) and store.read(third) and store.read(fourth)
    with pytest.raises(Missing) as raised:
        store.read(second)
    assert raised.value.hashes == [second]
    fifth = put(store, b"y" * 50)  # more bytes than are left
    assert files_in(tmp_path) == {f"blobs/{digest}" for digest in (third, fourth, fifth)}
    assert (len(store), store.size_bytes) == (3, 90)
    smaller = Store(tmp_path, Room(files=1, bytes=100, each=50))
    assert len(smaller) == 1 and smaller.read(fifth)


def kept(store: Store, path: Path, *others: Path) -> dict[str, str]:
    return {name: put(store, p.read_bytes()) for name, p in zip((MODEL, *(o.name for o in others)), (path, *others))}


def test_a_model_lies_in_a_folder_with_its_weights_under_their_names(tmp_path: Path) -> None:
    path, weights = model(tmp_path / "m.onnx", beside="w.bin"), tmp_path / "w.bin"
    store = Store(tmp_path / "store")
    files = kept(store, path, weights)
    place = store.model(files)
    assert place.name == MODEL and place.read_bytes() == path.read_bytes()
    assert (place.parent / "w.bin").read_bytes() == weights.read_bytes()
    changed = place.stat().st_mtime_ns
    assert store.model(files) == place and place.stat().st_mtime_ns == changed
    assert Store(tmp_path / "store").model(files) == place


def test_a_model_that_reads_files_that_did_not_come_with_it_is_refused(tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx", beside="w.bin")
    store = Store(tmp_path / "store")
    files = kept(store, path)
    with pytest.raises(ArtifactError, match=r"did not come with it: \['w.bin'\]"):
        store.model(files)
    assert not list((tmp_path / "store" / "models").iterdir())
    with pytest.raises(Missing):
        store.model({**files, "w.bin": "0" * 64})


def test_a_model_goes_with_its_files(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", Room(files=2))
    place = store.model(kept(store, model(tmp_path / "m.onnx")))
    put(store, b"a")
    assert place.exists()
    put(store, b"b")
    assert not place.exists() and len(store) == 2
