"""The container: a header that says where weights belong and how they are coded, and sections (docs/pack.md)."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from whet.core.errors import ArtifactError
from whet.pack.contexts import QUARTERS, Coding, Layout
from whet.pack.forms import FORMS, Options
from whet.pack.items import Item
from whet.pack.protobuf import varint, varint_bytes

MAGIC, VERSION = b"\x89WHT\r\n\x1a\n", 1
START = struct.Struct("<8sHII")
"""Magic, version, bytes of the header, CRC-32 of all that and the header."""
CODED, LZMA, RAW = range(3)
"""How a section or a plane is stored."""
FREE_BYTES, MOST_RATIO = 1 << 24, 1 << 12
"""What a container may unpack to, bytes and symbols: 2^24, or 4096 times its own bytes."""
MOST_OPTIONS = 8
FILTERS = [{"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 24}]


@dataclass(frozen=True)
class Section:
    """An item and how it is stored; a coded one has a way for each matrix and each plane of bytes."""

    item: Item
    way: int
    codings: tuple[Coding, ...] = ()
    planes: tuple[int, ...] = ()
    payload: bytes = b""


@dataclass(frozen=True)
class Container:
    """All of a packed file: the size and SHA-256 of what it unpacks to, what is not weights, and the sections."""

    size: int
    digest: bytes
    skeleton: bytes
    sections: tuple[Section, ...]


def written(container: Container) -> bytes:
    """Return the bytes of a container."""
    packed = compressed(container.skeleton)
    header = bytearray(varint_bytes(container.size) + container.digest)
    header += varint_bytes(len(packed)) + struct.pack("<I", crc32(packed))
    header += varint_bytes(len(container.sections))
    at = 0
    for section in container.sections:
        header += _section_bytes(section, at)
        at = section.item.spans[-1][1]
    begin = START.pack(MAGIC, VERSION, len(header), 0)[:-4]
    start = begin + struct.pack("<I", crc32(begin + header))
    return b"".join([start, header, packed, *(section.payload for section in container.sections)])


def _section_bytes(section: Section, at: int) -> bytes:
    """Return what the header says of a section. Pieces of one item may lie before the item's before."""
    item = section.item
    found = bytearray([section.way << 4 | item.form])
    for number in (len(item.options), *item.options, len(item.spans)):
        found += varint_bytes(number)
    for start, stop in item.spans:
        distance = start - at
        found += varint_bytes(distance << 1 if distance >= 0 else (-distance << 1) - 1) + varint_bytes(stop - start)
        at = stop
    if section.way == CODED:
        found += varint_bytes(len(item.layouts))
        for layout, coding in zip(item.layouts, section.codings, strict=True):
            for number in layout[:3]:
                found += varint_bytes(number)
            found += bytes([layout.swapped | coding.rows << 1 | coding.columns << 2 | coding.kernel << 3, coding.mean])
        found += bytes(section.planes)
    return bytes(found + varint_bytes(len(section.payload)) + struct.pack("<I", crc32(section.payload)))


def compressed(data: bytes) -> bytes:
    """Return data by LZMA, without a header of its own."""
    return lzma.compress(data, format=lzma.FORMAT_RAW, filters=FILTERS)


def decompressed(data: bytes, most: int, where: str) -> bytes:
    """Return what `compressed` was given, which is of at most `most` bytes.

    Raises: ArtifactError, beginning with `where`, for what it did not make.
    """
    try:
        machine = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS)
        found = machine.decompress(data, most + 1)
    except lzma.LZMAError as problem:
        raise ArtifactError(f"{where}: {problem}.") from None
    if len(found) > most or not machine.eof or machine.unused_data:
        raise ArtifactError(f"{where}: it does not decompress to what is declared.")
    return found


