"""A model file in as few bytes as still give the same network, and the very same file back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.core.errors import ArtifactError
from whet.pack import coder as coding
from whet.pack import container as boxes
from whet.pack.coder import Decoder, Encoder, Estimator, PackError, Tables, entropy_bits
from whet.pack.container import CODED, LZMA, RAW, Container, Section, compressed, decompressed
from whet.pack.contexts import Coding, Layout, row_steps, steps_of
from whet.pack.forms import FORMS, Parts
from whet.pack.items import Item, items_of
from whet.pack.protobuf import tensors

Array = NDArray[Any]
Counts = dict[tuple[str, int], Array]

SUFFIX = ".whet"
WORTH = 0.995
"""The share of a plane of bytes that must be left for it to be coded; below it, it is stored as it is."""


@dataclass(frozen=True)
class Row:
    """What became of the weights of one item: bytes before and after, by LZMA, and by the limit of its contexts.

    `entropy_bytes` is -sum log2 p of its symbols, p being the frequencies of each class in the whole file; what is not
    coded counts as it is stored.
    """

    name: str
    weights: int
    before_bytes: int
    after_bytes: int
    entropy_bytes: float
    lzma_bytes: int
    way: str


@dataclass(frozen=True)
class Packed:
    """A packed file and how it became as small: rows by item, `other_bytes` for what is no weight and the header."""

    data: bytes
    before_bytes: int
    rows: tuple[Row, ...]

    @property
    def other_bytes(self) -> int:
        """Bytes of the header and of what is no weight."""
        return len(self.data) - sum(row.after_bytes for row in self.rows)


def packed(data: bytes, file: str = "model.onnx") -> Packed:
    """Return an ONNX file packed, without loss.

    Raises: ArtifactError for what is no ONNX file, or one whose weights lie in another; PackError where constriction is
    not installed, or for a file that would unpack to more than is allowed.
    """
    items = items_of(data, tensors(data, file), file)
    tables, sections, counts = Tables(), list[Section](), list[Counts]()
    tried = []
    for item in items:
        before = tables.counts()
        section, tables, smallest = _stored(item, data, tables)
        counts.append({k: c - before.get(k, 0) for k, c in tables.counts().items()})
        sections.append(section)
        tried.append(smallest)
    container = Container(len(data), hashlib.sha256(data).digest(), _skeleton(data, items), tuple(sections))
    found = boxes.written(container)
    if len(data) > max(boxes.FREE_BYTES, boxes.MOST_RATIO * len(found)):
        raise PackError(f"'{file}' would be packed to less than a {boxes.MOST_RATIO}th: nothing would unpack it.")
    whole = tables.counts()
    rows = [_row(*each, whole) for each in zip(sections, tried, counts, strict=True)]
    try:
        back = unpacked(found, file)
    except ArtifactError as problem:
        raise PackError(f"'{file}' does not come back: {problem}") from None
    if back != data:
        raise PackError(f"'{file}' does not come back as it was.")
    return Packed(found, len(data), tuple(rows))


def unpacked(data: bytes, file: str = "model.whet") -> bytes:
    """Return the ONNX file that was packed.

    Raises: ArtifactError, which names the file and what is wrong, for anything else.
    """
    container = boxes.read(data, file)
    tables, pieces = Tables(), list[tuple[int, int, bytes]]()
    for i, section in enumerate(container.sections, 1):
        where = f"'{file}' is damaged, in section {i} of {len(container.sections)}"
        given = _decoded(section, tables, where)
        for (start, stop), piece in zip(section.item.spans, given):
            if len(piece) != stop - start:
                raise ArtifactError(f"{where}: it gives {len(piece):,} bytes, not {stop - start:,}.")
            pieces.append((start, stop, piece))
    found, at, used = list[bytes](), 0, 0
    for start, stop, piece in sorted(pieces):
        if start < at:
            raise ArtifactError(f"'{file}' is damaged: two of its pieces overlap.")
        found += [container.skeleton[used : used + start - at], piece]
        used, at = used + start - at, stop
    whole = b"".join([*found, container.skeleton[used:]])
    if len(whole) != container.size or hashlib.sha256(whole).digest() != container.digest:
        raise ArtifactError(f"'{file}' is damaged: what it unpacks to is not what its SHA-256 says.")
    return whole


def _skeleton(data: bytes, items: Sequence[Item]) -> bytes:
    found, at = list[bytes](), 0
    for start, stop in sorted(span for item in items for span in item.spans):
        found.append(data[at:start])
        at = stop
    return b"".join([*found, data[at:]])


# -- one section -----------------------------------------------------------------------------------------------------


def _stored(item: Item, data: bytes, tables: Tables) -> tuple[Section, Tables, int]:
    """Return an item in its smallest form, the tables after it, and its bytes by LZMA."""
    pieces = b"".join(item.pieces(data))
    by_lzma = compressed(pieces)
    section, after = _coded(item, data, tables)
    size = len(section.payload)
    if min(len(by_lzma), len(pieces)) > size:
        return section, after, len(by_lzma)
    way, payload = (LZMA, by_lzma) if len(by_lzma) < len(pieces) else (RAW, pieces)
    return Section(replace(item, layouts=()), way, payload=payload), tables, len(by_lzma)


def _coded(item: Item, data: bytes, tables: Tables) -> tuple[Section, Tables]:
    form = FORMS[item.form]
    parts = form.split(item.options, item.count, item.pieces(data))
    alphabet = form.alphabet(item.options)
    encoder, layouts, codings, at = Encoder(tables.copy()), list[Layout](), list[Coding](), 0
    for layout in item.layouts:
        flat = parts.symbols[at : at + layout.size].astype(np.int32)
        chosen, way, steps = _chosen(layout, alphabet, flat, encoder.tables)
        coding.run(encoder, chosen, alphabet, way, steps, chosen.rows_of(flat))
        layouts.append(chosen)
        codings.append(way)
        at += layout.size
    ways, raw = list[int](), list[bytes]()
    for number, plane in enumerate(parts.planes):
        ways.append(_plane_way(plane))
        if ways[-1] == CODED:
            coding.run_bytes(encoder, number, len(plane), plane)
        else:
            raw.append(plane.tobytes())
    payload = b"".join([*raw, encoder.payload()])
    return Section(replace(item, layouts=tuple(layouts)), CODED, tuple(codings), tuple(ways), payload), encoder.tables


def _plane_way(plane: Array) -> int:
    shares = np.bincount(plane, minlength=256) / max(1, len(plane))
    bits = -float((shares * np.log2(shares.clip(1e-12))).sum())
    return CODED if bits / 8 * len(plane) + 256 < WORTH * len(plane) or bits == 0 else RAW


def _chosen(layout: Layout, alphabet: Any, flat: Array, tables: Tables) -> tuple[Layout, Coding, Array | None]:
    """Return in which direction and with which contexts a matrix takes fewest bits, one after the other being tried."""
    best = _tried(layout, Coding(0, columns=layout.rows > 1, kernel=layout.positions > 1), alphabet, flat, tables)
    for change in ("kernel", "columns", "rows", "swapped"):
        layout, way = best[1], best[2]
        if change == "swapped" and min(layout.rows, layout.channels) > 1:
            layout = Layout(layout.channels, layout.rows, layout.positions, not layout.swapped)
        elif (change == "kernel" and layout.positions > 1) or (change in ("columns", "rows") and layout.rows > 1):
            way = way._replace(**{change: not getattr(way, change)})
        else:
            continue
        other = _tried(layout, way, alphabet, flat, tables)
        best = other if other[0] < best[0] else best
    return best[1:]


def _tried(
    layout: Layout, way: Coding, alphabet: Any, flat: Array, tables: Tables
) -> tuple[float, Layout, Coding, Array | None]:
    symbols = layout.rows_of(flat)
    amounts = alphabet.amounts[symbols]
    way = way._replace(mean=int(steps_of(np.array([amounts.mean()]))[0]))
    estimator, steps = Estimator(tables.copy()), row_steps(amounts) if way.rows else None
    coding.run(estimator, layout, alphabet, way, steps, symbols)
    return estimator.bits, layout, way, steps


def _decoded(section: Section, tables: Tables, where: str) -> list[bytes]:
    item = section.item
    if section.way != CODED:
        size = sum(item.sizes)
        data = section.payload if section.way == RAW else decompressed(section.payload, size, where)
        ends = np.cumsum(item.sizes).tolist()
        return [data[end - length : end] for end, length in zip(ends, item.sizes)]
    form, count = FORMS[item.form], item.count
    raw = count * section.planes.count(RAW)
    if raw > len(section.payload):
        raise ArtifactError(f"{where}: it ends within its planes of bytes.")
    decoder = Decoder(tables, section.payload[raw:], where)
    alphabet, found = form.alphabet(item.options), list[Array]()
    for layout, way in zip(item.layouts, section.codings, strict=True):
        found.append(layout.flat_of(coding.run(decoder, layout, alphabet, way, None, None)))
    planes, at = list[Array](), 0
    for number, kind in enumerate(section.planes):
        if kind == RAW:
            planes.append(np.frombuffer(section.payload, np.uint8, count, at))
            at += count
        else:
            planes.append(coding.run_bytes(decoder, number, count, None))
    decoder.finish()
    symbols = np.concatenate(found) if found else np.zeros(0, np.int32)
    return form.join(item.options, Parts(symbols, tuple(planes)), item.sizes)


def _row(section: Section, by_lzma: int, counts: Counts, whole: Counts) -> Row:
    item, stored = section.item, len(section.payload)
    if section.way == CODED:
        limit = entropy_bits(counts, whole) / 8 + item.count * section.planes.count(RAW)
    else:
        limit = float(stored)
    weights = item.count or sum(item.sizes)
    way = ("contexts", "lzma", "as it is")[section.way]
    return Row(item.name, weights, sum(item.sizes), stored, limit, by_lzma, way)


# -- files -----------------------------------------------------------------------------------------------------------


def pack(file: str | Path, out: str | Path | None = None) -> tuple[Path, Packed]:
    """Write an ONNX file packed, beside it as `model.whet` or where `out` says; return where, and how small it became.

    Raises: ArtifactError where there is no such file, or it is no ONNX file.
    """
    path = Path(file)
    if not path.is_file():
        raise ArtifactError(f"model file '{path}' does not exist.")
    place = Path(out) if out is not None else path.with_suffix(SUFFIX)
    found = packed(path.read_bytes(), str(path))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(found.data)
    return place, found


def unpack(file: str | Path, out: str | Path | None = None) -> Path:
    """Write the ONNX file that was packed, `model.onnx` in the folder `out` or beside the packed file; return where.

    Raises: ArtifactError where there is no such file, or it is damaged.
    """
    path = Path(file)
    if not path.is_file():
        raise ArtifactError(f"packed file '{path}' does not exist.")
    data = unpacked(path.read_bytes(), str(path))
    place = path.with_suffix(".onnx") if out is None else Path(out) / f"{path.stem}.onnx"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place
