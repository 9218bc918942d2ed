from __future__ import annotations

from pathlib import Path

import pytest
import torch
from own_files import PLAY, write_lines, write_tokenizer

from whet.core.errors import TaskError, UnknownNameError
from whet.data.sources import Options, understood


def options(folder: Path, **more: object) -> Options:
    return Options(tokenizer=write_tokenizer(folder / "tokenizer.json"), **{"size": (16,), **more})  # type: ignore[arg-type]


def play(path: Path, times: int = 30) -> Path:
    path.write_text(PLAY * times, encoding="utf-8")
    return path


def test_windows_follow_the_text_and_targets_are_one_token_later(tmp_path: Path) -> None:
    data = understood(play(tmp_path / "a.txt"), options(tmp_path)).next_token
    characters = sorted(set(PLAY))
    assert data is not None and data.aim == "tokens" and data.vocabulary == len(characters)
    text = "".join(characters[n] for n in data.parts["train"].inputs["input_ids"][:].flatten())
    assert (PLAY * 30).startswith(text) and len(text) > 0.78 * len(PLAY * 30)
    for part in data.parts.values():
        inputs, targets = part.inputs["input_ids"][:], part.targets
        assert targets is not None and torch.equal(inputs[:, 1:], targets[:, :-1]) and inputs.shape[1] == 16
    last = "".join(characters[n] for n in data.parts["test"].targets[-1])  # type: ignore[index]
    assert last in PLAY * 2 and "order of the text" in data.splits


def test_lines_are_cut_or_filled_up_with_a_mask(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join(["Tell", "", "of that ingenious hero"] * 10))
    data = understood(path, options(tmp_path, size=(6,)))
    assert data.aim == "agreement" and sum(map(len, data.parts.values())) == 20, "empty lines are no samples"
    part = data.parts["train"]
    lengths = part.inputs["attention_mask"][:].sum(1)
    assert sorted(set(lengths.tolist())) == [4, 6] and part.inputs["input_ids"][:].shape[1] == 6
    codes = part.inputs["input_ids"][:][lengths == 4][0]
    assert "".join(sorted(set(PLAY))[n] for n in codes[:4]) == "Tell"


def test_labelled_objects_are_classes(tmp_path: Path) -> None:
    records = [{"text": "Tell me" if n % 2 else "hero", "label": "long" if n % 2 else "short"} for n in range(40)]
    data = understood(write_lines(tmp_path / "a.jsonl", records), options(tmp_path))
    assert data.classes == ("long", "short") and data.next_token is None
    for part in data.parts.values():
        assert part.targets is not None
        assert torch.equal(part.inputs["attention_mask"][:].sum(1) == 4, part.targets == 1)


def test_broken_objects_are_named_and_left_out_where_asked(tmp_path: Path) -> None:
    good = [{"text": "Tell me", "label": n % 2} for n in range(20)]
    path = write_lines(tmp_path / "a.jsonl", [*good, "{", "[1]", {"text": "hero"}])
    with pytest.raises(TaskError, match=r"3 lines .*line 21 \(no JSON.*line 22 \(no JSON object but list\)"):
        understood(path, options(tmp_path))
    data = understood(path, options(tmp_path, skip_bad=True))
    assert sum(map(len, data.parts.values())) == 20
    with pytest.raises(UnknownNameError, match="unknown field 'lable'; did you mean 'label'"):
        understood(path, options(tmp_path, skip_bad=True, target_column="lable"))
    several = write_lines(tmp_path / "b.jsonl", [{"title": "a", "body": "b"}])
    with pytest.raises(TaskError, match=r"which field is the text.*title, body"):
        understood(several, options(tmp_path))


def test_a_tokenizer_is_needed_and_may_lie_beside_the_network(tmp_path: Path) -> None:
    path = play(tmp_path / "a.txt")
    with pytest.raises(TaskError, match="text needs a tokenizer: give --tokenizer"):
        understood(path)
    with pytest.raises(TaskError, match=r"absent.json' does not exist"):
        understood(path, Options(tokenizer=tmp_path / "absent.json"))
    with pytest.raises(TaskError, match="is no tokenizer"):
        understood(path, Options(tokenizer=path))
    write_tokenizer(tmp_path / "tokenizer.json")
    assert understood(path, Options(beside=tmp_path)).vocabulary == len(set(PLAY))


def test_files_of_splits_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    for name in ("train", "val", "test"):
        play(folder / f"{name}.txt", 10)
    data = understood(folder, options(tmp_path))
    assert data.splits == "train, val, test as given" and data.next_token is not None
    assert data.next_token.splits == "train, val, test as given"
    assert {len(part) for part in data.next_token.parts.values()} == {(len(PLAY) * 10 - 1) // 16}


def test_text_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TaskError, match="no UTF-8 text"):
        understood(tmp_path / "a.txt", options(tmp_path))
    (tmp_path / "a.txt").write_text("\n\n")
    with pytest.raises(TaskError, match="holds no text"):
        understood(tmp_path / "a.txt", options(tmp_path))
