"""The same file comes back, from fewer bytes than other packers need."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import zstandard
from packable import laplace, model, written

from whet.core.errors import ArtifactError
from whet.graph.grids import Grid
from whet.pack.files import pack, packed, unpack, unpacked


@pytest.mark.parametrize(("grid", "zeros"), [
    (None, 0.0), (Grid(8), 0.0), (Grid(4), 0.0), (Grid(4, group=8), 0.0), (Grid(3), 0.0), (Grid(3, top=2), 0.0),
    (Grid(2), 0.0), (Grid(2), 0.8), (Grid(8), 0.8), (Grid(4), 0.8), (None, 0.8),
])  # fmt: skip
def test_what_whet_writes_comes_back_and_is_small(grid: Grid | None, zeros: float, tmp_path: Path) -> None:
    data = written(grid, tmp_path, zeros)
    found = packed(data)
    assert unpacked(found.data) == data
    assert len(found.data) < len(zstandard.compress(data, 19))
    after = sum(row.after_bytes for row in found.rows)
    assert after < 1.05 * sum(row.entropy_bytes for row in found.rows) + 100
    assert sum(row.before_bytes for row in found.rows) < len(data) and found.other_bytes > 0


def test_other_files_come_back() -> None:
    draw = np.random.default_rng(0)
    data = model(
        a=draw.normal(size=(40, 20)), b=draw.normal(size=(40, 20)).astype(np.float16),
        c=draw.integers(0, 256, 999, np.uint8), d=np.zeros((0, 4), np.float32), e=draw.integers(0, 9, (30, 30)),
        f=np.full(400, np.nan, np.float32), g=laplace(500),
    )  # fmt: skip
    assert unpacked(packed(data).data) == data


def test_contexts_beat_lzma_and_stay_near_their_limit() -> None:
    found = packed(model(a=laplace(128, 64), b=laplace(64, 16, 3, 3, scale=2.0)))
    for row in found.rows:
        assert row.way == "contexts" and row.after_bytes < row.lzma_bytes
    assert sum(r.after_bytes for r in found.rows) < 1.05 * sum(r.entropy_bytes for r in found.rows)


def test_what_lzma_does_better_is_stored_so() -> None:
    repeated = np.tile(np.random.default_rng(0).integers(-128, 128, 500).astype(np.int8), 40)
    (row,) = packed(model(a=repeated)).rows
    assert row.way == "lzma" and row.after_bytes == row.lzma_bytes == row.entropy_bytes < 1000
    (row,) = packed(model(a=np.random.default_rng(0).integers(-128, 128, 400).astype(np.int8))).rows
    assert row.way == "as it is" and row.after_bytes == 400


def test_floats_that_are_rounded_cost_their_digits_alone() -> None:
    rounded = (np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32).view(np.uint32) & 0xFFFF0000).view(
        np.float32
    )
    (row,) = packed(model(a=rounded)).rows
    assert row.after_bytes < 0.75 * row.before_bytes / 2


def test_a_packed_file_is_the_same_everywhere() -> None:
    """A change of what this gives is a change of the format, or of what the decoder computes."""
    data = packed(model(a=laplace(16, 8, 3, 3), b=laplace(40, 30))).data
    assert (len(data), hashlib.sha256(data).hexdigest()[:16]) == (0, "")


def test_files_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(model(a=laplace(40, 30)))
    place, _ = pack(file)
    assert place == tmp_path / "net.whet"
    assert unpack(place, tmp_path / "other") == tmp_path / "other" / "net.onnx"
    assert (tmp_path / "other" / "net.onnx").read_bytes() == file.read_bytes()
    for call in (pack, unpack):
        with pytest.raises(ArtifactError, match="does not exist"):
            call(tmp_path / "nothing")
    with pytest.raises(ArtifactError, match=r"net\.onnx' is no packed file"):
        unpack(file)
