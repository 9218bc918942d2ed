"""Arithmetic coding by adaptive counts; the inner loop is that of `constriction`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from whet.core.errors import ArtifactError, WhetError
from whet.pack.contexts import CLASSES, EIGHTH, QUARTERS, ROW_STEPS, SIGNED, Coding, Context, Layout

Array = NDArray[Any]

MASS, SHARED = 64.0, 4.0
"""How many weights the two distributions that a class begins with weigh: of its amount, and of all classes."""
FIRST, AT_ONCE = 64, 1 << 16
"""Symbols without context that are coded by one distribution: the first ones, then as many as before, and at most."""
FLOOR = 1e-4
"""The share of them that all symbols have alike."""
INSTALL = "pip install 'whet[pack]', or pip install constriction"


class PackError(WhetError):
    """A file cannot be packed."""


class Alphabet(NamedTuple):
    """What symbols mean: `amounts` says how large each is, `widths` how many numbers each stands for.

    `signs` are those of the numbers, None where there are none; symbol `i` is then minus symbol `size - 1 - i`.
    """

    name: str
    amounts: Array
    widths: Array
    signs: Array | None = None

    @property
    def size(self) -> int:
        """How many symbols there are."""
        return len(self.amounts)


def integers(most: int) -> Alphabet:
    """Return the alphabet of the integers from `-most` to `most`."""
    values = np.arange(-most, most + 1)
    return Alphabet(f"integers {most}", np.abs(values).astype(np.float64), np.ones(len(values)), np.sign(values) * 1.0)


def exponents(bits: int) -> Alphabet:
    """Return the alphabet of the exponents of floats; amounts are relative to 2^-20 of 1, and below that alike."""
    most = (1 << bits - 1) - 1
    values = np.array([float(1 << min(max(e - most + 20, 0), 40)) for e in range(1 << bits)])
    return Alphabet(f"exponents {bits}", values, values)


BITS = Alphabet("bits", np.arange(2.0), np.ones(2))
BYTES = Alphabet("bytes", np.zeros(256), np.ones(256))
ROWS = Alphabet("rows", np.zeros(ROW_STEPS), np.ones(ROW_STEPS))


class Table:
    """Counts of the symbols of an alphabet by class.

    A class begins with `MASS` weights of a distribution whose amounts are about its own,

        p(s) ~ width_s / (1 + (amount_s / amount)^2)^2 + FLOOR

    which is made by operations that round alike everywhere; `SHARED` more are as those of all classes together.
    """

    def __init__(self, alphabet: Alphabet) -> None:
        amounts = QUARTERS[2 * (np.arange(CLASSES) % SIGNED)] / QUARTERS[EIGHTH]
        ratio = alphabet.amounts[None, :] / (1.5 * amounts[:, None])
        shape = alphabet.widths[None, :] / ((1.0 + ratio * ratio) * (1.0 + ratio * ratio))
        shape = shape / _row_sums(shape) + FLOOR
        self.begin = MASS * shape / _row_sums(shape)
        self.counts = np.zeros(self.begin.shape)
        self.whole, self.total = np.ones(alphabet.size), float(alphabet.size)

    def weights(self, which: int) -> Array:
        """Return what the shares of the symbols of a class are believed to be, unnormalized, `(symbols,)`."""
        found: Array = self.counts[which] + self.begin[which] + (SHARED / self.total) * self.whole
        return found

    def learn(self, which: int, symbols: Array) -> None:
        """Count the symbols `(n,)` of a class."""
        new = np.bincount(symbols, minlength=len(self.whole))
        self.counts[which] += new
        self.whole += new
        self.total += len(symbols)


class Tables:
    """The tables of each alphabet; all matrices of a file share them, in the file's order."""

    def __init__(self) -> None:
        self.all: dict[tuple[str, int], Table] = {}

    def of(self, alphabet: Alphabet, part: int = 0) -> Table:
        """Return the table of an alphabet; `part` tells apart what has its own counts."""
        key = alphabet.name, part
        if key not in self.all:
            self.all[key] = Table(alphabet)
        return self.all[key]

    def copy(self) -> Tables:
        """Return the same, which may go another way."""
        return copy.deepcopy(self)

    def counts(self) -> dict[tuple[str, int], Array]:
        """Return the counts so far of each table, `(CLASSES, symbols)`."""
        return {key: table.counts.copy() for key, table in self.all.items()}


def entropy_bits(counts: Mapping[tuple[str, int], Array], whole: Mapping[tuple[str, int], Array]) -> float:
    """Return the bits of symbols so counted by the frequencies in `whole`: with the same, sum_c n_c H(s | c).

    Counts are `(CLASSES, symbols)` by table.
    """
    bits = 0.0
    for key, table in counts.items():
        of_all = whole[key]
        with np.errstate(divide="ignore", invalid="ignore"):
            each = np.log2(of_all.sum(1, keepdims=True)) - np.log2(of_all)
        bits += float((table * np.where(table > 0, each, 0.0)).sum())
    return bits


def _row_sums(table: Array) -> Array:
    """Return the sums of rows, added up in order: `numpy.sum` adds in another order on other processors."""
    return np.cumsum(table, axis=1)[:, -1:]


class Coder(Protocol):
    """What codes symbols of one distribution, or decodes them: both go the same way through a matrix."""

    tables: Tables

    def code(self, symbols: Array | None, count: int, weights: Array) -> Array:
        """Code so many symbols `(count,)`, given to an encoder alone; return them.

        `weights` `(symbols,)` are shares of each, unnormalized.
        """
        ...


