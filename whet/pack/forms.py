"""What the bytes of weights stand for: symbols that can be coded, and bytes that can not; and back again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whet.pack.coder import BITS, Alphabet, exponents, integers

Array = NDArray[Any]
Pieces = list[bytes]
Options = tuple[int, ...]

WORDS: dict[int, np.dtype[Any]] = {1: np.dtype("<u1"), 4: np.dtype("<i4")}
"""The types of the whole numbers of which digits are made, by their bytes."""
FLOATS = {(2, 5), (2, 8), (4, 8), (8, 11)}
"""Bytes and bits of the exponent of the floats that there are."""


class Parts(NamedTuple):
    """Symbols `(n,)`, and planes of bytes `(n,)` each, of the floats' signs and digits."""

    symbols: Array
    planes: tuple[Array, ...] = ()


class Form(NamedTuple):
    """How bytes become symbols.

    `split` takes the pieces of a file, `join` their sizes as well; both have the options and the number of symbols.
    """

    name: str
    alphabet: Callable[[Options], Alphabet]
    planes: Callable[[Options], int]
    split: Callable[[Options, int, Pieces], Parts]
    join: Callable[[Options, Parts, Sequence[int]], Pieces]
    check: Callable[[Options, int, Sequence[int]], bool]
    """Says whether so many symbols fit pieces of such sizes."""


def _bytes_split(options: Options, count: int, pieces: Pieces) -> Parts:
    return Parts(np.frombuffer(pieces[0], np.uint8) ^ np.uint8(options[0]))


def _bytes_join(options: Options, parts: Parts, sizes: Sequence[int]) -> Pieces:
    return [(parts.symbols.astype(np.uint8) ^ np.uint8(options[0])).tobytes()]


def _nibbles_split(options: Options, count: int, pieces: Pieces) -> Parts:
    packed = np.frombuffer(pieces[0], np.uint8)
    found = np.stack([packed & 15, packed >> 4], 1).reshape(-1)[:count]
    return Parts(found ^ np.uint8(options[0]))


def _nibbles_join(options: Options, parts: Parts, sizes: Sequence[int]) -> Pieces:
    found = np.pad(parts.symbols.astype(np.uint8) ^ np.uint8(options[0]), (0, len(parts.symbols) % 2))
    return [(found[::2] | found[1::2] << 4).tobytes()]


def _digit_table(levels: int) -> Array:
    """Return the symbols of digits, among those of `integers(3)`: an even number of levels has no zero."""
    most = levels // 2
    return np.array([v + 3 for v in range(-most, most + 1) if v or levels % 2], np.uint8)


