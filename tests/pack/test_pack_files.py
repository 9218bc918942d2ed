"""The same file comes back, from fewer bytes than other packers need."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import onnx
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
    # 5,000 random weights of 8 bits are too few to learn their distribution, and a header takes its bytes.
    assert len(found.data) < (1.03 if grid == Grid(8) else 1.0) * len(zstandard.compress(data, 19))
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


OLD = (
    "iC0Ke4GJ0x0RU$J007MShB>hc@4Gfv<S=t~fTJbNLy?cn5A5>pe!7UF6(V#yk3!;oXmhNf%>w`dfB^wo^aTM14hab+kOJU27J~o*"
    "fB^v>tO5ZP4*>)!!~wzh70?9&1PB2dpaB6W0RaSX0s;bv0SROsmH-3-)m%upUvE?AkGra2I0Z9A3vtqc?u;-E-9$Jwc+qd(^;A&D"
    "4J43nb=Td3!J~}c{dz85kK-WgXTG(cww777sBCTH?F^CZhN&^S2_L~`2dZv{k|GxEESPiN@pY7e|MfP202)bn*%C|6_8Dv3FiCPs"
    "_3d1+1j$LnhvAm9c)&@3LAjqcZ@)j-?%&l)=BwZ7bBr<7h^^6qx20>>wFbu_==cIINbYs`yQ}O?^-$Pep=Ou-@$fgvK4UFj)!B@P"
    "qZ@ge%9UKB2{$?0`5-yjsCrB33lnanfLNaTsvFXDBTAhwgNZ|kWvlU5b=J6tmEs?ys(bSKFH)%Syg$$RFG7ybC9;oLI~nc0GwcbU"
    "RHll0U?cwQpd`+<Xo#+@Mrug1yB`sv<bj&+Jjg}aZNLhA-TT%-sGuW>5I412xi>~(jZ(I-1}xfmps#<Sr)3$pA2xoSy0AQLTdDWa"
    "@?ZbKUFi%O?x5?8P}eM$IVUPl<MtxKG|SLdKVY9r-`NBfa$q(1*;zEM_FP4Hyi`Ej|50_~JUeg6>jIAY_Bbixa}4tskktF-0GK2M"
    "c7|pqq;(WRQle|x8_yd(@gGF=%qVpGREp~#<f1VtLa=Ut8<5bhw~U_U+t)=b5>IqtD1T%3addrpH9_`e-`<B>vi2O2Pwc6OFdoPS"
    "q=f2dG2L=3*>Xr1;GLCocAQ7~ggY|_P5-o8f71VOX2m`G9tJ0RT2sGg<P3v6Ain_$000662MG%f5EB*{8y+DfCn_y4Gd4LrKtxAN"
    "PEuA{USeiyZgO{f002v&0&eAJ^^P;;qisbg8yY4-YNF^qqZgYm)QV6j5e*wVZnY16005Y{lUY1&C6)AeS<x730v`L=_n7`|DS4&!"
    "v@ENC_hcDrt2JPS0MsbB4x{yo5cx5So(=#200"
)
"""A container of version 1 with int8 weights of a convolution and a matrix, and floats; base 85."""


def test_what_was_packed_once_is_unpacked_for_ever() -> None:
    """Where this fails the format has changed, or what the decoder computes: give it another version."""
    found = onnx.load_model_from_string(unpacked(base64.b85decode(OLD)))
    assert [(t.name, list(t.dims)) for t in found.graph.initializer] == [
        ("a", [14, 6, 3, 3]), ("b", [20, 15]), ("c", [40]),
    ]  # fmt: skip


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