class Estimator:
    """Counts bits without coding."""

    def __init__(self, tables: Tables) -> None:
        self.tables, self.bits = tables, 0.0

    def code(self, symbols: Array | None, count: int, weights: Array) -> Array:
        """Add up -log2 p of the symbols `(count,)`."""
        assert symbols is not None
        counts = np.bincount(symbols, minlength=len(weights))
        self.bits += float(counts @ (np.log2(weights.sum()) - np.log2(weights)))
        return symbols


class Encoder:
    """Collects symbols and their distributions; `payload` codes them, the last first, as ANS wants it."""

    def __init__(self, tables: Tables) -> None:
        self.tables, self.ans = tables, _constriction()
        self.parts: list[tuple[Array, Any]] = []

    def code(self, symbols: Array | None, count: int, weights: Array) -> Array:
        """Remember the symbols `(count,)` with their model."""
        assert symbols is not None
        model = self.ans.model.Categorical(weights, perfect=False)
        self.parts.append((symbols.astype(np.int32), model))
        return symbols

    def payload(self) -> bytes:
        """Return the bytes of all symbols."""
        coder = self.ans.stack.AnsCoder()
        for symbols, model in reversed(self.parts):
            coder.encode_reverse(symbols, model)
        return bytes(coder.get_compressed().astype("<u4").tobytes())


class Decoder:
    """Gives the symbols of a payload. Raises: ArtifactError, beginning with `where`, for one that none encoded."""

    def __init__(self, tables: Tables, payload: bytes, where: str) -> None:
        self.tables, self.where, self.ans = tables, where, _constriction()
        if len(payload) % 4 or (payload and not any(payload[-4:])):
            raise ArtifactError(f"{where}: {len(payload)} bytes are no coded stream.")
        self.coder = self.ans.stack.AnsCoder(np.frombuffer(payload, "<u4").astype(np.uint32))

    def code(self, symbols: Array | None, count: int, weights: Array) -> Array:
        """Return the next symbols, int32 `(count,)`."""
        return np.asarray(self.coder.decode(self.ans.model.Categorical(weights, perfect=False), count))

    def finish(self) -> None:
        """Raise ArtifactError where something is left."""
        if not self.coder.is_empty():
            raise ArtifactError(f"{self.where}: more is coded than its weights.")


def _constriction() -> Any:
    try:
        import constriction
    except ImportError:
        raise PackError(f"packing needs the package constriction: {INSTALL}.") from None
    return constriction.stream


def run(
    coder: Coder, layout: Layout, alphabet: Alphabet, coding: Coding, steps: Array | None, symbols: Array | None
) -> Array:
    """Code a matrix, or decode it where `symbols`, `(rows, channels * positions)`, are None; return it.

    Of each block of rows, or with `coding.kernel` of some positions of it, the classes are known beforehand, so that
    the weights of one class are coded by one call.
    """
    steps = _simple(coder, coder.tables.of(ROWS), layout.rows, steps) if coding.rows else None
    context = Context(layout, alphabet.amounts, alphabet.signs, coding, steps)
    sides = layout.rows, layout.channels, layout.positions
    found = np.empty(sides, np.int32) if symbols is None else symbols.reshape(sides)
    for start, stop in layout.blocks():
        context.begin(start, stop)
        for part in layout.parts(coding.kernel):
            size = part.stop - part.start
            given = None if symbols is None else found[start:stop, :, part].reshape(stop - start, -1)
            signs = np.repeat(context.sign, size, 1) if part.start and alphabet.signs is not None else None
            some = _run_block(coder, alphabet, context.classes(part), signs, given)
            if symbols is None:
                found[start:stop, :, part] = some.reshape(stop - start, -1, size)
            context.learn(part, some)
    return found.reshape(layout.rows, -1)


def _run_block(coder: Coder, alphabet: Alphabet, classes: Array, signs: Array | None, symbols: Array | None) -> Array:
    """Code weights whose classes are known; those that a minus is expected of are coded with the other sign."""
    table, flat, most = coder.tables.of(alphabet), classes.reshape(-1), alphabet.size - 1
    turned = None if signs is None else signs < 0
    if symbols is not None and turned is not None:
        given: Array | None = np.where(turned, most - symbols, symbols).reshape(-1)
    else:
        given = None if symbols is None else symbols.reshape(-1)
    order = np.argsort(flat, kind="stable")
    given = None if given is None else given[order]
    coded, at = np.empty(len(flat), np.int32), 0
    for which, count in enumerate(np.bincount(flat).tolist()):
        if count:
            some = None if given is None else given[at : at + count]
            coded[at : at + count] = some = coder.code(some, count, table.weights(which))
            table.learn(which, some)
            at += count
    if symbols is not None:
        return symbols
    found: Array = np.empty(len(flat), np.int32)
    found[order] = coded
    found = found.reshape(classes.shape)
    return found if turned is None else np.where(turned, most - found, found)


def run_bytes(coder: Coder, part: int, size: int, plane: Array | None) -> Array:
    """Code bytes that have no context, or decode `size` of them where `plane`, `(size,)`, is None; return them."""
    return _simple(coder, coder.tables.of(BYTES, part), size, plane)


def _simple(coder: Coder, table: Table, size: int, symbols: Array | None) -> Array:
    found, start = list[Array](), 0
    while start < size:
        count = min(max(start, FIRST), AT_ONCE, size - start)
        some = None if symbols is None else symbols[start : start + count]
        found.append(coder.code(some, count, table.weights(0)))
        table.learn(0, found[-1])
        start += count
    return np.concatenate(found) if found else np.zeros(0, np.int32)