def _digits_split(options: Options, count: int, pieces: Pieces) -> Parts:
    levels, each, size = options
    words = np.frombuffer(pieces[0], WORDS[size]).astype(np.int64)
    found = np.stack([words // levels**i % levels for i in range(each)], 1).reshape(-1)[:count]
    return Parts(_digit_table(levels)[found])


def _digits_join(options: Options, parts: Parts, sizes: Sequence[int]) -> Pieces:
    levels, each, size = options
    places = np.searchsorted(_digit_table(levels), parts.symbols).clip(0, levels - 1)
    rows = np.pad(places, (0, -len(places) % each)).reshape(-1, each)
    words = rows @ np.array([levels**i for i in range(each)], np.int64)
    return [words.astype(WORDS[size]).tobytes()]


def _mask_split(options: Options, count: int, pieces: Pieces) -> Parts:
    return Parts(np.unpackbits(np.frombuffer(pieces[0], np.uint8), bitorder="little")[:count])


def _mask_join(options: Options, parts: Parts, sizes: Sequence[int]) -> Pieces:
    return [np.packbits(parts.symbols.astype(bool), bitorder="little").tobytes().ljust(sizes[0], b"\0")]


def _masked_split(options: Options, count: int, pieces: Pieces) -> Parts:
    """Put values among the zeros that the mask, the first piece, says."""
    inner, zero, rest = FORMS[options[0]], options[1], options[3:]
    left = _mask_split((), count, pieces[:1]).symbols.astype(bool)
    values = inner.split(rest, int(left.sum()) + options[2], pieces[1:]).symbols[options[2] :]
    found = np.full(count, zero, np.uint8)
    found[left] = values
    return Parts(found)


def _masked_join(options: Options, parts: Parts, sizes: Sequence[int]) -> Pieces:
    inner, zero, rest = FORMS[options[0]], options[1], options[3:]
    left = parts.symbols != zero
    values = np.concatenate([np.full(options[2], zero, np.uint8), parts.symbols[left].astype(np.uint8)])
    return [*_mask_join((), Parts(left), sizes), *inner.join(rest, Parts(values), sizes[1:])]


def _floats_split(options: Options, count: int, pieces: Pieces) -> Parts:
    """Return the exponents, and the sign and the other digits by bytes, the highest first."""
    size, bits = options
    digits = 8 * size - 1 - bits
    words = np.frombuffer(b"".join(pieces), f"<u{size}").astype(np.uint64)
    one = np.uint64(1)
    symbols = (words >> np.uint64(digits)) & np.uint64((1 << bits) - 1)
    rest = (words >> np.uint64(8 * size - 1)) << np.uint64(digits) | words & ((one << np.uint64(digits)) - one)
    shifts = reversed(range(_rest(options)))
    planes = tuple((rest >> np.uint64(8 * i) & np.uint64(255)).astype(np.uint8) for i in shifts)
    return Parts(symbols.astype(np.int32), planes)


def _floats_join(options: Options, parts: Parts, sizes: Sequence[int]) -> Pieces:
    size, bits = options
    digits = np.uint64(8 * size - 1 - bits)
    one, rest = np.uint64(1), np.zeros(len(parts.symbols), np.uint64)
    for plane in parts.planes:
        rest = rest << np.uint64(8) | plane.astype(np.uint64)
    words = (rest >> digits) << np.uint64(8 * size - 1) | rest & ((one << digits) - one)
    data = (words | parts.symbols.astype(np.uint64) << digits).astype(f"<u{size}").tobytes()
    ends = np.cumsum(sizes).tolist()
    return [data[end - length : end] for end, length in zip(ends, sizes)]


def _rest(options: Options) -> int:
    """Return how many bytes sign and digits take."""
    return -(-(8 * options[0] - options[1]) // 8)


def _none(options: Options) -> int:
    return 0


def _masked_check(options: Options, count: int, sizes: Sequence[int]) -> bool:
    if len(options) < 3 or options[0] not in VALUES or options[2] > 1 or len(sizes) != 2 or count > 8 * sizes[0]:
        return False
    inner, most = FORMS[options[0]], count + options[2]
    alphabet = inner.alphabet(options[3:]) if inner.check(options[3:], 0, []) else None
    return alphabet is not None and options[1] < alphabet.size and most > 0


def _digits_check(options: Options, count: int, sizes: Sequence[int]) -> bool:
    if len(options) != 3 or options[2] not in WORDS or not 2 <= options[0] <= 7 or not 1 <= options[1] <= 16:
        return False
    return not sizes or (len(sizes) == 1 and -(-count // options[1]) * options[2] == sizes[0])


FORMS: tuple[Form, ...] = (
    Form("bytes", lambda o: integers(128), _none, _bytes_split, _bytes_join,
         lambda o, n, s: len(o) == 1 and o[0] in (0, 128) and (not s or list(s) == [n])),
    Form("nibbles", lambda o: integers(8), _none, _nibbles_split, _nibbles_join,
         lambda o, n, s: len(o) == 1 and o[0] in (0, 8) and (not s or list(s) == [(n + 1) // 2])),
    Form("digits", lambda o: integers(3), _none, _digits_split, _digits_join, _digits_check),
    Form("mask", lambda o: BITS, _none, _mask_split, _mask_join,
         lambda o, n, s: not o and len(s) == 1 and n <= 8 * s[0]),
    Form("masked", lambda o: FORMS[o[0]].alphabet(o[3:]), _none, _masked_split, _masked_join, _masked_check),
    Form("floats", lambda o: exponents(o[1]), _rest, _floats_split, _floats_join,
         lambda o, n, s: o in FLOATS and sum(s) == n * o[0]),
)  # fmt: skip
"""The forms by number, as containers have them."""
BYTES_FORM, NIBBLES, DIGITS, MASK, MASKED, FLOATS_FORM = range(6)
VALUES = (BYTES_FORM, NIBBLES, DIGITS)
"""What may stand behind a mask."""
