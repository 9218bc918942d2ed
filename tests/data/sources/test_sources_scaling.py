from __future__ import annotations

import torch

from whet.data.sources.scaling import Scaled, standardized
from whet.data.sources.source import Part


def test_channels_are_scaled_each_by_its_own_numbers() -> None:
    images = torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
    scaled = Scaled((0.0, 0.5, 1.0), (1.0, 0.5, 2.0), 1 / 255)(images)
    assert torch.allclose(scaled[0, :, 0, 0], torch.tensor([1.0, 1.0, 0.0])) and scaled.shape == images.shape
    assert torch.equal(Scaled((1.0,), (2.0,))(torch.tensor([[3.0, 5.0]])), torch.tensor([[1.0, 2.0]]))


def test_columns_are_standardised_by_the_training_rows_alone() -> None:
    train = Part({"x": torch.tensor([[0.0, 7.0], [4.0, 7.0]])}, torch.tensor([10.0, 30.0]))
    val = Part({"x": torch.tensor([[2.0, 7.0], [6.0, 8.0]])}, torch.tensor([20.0, 40.0]))
    found = standardized({"train": train, "val": val}, targets=True)
    assert found["train"].inputs["x"][:].tolist() == [[-1, 0], [1, 0]]
    assert found["val"].inputs["x"][:].tolist() == [[0, 0], [2, 1]]  # a constant column is not divided by zero
    assert found["val"].targets is not None and found["val"].targets.tolist() == [0, 2]
    kept = standardized({"train": train, "val": val}, targets=False)["val"].targets
    assert kept is not None and kept.tolist() == [20, 40]
