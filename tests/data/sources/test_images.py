from __future__ import annotations

from pathlib import Path

import pytest
import torch
from own_files import write_digits
from sklearn.datasets import load_digits

from whet.core.errors import TaskError
from whet.data.sources import Options, understood


def test_pixels_and_classes_are_those_that_were_written(tmp_path: Path) -> None:
    data = understood(write_digits(tmp_path, 300))
    assert data.kind == "images by class" and data.classes == tuple(f"digit{n}" for n in range(10))
    assert [len(part) for part in data.parts.values()] == [240, 30, 30] and data.prepare is not None
    table = load_digits()
    wanted = {(im * 15.9375).astype("uint8").tobytes(): y for im, y in zip(table.images[:300], table.target)}
    for part in data.parts.values():
        pixels = part.inputs["pixel_values"][:]
        assert part.targets is not None and pixels.dtype == torch.uint8
        assert [wanted[one.numpy().tobytes()] for one in pixels] == part.targets.tolist()
    assert float(data.prepare(pixels).max()) <= 1.0


def test_given_splits_are_kept(tmp_path: Path) -> None:
    data = understood(write_digits(tmp_path, 90, ("train", "valid", "test")))
    assert [len(part) for part in data.parts.values()] == [30, 30, 30] and data.splits == "train, val, test as given"


def test_unreadable_images_are_counted_named_and_left_out_where_asked(tmp_path: Path) -> None:
    write_digits(tmp_path, 100)
    (tmp_path / "digit3" / "broken.png").write_bytes(b"not an image")
    whole = (tmp_path / "digit0" / "0.png").read_bytes()
    (tmp_path / "digit0" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TaskError, match=r"2 images cannot be used: .*cut.png .*broken.png \(no image\).*--skip-bad"):
        understood(tmp_path)
    data = understood(tmp_path, Options(skip_bad=True))
    assert sum(map(len, data.parts.values())) == 100 and "left out: 2 images" in data.notes[0]
