"""Symbols of every form give the bytes again."""

from __future__ import annotations

import numpy as np
import pytest

from whet.pack.forms import BYTES_FORM, DIGITS, FLOATS, FLOATS_FORM, FORMS, MASK, MASKED, NIBBLES, Options

DRAW = np.random.default_rng(0)


def back(form: int, options: Options, count: int, pieces: list[bytes]) -> np.ndarray:
    """Return the symbols of pieces that must come back."""
    parts = FORMS[form].split(options, count, pieces)
    sizes = [len(piece) for piece in pieces]
    assert FORMS[form].check(options, count, sizes) and len(parts.symbols) == count
    assert len(parts.planes) == FORMS[form].planes(options)
    assert FORMS[form].join(options, parts, sizes) == pieces
    assert parts.symbols.max() < FORMS[form].alphabet(options).size
    return parts.symbols


def test_bytes_are_signed_or_around_their_middle() -> None:
    values = np.array([-128, -1, 0, 127], np.int8)
    assert back(BYTES_FORM, (128,), 4, [values.tobytes()]).tolist() == [0, 127, 128, 255]
    assert back(BYTES_FORM, (0,), 4, [values.tobytes()]).tolist() == [128, 255, 0, 127]


def test_nibbles_of_odd_number() -> None:
    assert back(NIBBLES, (8,), 3, [bytes([0x7F, 0x08])]).tolist() == [7, 15, 0]


@pytest.mark.parametrize(("levels", "each", "size"), [(3, 5, 1), (4, 4, 1), (5, 13, 4), (7, 11, 4)])
def test_digits(levels: int, each: int, size: int) -> None:
    digits = DRAW.integers(0, levels, 10 * each)
    digits[-1:] = 0
    words = digits.reshape(-1, each) @ levels ** np.arange(each)
    data = words.astype("<u1" if size == 1 else "<i4").tobytes()
    symbols = back(DIGITS, (levels, each, size), len(digits) - 1, [data])
    table = [v + 3 for v in range(-(levels // 2), levels // 2 + 1) if v or levels % 2]
    assert symbols.tolist() == [table[d] for d in digits[:-1]]


def test_values_among_zeros() -> None:
    weights = np.array([0, 5, 0, 0, -7, 1, 0, 0, 0, 2, 0], np.int8)
    mask = np.packbits(weights != 0, bitorder="little").tobytes() + b"\0"
    assert back(MASK, (), 11, [mask]).tolist() == (weights != 0).astype(int).tolist()
    values = np.concatenate([[0], weights[weights != 0]]).astype(np.int8).tobytes()
    found = back(MASKED, (BYTES_FORM, 128, 1, 128), 11, [mask, values])
    assert (found.astype(int) - 128).tolist() == weights.tolist()


def test_digits_among_zeros() -> None:
    weights = np.array([0, 2, 0, -1, -2, 0, 1, 0, 0])
    mask = np.packbits(weights != 0, bitorder="little").tobytes()
    table = [-2, -1, 1, 2]
    digits = [table.index(v) for v in weights if v]
    found = back(MASKED, (DIGITS, 3, 0, 4, 4, 1), 9, [mask, bytes([sum(d * 4**i for i, d in enumerate(digits))])])
    assert (found.astype(int) - 3).tolist() == weights.tolist()


@pytest.mark.parametrize(("size", "bits"), sorted(FLOATS))
def test_floats_of_any_bits(size: int, bits: int) -> None:
    data = DRAW.integers(0, 256, 100 * size).astype(np.uint8).tobytes()
    symbols = back(FLOATS_FORM, (size, bits), 100, [data[: 30 * size], data[30 * size :]])
    words = np.frombuffer(data, f"<u{size}").astype(object)
    assert symbols.tolist() == [int(w) >> (8 * size - 1 - bits) & ((1 << bits) - 1) for w in words]


def test_sign_and_digits_of_a_float_lie_in_bytes() -> None:
    parts = FORMS[FLOATS_FORM].split((4, 8), 2, [np.array([1.0, -1.5], np.float32).tobytes()])
    assert parts.symbols.tolist() == [127, 127]
    assert [p.tolist() for p in parts.planes] == [[0, 0x80 | 0x40], [0, 0], [0, 0]]


@pytest.mark.parametrize(("form", "options", "count", "sizes"), [
    (BYTES_FORM, (1,), 4, [4]), (BYTES_FORM, (128,), 4, [5]), (NIBBLES, (8,), 4, [4]), (DIGITS, (9, 4, 1), 4, [1]),
    (DIGITS, (3, 5, 2), 5, [1]), (DIGITS, (3, 5, 1), 6, [1]), (MASK, (), 9, [1]), (FLOATS_FORM, (4, 9), 1, [4]),
    (FLOATS_FORM, (4, 8), 2, [4]), (MASKED, (MASKED, 0, 0), 4, [4, 4]), (MASKED, (BYTES_FORM, 300, 1, 128), 4, [4, 4]),
    (MASKED, (BYTES_FORM, 128), 4, [4, 4]), (MASKED, (FLOATS_FORM, 0, 1, 4, 8), 4, [4, 4]),
])  # fmt: skip
def test_what_does_not_fit_is_told(form: int, options: Options, count: int, sizes: list[int]) -> None:
    assert not FORMS[form].check(options, count, sizes)
