"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from whet.support.files import part_of, whole, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "results" / "table.json"
    with whole(path) as part:
        part.write_text("old")
    with pytest.raises(OSError, match="full"), whole(path) as part:
        part.write_text("ne")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_the_temporary_file_has_the_suffix_that_writers_go_by(tmp_path: Path) -> None:
    with whole(tmp_path / "model.onnx") as part:
        assert part.suffix == ".onnx" and part.parent == tmp_path
        part.touch()


def test_text_is_written_whole_in_utf_8_beside_a_hidden_part(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "page.md", "über")
    assert (tmp_path / "new" / "page.md").read_bytes() == "über".encode()
    assert part_of(Path("a/b.c.txt")) == Path("a/.b.c.part.txt")
