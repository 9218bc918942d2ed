from __future__ import annotations

import json
from pathlib import Path

import pytest

from whet.core.errors import TaskError
from whet.data.sources.by_class import files_by_class, without
from whet.data.sources.source import Bad, Options


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_classes_are_numbered_by_name_in_every_split(tmp_path: Path) -> None:
    tree(tmp_path, "train/dog/1.png", "train/cat/2.png", "train/cat/3.png", "val/dog/4.png", ".cache/x/5.png")
    files = files_by_class(tmp_path, (".png",), Options(), "images")
    assert files.classes == ("cat", "dog") and set(files.paths) == {"train", "val"}
    assert files.labels["train"].tolist() == [0, 0, 1] and files.labels["val"].tolist() == [1]
    assert [path.name for path in files.paths["train"]] == ["2.png", "3.png", "1.png"]


def test_the_networks_own_numbers_of_classes_count(tmp_path: Path) -> None:
    tree(tmp_path, "data/cat/1.png", "data/dog/2.png")
    (tmp_path / "config.json").write_text(json.dumps({"label2id": {"dog": 0, "cat": 1}}))
    files = files_by_class(tmp_path / "data", (".png",), Options(beside=tmp_path), "images")
    assert files.classes == ("dog", "cat") and files.labels[""].tolist() == [0, 1]
    assert [path.name for path in files.paths[""]] == ["2.png", "1.png"] and "config.json" in files.notes[0]


def test_folders_without_classes_or_with_one_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, "flat/1.png", "flat/2.png", "one/cat/1.png", "nothing/cat/readme.md", "nothing/dog/x.png")
    with pytest.raises(TaskError, match=r"holds 2 images and no folder of a class: give each class a folder"):
        files_by_class(tmp_path / "flat", (".png",), Options(), "images")
    with pytest.raises(TaskError, match="a single class, 'cat'"):
        files_by_class(tmp_path / "one", (".png",), Options(), "images")


def test_other_files_are_named_and_may_be_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "cat/1.png", "cat/Thumbs.db", "dog/2.PNG")
    with pytest.raises(TaskError, match=r"1 files cannot be used: cat/Thumbs.db \(a .db\)"):
        files_by_class(tmp_path, (".png",), Options(), "images")
    files = files_by_class(tmp_path, (".png",), Options(skip_bad=True), "images")
    assert len(files.paths[""]) == 2 and "Thumbs.db" in files.notes[0]


def test_what_is_bad_goes_with_its_label(tmp_path: Path) -> None:
    tree(tmp_path, "cat/1.png", "cat/2.png", "dog/3.png")
    files = files_by_class(tmp_path, (".png",), Options(), "images")
    bad = Bad("images", {str(tmp_path / "cat/1.png"): "no image"})
    kept = without(files, bad, Options(skip_bad=True))
    assert [path.name for path in kept.paths[""]] == ["2.png", "3.png"] and kept.labels[""].tolist() == [0, 1]
