"""A container says what is wrong with it, whatever was done to it."""

from __future__ import annotations

import random
import struct
import tracemalloc
from zlib import crc32

import numpy as np
import pytest
from packable import laplace, model

from whet.core.errors import ArtifactError
from whet.pack.container import START, compressed, decompressed, read, written
from whet.pack.files import packed, unpacked

DATA = model(
    a=laplace(8, 8, 3, 3), b=np.linspace(-1, 1, 260, dtype=np.float32).reshape(13, 20), c=np.ones(9, np.float32)
)
WHOLE = packed(DATA).data


def sealed(data: bytes) -> bytes:
    """Return a container whose header says the CRC-32 that it has."""
    length = struct.unpack_from("<I", data, 10)[0]
    body = START.size + length
    check = crc32(data[: START.size - 4] + data[START.size : body])
    return data[: START.size - 4] + struct.pack("<I", check) + data[START.size :]


def test_what_was_written_is_read() -> None:
    found = read(WHOLE, "m")
    assert found.size == len(DATA) and written(found) == WHOLE
    assert sum(len(s.payload) for s in found.sections) + len(compressed(found.skeleton)) < len(WHOLE)


@pytest.mark.parametrize(("change", "told"), [
    (lambda d: b"PK" + d[2:], "no packed file"), (lambda d: d[:15], "truncated: it ends within its first"),
    (lambda d: d[:8] + b"\x02\0" + d[10:], "of version 2; this whet reads version 1"),
    (lambda d: d[:30], "ends within its header"), (lambda d: d[:-1], "truncated: "),
    (lambda d: d + b"\0", "longer than it says"),
    (lambda d: d[:30] + bytes([d[30] ^ 1]) + d[31:], "its header is not what its CRC-32 says"),
    (lambda d: d[:-5] + bytes([d[-5] ^ 1]) + d[-4:], r"section \d of 3 is not what its CRC-32 says"),
    (lambda d: b"", "no packed file"),
])  # fmt: skip
def test_each_damage_is_named(change, told: str) -> None:
    with pytest.raises(ArtifactError, match=told) as problem:
        unpacked(change(WHOLE), "here.whet")
    assert "'here.whet'" in str(problem.value)


def test_sizes_are_bounded_before_anything_is_made() -> None:
    length = struct.unpack_from("<I", WHOLE, 10)[0]
    huge = b"\xff\xff\xff\xff\x7f"
    data = WHOLE[: START.size] + huge + WHOLE[START.size + 2 :]
    data = sealed(data[:10] + struct.pack("<I", length + 3) + data[14:])
    with pytest.raises(ArtifactError, match="the size of what it unpacks to is 34,359,738,367"):
        read(data, "m")
    bomb = compressed(b"\0" * (1 << 26))
    tracemalloc.start()
    with pytest.raises(ArtifactError, match="here: it does not decompress to what is declared"):
        decompressed(bomb, 1000, "here")
    assert tracemalloc.get_traced_memory()[1] < 1 << 25
    tracemalloc.stop()


def mutated(draw: random.Random) -> bytes:
    """Return the container with some damage, half of the time with a header whose CRC-32 is right all the same."""
    data = bytearray(WHOLE)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at, kind = draw.randrange(len(data)), draw.randrange(6)
        if draw.random() < 0.5:
            at = min(at % 140, len(data) - 1)
        if kind == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at] = draw.choice((0, 127, 128, 255))
        elif kind == 2:
            del data[at : at + draw.choice((1, 4, 100))]
        elif kind == 3:
            data[at:at] = draw.randbytes(draw.choice((1, 4, 50)))
        elif kind == 4:
            other, size = draw.randrange(len(data)), draw.choice((1, 4, 30))
            data[at : at + size], data[other : other + size] = data[other : other + size], data[at : at + size]
        else:
            data = data[:at]
        if len(data) < 40:
            break
    found = bytes(data)
    if draw.random() < 0.5 and len(found) > START.size:
        length = struct.unpack_from("<I", found, 10)[0]
        found = sealed(found) if length <= len(found) else found
    return found


def test_ten_thousand_damaged_containers_are_refused_or_right() -> None:
    draw, right, told = random.Random(0), 0, set[str]()
    for _ in range(10_000):
        data = mutated(draw)
        try:
            assert unpacked(data, "m.whet") == DATA
            right += 1
        except ArtifactError as problem:
            assert "'m.whet'" in str(problem)
            told.add(str(problem).split(":")[0])
    assert right < 1000 and len(told) > 4


def test_a_damaged_section_with_the_right_sums_gives_no_wrong_weights() -> None:
    """Payloads are changed with their CRC-32, so that only the decoder and the SHA-256 are left to tell."""
    found, draw = read(WHOLE, "m"), random.Random(1)
    for _ in range(50):
        sections = list(found.sections)
        i = draw.randrange(len(sections))
        payload = bytearray(sections[i].payload)
        payload[draw.randrange(len(payload))] ^= 1 << draw.randrange(8)
        sections[i] = type(sections[i])(*(*list(vars(sections[i]).values())[:-1], bytes(payload)))
        data = written(type(found)(found.size, found.digest, found.skeleton, tuple(sections)))
        with pytest.raises(ArtifactError, match=r"'m\.whet' is damaged"):
            unpacked(data, "m.whet")