class _Header:
    """Reads a header from its beginning; what goes beyond its end or is too large is damage.

    `symbols` is how many more there may be.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.at, self.where, self.symbols = data, 0, where, 0

    def number(self, most: int, what: str) -> int:
        try:
            value, self.at = varint(self.data, self.at, len(self.data))
        except ValueError as problem:
            raise ArtifactError(f"{self.where} is damaged: {what} is {problem}.") from None
        if value > most:
            raise ArtifactError(f"{self.where} is damaged: {what} is {value:,}, which may be at most {most:,}.")
        return value

    def bytes(self, size: int, what: str) -> bytes:
        if size > len(self.data) - self.at:
            raise ArtifactError(f"{self.where} is damaged: its header ends within {what}.")
        self.at += size
        return self.data[self.at - size : self.at]


def read(data: bytes, file: str) -> Container:
    """Return the container in `data`, whose sections have been checked against their CRC-32.

    Raises: ArtifactError, which names the file and what is wrong: no container, another version, truncated, longer than
    it says, or damaged.
    """
    where = f"'{file}'"
    if data[: len(MAGIC)] != MAGIC:
        raise ArtifactError(f"{where} is no packed file: it does not begin as one.")
    if len(data) < START.size:
        raise ArtifactError(f"{where} is truncated: it ends within its first {START.size} bytes.")
    _, version, length, check = START.unpack_from(data)
    if version != VERSION:
        raise ArtifactError(f"{where} is of version {version}; this whet reads version {VERSION}.")
    if length > len(data) - START.size:
        raise ArtifactError(f"{where} is truncated: it ends within its header.")
    body = START.size + length
    if crc32(data[: START.size - 4] + data[START.size : body]) != check:
        raise ArtifactError(f"{where} is damaged: its header is not what its CRC-32 says.")
    return _parsed(_Header(data[START.size : body], where), data, body)


def _parsed(header: _Header, data: bytes, body: int) -> Container:
    header.symbols = max(FREE_BYTES, MOST_RATIO * len(data))
    size = header.number(header.symbols, "the size of what it unpacks to")
    digest = header.bytes(32, "the SHA-256")
    rest = len(data) - body
    lengths = [header.number(rest, "the size of what is no weight")]
    checks = [header.bytes(4, "a CRC-32")]
    sections, at, left = list[Section](), 0, size
    for _ in range(header.number(len(header.data), "the number of sections")):
        section = _section(header, at, size, left)
        at, left = section.item.spans[-1][1], left - sum(section.item.sizes)
        lengths.append(header.number(rest, "the size of a section"))
        checks.append(header.bytes(4, "a CRC-32"))
        sections.append(section)
    if header.at != len(header.data):
        raise ArtifactError(f"{header.where} is damaged: its header goes on after its last section.")
    if sum(lengths) != rest:
        what = "truncated" if sum(lengths) > rest else "longer than it says"
        raise ArtifactError(f"{header.where} is {what}: {rest:,} bytes follow the header, not {sum(lengths):,}.")
    payloads = _payloads(data, body, lengths, checks, header.where)
    skeleton = decompressed(payloads[0], left, f"{header.where} is damaged, in what is no weight")
    if len(skeleton) != left:
        raise ArtifactError(f"{header.where} is damaged: its parts are not as large as the whole.")
    full = [Section(s.item, s.way, s.codings, s.planes, p) for s, p in zip(sections, payloads[1:], strict=True)]
    return Container(size, digest, skeleton, tuple(full))


def _payloads(data: bytes, at: int, lengths: Sequence[int], checks: Sequence[bytes], where: str) -> list[bytes]:
    found = []
    for i, (length, check) in enumerate(zip(lengths, checks, strict=True)):
        found.append(data[at : at + length])
        at += length
        if struct.pack("<I", crc32(found[-1])) != check:
            part = f"section {i} of {len(lengths) - 1}" if i else "what is no weight"
            raise ArtifactError(f"{where} is damaged: {part} is not what its CRC-32 says.")
    return found


def _section(header: _Header, at: int, size: int, left: int) -> Section:
    """Read what the header says of one section, but for its size and its CRC-32."""
    kind = header.bytes(1, "a form")[0]
    way, form = kind >> 4, kind & 15
    if form >= len(FORMS) or way > RAW:
        raise ArtifactError(f"{header.where} is damaged: it has a section of the unknown form {kind}.")
    options: Options = tuple(
        header.number(1 << 16, "an option") for _ in range(header.number(MOST_OPTIONS, "the number of options"))
    )
    spans = list[tuple[int, int]]()
    for _ in range(header.number(len(header.data), "the number of pieces")):
        step = header.number(4 * size, "where a piece begins")
        start = at + (step >> 1 if step % 2 == 0 else -(step + 1 >> 1))
        at = start + header.number(left, "the size of a piece")
        left -= at - start
        if start < 0 or at > size or left < 0:
            raise ArtifactError(f"{header.where} is damaged: a piece lies outside of the file.")
        spans.append((start, at))
    if not spans:
        raise ArtifactError(f"{header.where} is damaged: a section has no pieces.")
    layouts, codings, planes = list[Layout](), list[Coding](), b""
    if way == CODED:
        for _ in range(header.number(len(header.data), "the number of matrices")):
            layout, coding = _matrix(header)
            layouts.append(layout)
            codings.append(coding)
    item = Item("", form, options, tuple(spans), tuple(layouts))
    if way == CODED:
        if not FORMS[form].check(options, item.count, item.sizes):
            raise ArtifactError(f"{header.where} is damaged: a section's matrices do not fit its pieces.")
        planes = header.bytes(FORMS[form].planes(options), "the planes of floats")
        if any(plane not in (CODED, RAW) for plane in planes):
            raise ArtifactError(f"{header.where} is damaged: a plane is stored in an unknown way.")
    return Section(item, way, tuple(codings), tuple(planes))


def _matrix(header: _Header) -> tuple[Layout, Coding]:
    """Read the shape of a matrix and how it is coded, and take its symbols off those that are allowed."""
    sides = [header.number(header.symbols, "a side of a matrix") for _ in range(3)]
    flags, mean = header.bytes(2, "a matrix")
    layout = Layout(sides[0], sides[1], sides[2], bool(flags & 1))
    header.symbols -= layout.size
    if layout.size == 0 or header.symbols < 0 or flags > 15 or mean >= len(QUARTERS):
        raise ArtifactError(f"{header.where} is damaged: a matrix of {sides} cannot be.")
    return layout, Coding(mean, bool(flags & 2), bool(flags & 4), bool(flags & 8))
