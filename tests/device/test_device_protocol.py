"""Orders and arrays: what is written is read again as it was, and nothing else is read at all."""

from __future__ import annotations

import copy
import io
import pickle
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.core.target import Array
from whet.device.parts import MODEL
from whet.device.protocol import MOST_ELEMENTS, Fields, Malformed, Order, packed, read_json, unpacked

HASH = "0123456789abcdef" * 4
ORDER = {
    "files": {MODEL: HASH, "model.data": HASH},
    "settings": {"runtime": "onnxruntime", "precision": "f32", "threads": 2},
    "batch": 3,
    "shapes": {"x": [3, 8], "rate": []},
}


def test_an_order_is_read_as_it_was_written() -> None:
    order = Order.read(ORDER, cores=2)
    assert order.to_dict() == ORDER and Order.read(order.to_dict(), 2) == order
    assert Order.read({**ORDER, "shapes": None}, 2).shapes is None
    other = Order.read({**ORDER, "batch": 4}, 2)
    assert order.key == Order.read(copy.deepcopy(ORDER), 2).key != other.key


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("files",), {}), (("files",), {"model.data": HASH}), (("files", MODEL), HASH[1:]), (("files", MODEL), 7),
        (("files", MODEL), HASH.upper()), (("files", "../x"), HASH), (("files", "/etc/passwd"), HASH),
        (("files", ".x"), HASH), (("files", "a/b"), HASH), (("files", ""), HASH), (("files", MODEL), "../" + HASH[3:]),
        (("settings",), []), (("settings", "runtime"), "inductor"), (("settings", "precision"), "int4"),
        (("settings", "runtime"), ["openvino"]), (("settings", "threads"), 3), (("settings", "threads"), 0),
        (("settings", "threads"), True), (("settings", "threads"), 1.0), (("batch",), 0), (("batch",), "1"),
        (("batch",), 1 << 20), (("shapes",), []), (("shapes", "x"), [-1]), (("shapes", "x"), [1.5]),
        (("shapes", "x"), 8),
        (("shapes", "x"), [MOST_ELEMENTS, 2]), (("shapes", "x"), [True]), (("shapes", "x"), [1] * 33),
    ],
)  # fmt: skip
def test_orders_of_other_kinds_values_or_names_are_refused(place: tuple[str, ...], value: Any) -> None:
    data = copy.deepcopy(ORDER)
    inner: Any = data
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    with pytest.raises(Malformed):
        Order.read(data, cores=2)


def test_fields_say_what_is_missing_and_what_was_given() -> None:
    fields = Fields({"n": 3, "t": "x", "l": ["a"], "d": {}}, "the order")
    assert (fields.whole("n", 1, 3), fields.number("n", 3), fields.text("t"), fields.texts("l", 1)) == (
        3,
        3.0,
        "x",
        ["a"],
    )
    for wrong, said in (
        (lambda: fields.get("m"), "the order lacks 'm'"),
        (lambda: fields.whole("n", 4, 9), "from 4 to 9; got 3"),
        (lambda: fields.number("n", 2), "at most 2; got 3"),
        (lambda: fields.number("t", 2), "got 'x'"),
        (lambda: Fields({"n": float("nan")}).number("n", 2), "got nan"),
        (lambda: Fields({"n": 0}).number("n", 2), "above 0"),
        (lambda: fields.text("n"), "must be a text"),
        (lambda: fields.texts("l", 0), "at most 0 texts"),
        (lambda: fields.named("d", 5), "from 1 to 5 entries; got 0"),
        (lambda: fields.one_of("t", ("y", "z")), "one of y, z; got 'x'"),
        (lambda: fields.fields("n"), "'n' must be a JSON object"),
        (lambda: Fields([1]), r"must be a JSON object; got \[1\]"),
    ):
        with pytest.raises(Malformed, match=said):
            wrong()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": 1} x'])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed, match="no JSON"):
        read_json(body)


ARRAYS = st.builds(
    lambda kind, sizes, seed: np.random.default_rng(seed).integers(0, 2, sizes).astype(kind),
    st.sampled_from(["f4", "f8", "f2", "i8", "u1", "?", ">i4", "c8"]),
    st.lists(st.integers(0, 4), max_size=4),
    st.integers(0, 9),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ARRAYS, max_size=4))
def test_arrays_come_back_as_they_were_and_equal_ones_are_equal_bytes(arrays: list[Array]) -> None:
    data = packed(arrays)
    found = unpacked(data)
    assert packed([array.copy() for array in arrays]) == data
    assert [(a.dtype, a.shape, a.tobytes()) for a in found] == [(a.dtype, a.shape, a.tobytes()) for a in arrays]


def zipped(*parts: tuple[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", how) as file:
        for name, data in parts:
            file.writestr(name, data)
    return into.getvalue()


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header.encode() + data


class Bomb:
    """What runs a command where it is unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("it was unpickled",)


def pickled() -> bytes:
    into = io.BytesIO()
    np.save(into, np.array([Bomb()], dtype=object), allow_pickle=True)
    return into.getvalue()


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }\n"
GOOD = zipped(("0.npy", npy(HEADER % "2,", b"\0" * 8)))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"PK", pickle.dumps(Bomb()), GOOD[:-4], GOOD[30:], zipped(("0.npy", pickled())),
        zipped(("0.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", pickle.dumps([Bomb()])))),
        zipped(("0.npy", npy(HEADER % "2,", b"\0" * 7))), zipped(("0.npy", npy(HEADER % "99999999999,"))),
        zipped(("0.npy", npy(HEADER % "-2,", b"\0" * 8))), zipped(("0.npy", npy("__import__('os')\n"))),
        zipped(("0.npy", npy(HEADER % "2,", b"\0" * 8, b"\x09\x00"))), zipped(("0.npy", b"nothing")),
        zipped(("0.npy", npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }\n", b"\0" * 8))),
        zipped(("../0.npy", npy(HEADER % "2,", b"\0" * 8))), zipped(("1.npy", npy(HEADER % "2,", b"\0" * 8))),
        zipped(("0.npy", npy(HEADER % "1000,", b"\0" * 4000)), how=zipfile.ZIP_DEFLATED),
        zipped(*((f"{i}.npy", npy(HEADER % "2,", b"\0" * 8)) for i in range(65))),
    ],
)  # fmt: skip
def test_what_packed_does_not_write_is_not_read(data: bytes) -> None:
    assert unpacked(GOOD)[0].tolist() == [0.0, 0.0]
    with pytest.raises(Malformed):
        unpacked(data)


def test_objects_are_not_written() -> None:
    with pytest.raises(Malformed, match="Python objects"):
        packed([np.array([Bomb()], dtype=object)])
