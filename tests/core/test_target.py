"""An artifact weighs what it and its side files weigh."""

from pathlib import Path

from whet.core.target import Artifact


def test_side_files_of_the_same_stem_count(tmp_path: Path) -> None:
    for name, count in (("model.onnx", 10), ("model.data", 5), ("other.onnx", 100)):
        (tmp_path / name).write_bytes(b"0" * count)
    assert Artifact(tmp_path / "model.onnx", {}).size_bytes == 15
