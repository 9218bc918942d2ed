"""The manifest tells every file, names what is damaged, and never points outside of its folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from whet.core.errors import ArtifactError
from whet.verify.manifest import NAME, check_files, number, read_manifest, sha256, unit_of, write_manifest


def delivered(folder: Path) -> Path:
    (folder / "model.onnx").write_bytes(b"weights" * 10)
    write_manifest(folder, network="n", decision={"a:bits": 8})
    return folder


def test_manifest_tells_every_file(tmp_path: Path) -> None:
    manifest = check_files(delivered(tmp_path))
    assert manifest["files"]["model.onnx"]["size_bytes"] == 70
    assert manifest["decision"] == {"a:bits": 8}


def test_damage_is_named(tmp_path: Path) -> None:
    model = delivered(tmp_path) / "model.onnx"
    model.write_bytes(b"weightz" * 10)
    with pytest.raises(ArtifactError, match=r"model\.onnx' is not the file of its manifest"):
        check_files(tmp_path)
    model.write_bytes(b"weights")
    with pytest.raises(ArtifactError, match=r"model\.onnx' has 7 bytes; its manifest says 70"):
        check_files(tmp_path)
    model.unlink()
    with pytest.raises(ArtifactError, match=r"model\.onnx' is missing"):
        check_files(tmp_path)
    (tmp_path / NAME).write_text('{"files": ')
    with pytest.raises(ArtifactError, match="is damaged"):
        read_manifest(tmp_path)
    (tmp_path / NAME).unlink()
    with pytest.raises(ArtifactError, match="does not exist"):
        read_manifest(tmp_path)


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"files": {"../secret": {"sha256": "", "size_bytes": 0}}}')
    with pytest.raises(ArtifactError, match="outside its folder"):
        check_files(tmp_path)


def test_a_figure_knows_its_unit_its_protocol_its_device_and_how_it_came(tmp_path: Path) -> None:
    assert number(1.5, "ms", "bursts", "EPYC") == {
        "value": 1.5, "unit": "ms", "protocol": "bursts", "device": "EPYC", "how": "measured"
    }  # fmt: skip
    assert number(1.5, "ms", "", "", measured=False)["how"] != "measured"
    assert unit_of("loc.relative_error") == unit_of("relative_error") != ""


def test_a_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"weights")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"weights").hexdigest()
