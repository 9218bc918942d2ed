from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from whet.core.errors import TaskError, UnknownNameError
from whet.data.sources import Options, understood
from whet.data.sources.arrays import placed

X, Y = np.arange(80, dtype=np.float32).reshape(40, 2), np.arange(40) % 2


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()} if path.suffix != ".npz" else {}
    if path.suffix == ".npz":
        np.savez(path, **arrays)  # type: ignore[arg-type]
    elif path.suffix == ".pt":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".safetensors"])
def test_x_and_y_stay_together_in_every_format(suffix: str, tmp_path: Path) -> None:
    data = understood(write(tmp_path / f"a{suffix}", {"x": X, "y": Y}))
    assert data.aim == "classes" and [len(part) for part in data.parts.values()] == [32, 4, 4]
    for part in data.parts.values():
        assert part.targets is not None
        assert torch.equal(part.targets, (part.inputs["x"][:][:, 0] / 2).long() % 2)


def test_names_tell_splits_and_several_inputs(tmp_path: Path) -> None:
    parts = {f"{name}_{split}": array for split in ("train", "val", "test") for name, array in (("x", X), ("y", Y))}
    given = understood(write(tmp_path / "a.npz", parts))
    assert list(given.parts) == ["train", "val", "test"] and given.splits.endswith("as given")
    assert torch.equal(given.parts["val"].inputs["x"][:], torch.from_numpy(X))
    both = understood(write(tmp_path / "b.npz", {"ids": Y, "mask": Y, "target": X}))
    assert list(both.parts["train"].inputs) == ["ids", "mask"] and both.aim == "numbers"
    assert (
        placed("x_train") == ("train", "x") and placed("X") == ("", "x") and placed("train_mask") == ("train", "mask")
    )


def test_a_single_array_has_no_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    data = understood(tmp_path / "a.npy")
    assert data.aim == "agreement" and all(part.targets is None for part in data.parts.values())
    torch.save((torch.from_numpy(X), torch.from_numpy(Y)), tmp_path / "pair.pt")
    assert understood(tmp_path / "pair.pt").aim == "classes"


def test_bytes_are_images_with_the_channels_first(tmp_path: Path) -> None:
    images = np.full((40, 6, 5, 3), 255, np.uint8)
    images[:, 0, 0, 0] = 0
    data = understood(write(tmp_path / "a.npz", {"x": images, "y": Y}))
    batch = data.parts["train"].inputs["x"][:2]
    assert batch.shape == (2, 3, 6, 5) and data.prepare is not None
    assert data.prepare(batch)[0, :, 0, 0].tolist() == [0, 1, 1]
    grey = understood(write(tmp_path / "b.npz", {"x": images[..., 1], "y": Y}), Options(mean=(1.0,), std=(0.5,)))
    batch = grey.parts["train"].inputs["x"][:2]
    assert batch.shape == (2, 1, 6, 5) and grey.prepare is not None and float(grey.prepare(batch).abs().max()) == 0


def test_numbers_are_scaled_where_asked_and_only_then(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", {"x": X, "y": Y})
    assert understood(path).prepare is None
    by = understood(path, Options(mean=(0.0, 1.0), std=(2.0, 2.0))).prepare
    assert by is not None and by(torch.tensor([[2.0, 5.0]])).tolist() == [[1, 2]]
    x = understood(path, Options(standardize=True)).parts["train"].inputs["x"][:]
    assert torch.allclose(x.mean(0), torch.zeros(2), atol=1e-5) and torch.allclose(
        x.std(0, correction=0), torch.ones(2)
    )


def test_labels_may_be_text_or_have_another_name(tmp_path: Path) -> None:
    names = np.array(["no", "yes"])[Y]
    assert understood(write(tmp_path / "a.npz", {"x": X, "answers": names}), Options("answers")).classes == (
        "no",
        "yes",
    )
    with pytest.raises(UnknownNameError, match="did you mean 'answers'"):
        understood(tmp_path / "a.npz", Options("answer"))
    with pytest.raises(TaskError, match="'answers' holds text"):
        understood(tmp_path / "a.npz")


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    for arrays, told in (
        ({"x": X, "y": Y[:7]}, "different numbers of rows: x 40, the labels 7"),
        ({"y": Y}, "labels and no inputs"),
        ({"x": X, "x_test": X}, "mixes arrays with and without a split"),
        ({"x_train": X, "x_val": X, "y_val": Y}, "train has no labels"),
        ({"x": np.float32(1.0)}, "no array with a row for each sample"),
    ):
        with pytest.raises(TaskError, match=told):
            understood(write(tmp_path / "a.npz", arrays))
    path = write(tmp_path / "b.npz", {"x": X})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TaskError, match=r"b.npz' is truncated"):
        understood(path)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    torch.save({"x": Options()}, tmp_path / "a.pt")
    with pytest.raises(TaskError, match="holds no plain arrays"):
        understood(tmp_path / "a.pt")
    np.save(tmp_path / "a.npy", np.array([Options()], object))
    with pytest.raises(TaskError, match="holds no plain arrays"):
        understood(tmp_path / "a.npy")


def test_boxes_beside_labels_are_targets_together(tmp_path: Path) -> None:
    corners = np.array([[[0, 0, 2, 2], [1, 1, 3, 4]], [[0, 0, 1, 1], [0, 0, 0, 0]]], np.float32)
    given = {"x_train": np.zeros((2, 3, 8, 8), np.float32), "boxes_train": corners, "labels_train": [[1, 0], [2, -1]]}
    given |= {"x_val": np.zeros((1, 3, 8, 8), np.float32), "boxes_val": corners[:1, :1], "labels_val": [[1]]}
    np.savez(tmp_path / "a.npz", **given)
    for options in (Options(), Options(metric="map", aim="boxes")):
        data = understood(tmp_path / "a.npz", options)
        assert data.aim == "boxes" and set(data.parts["train"].inputs) == {"x"}
        targets = data.parts["train"].targets
        assert targets is not None and targets[1].tolist() == [[0, 0, 1, 1, 2], [0, 0, 0, 0, -1]]
        assert data.parts["val"].targets is not None and data.parts["val"].targets.shape == (1, 1, 5)
    np.savez(tmp_path / "b.npz", x=np.zeros((2, 3)), y=[0, 1])
    with pytest.raises(UnknownNameError, match="array of boxes"):
        understood(tmp_path / "b.npz", Options(metric="map", aim="boxes"))
