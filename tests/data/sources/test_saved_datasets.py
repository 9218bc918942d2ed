from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from own_files import write_digits, write_tokenizer

from whet.core.errors import TaskError, UnknownNameError
from whet.data.sources import Options, understood


def saved(made: Any, path: Path) -> Path:
    import datasets

    datasets.disable_progress_bars()
    made.save_to_disk(str(path))
    return path


def test_images_keep_the_numbers_of_their_classes(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image

    files = sorted(write_digits(tmp_path / "digits", 120).rglob("*.png"))
    names = [f"digit{n}" for n in (*range(9, -1, -1), 10)]  # not in order, and one that does not occur
    features = Features({"image": Image(), "label": ClassLabel(names=names)})
    columns = {"image": [str(f) for f in files], "label": [names.index(f.parent.name) for f in files]}
    every = Dataset.from_dict(columns, features=features)
    data = understood(saved(DatasetDict(every.train_test_split(60, seed=0)), tmp_path / "saved"))
    assert data.classes == tuple(names) and "halves" in data.splits
    assert [len(part) for part in data.parts.values()] == [60, 29, 31]
    by_folder = understood(tmp_path / "digits")
    known = {
        one.numpy().tobytes(): by_folder.classes[int(y)]
        for part in by_folder.parts.values()
        for one, y in zip(part.inputs["pixel_values"][:], part.targets, strict=True)  # type: ignore[arg-type]
    }
    part = data.parts["test"]
    assert part.targets is not None
    assert [known[one.numpy().tobytes()] for one in part.inputs["pixel_values"][:]] == [
        names[int(y)] for y in part.targets
    ]


def test_columns_of_numbers_and_of_text(tmp_path: Path) -> None:
    from datasets import Dataset

    rows = range(40)
    table = Dataset.from_dict(
        {"a": [n * 1.0 for n in rows], "b": [n * 2.0 for n in rows], "price": [n / 3 for n in rows]}
    )
    data = understood(saved(table, tmp_path / "table"), Options("price"))
    assert data.aim == "numbers" and data.parts["train"].inputs["x"][:].shape == (32, 2)
    with pytest.raises(UnknownNameError, match="did you mean 'price'"):
        understood(tmp_path / "table", Options("prize"))
    text = Dataset.from_dict({"text": ["Tell me" if n % 2 else "hero" for n in rows], "label": [n % 2 for n in rows]})
    options = Options(tokenizer=write_tokenizer(tmp_path / "tokenizer.json"), size=(8,))
    found = understood(saved(text, tmp_path / "text"), options)
    assert found.aim == "classes" and found.parts["val"].targets is not None
    assert torch.equal(found.parts["val"].inputs["attention_mask"][:].sum(1) == 7, found.parts["val"].targets == 1)


def test_what_is_cut_off_is_said(tmp_path: Path) -> None:
    from datasets import Dataset

    path = saved(Dataset.from_dict({"a": [1.0, 2.0]}), tmp_path / "table")
    (path / "state.json").write_text("{")
    with pytest.raises(TaskError, match="truncated or no data set on disk"):
        understood(path)
