from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from whet.core.errors import ArtifactError
from whet.verify.equivalence import agreement, evaluate
from whet.verify.manifest import NAME, check_files, read_manifest, write_manifest


def test_agreement_counts_rows_and_differences() -> None:
    reference = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    found = agreement(torch.tensor([[0.0, 3.0], [0.0, 0.5]]), reference)
    assert found.top1_agreement == 0.5
    assert found.max_abs_difference == 2.0
    assert found.relative_difference == pytest.approx((4 + 1 + 0.25) ** 0.5 / 2**0.5)
    assert agreement(torch.ones(3, 1), torch.ones(3, 1)).top1_agreement is None
    with pytest.raises(ArtifactError, match="expected"):
        agreement(torch.ones(2, 2), torch.ones(3, 2))


def test_evaluation_pads_the_last_batch_and_drops_the_padding() -> None:
    opened: list[int] = []

    def open_session(batch: int):  # type: ignore[no-untyped-def]
        opened.append(batch)

        def session(x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
            assert x.shape == (batch, 2)
            return x * 2

        return session

    x = torch.randn(23, 2)
    batches = [(x[:10], torch.arange(10)), (x[10:], torch.arange(10, 23))]
    outputs, targets = evaluate(open_session, batches, 4)
    assert opened == [4]
    torch.testing.assert_close(outputs, x * 2)
    assert torch.equal(targets, torch.arange(23))


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
