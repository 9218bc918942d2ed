"""Networks that scikit-learn trained, as `skl2onnx` writes them: the label comes first, in a domain of its own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skl2onnx import to_onnx
from sklearn.datasets import load_diabetes, load_digits
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale
from torch import nn

import whet

DIGITS, LABELS = load_digits(return_X_y=True)
MEASURED, PROGRESS = map(scale, load_diabetes(return_X_y=True))
PIXELS, SHORT = DIGITS / 16, {"max_iter": 20, "random_state": 0}
TRAINED: dict[str, tuple[Any, tuple[Any, Any]]] = {
    "ten classes": (MLPClassifier((32, 16), **SHORT), (PIXELS, LABELS)),
    "two classes": (MLPClassifier((16,), **SHORT), (PIXELS, LABELS % 2)),
    "tanh": (MLPClassifier((16,), "tanh", **SHORT), (PIXELS, LABELS)),
    "logistic": (MLPClassifier((16,), "logistic", **SHORT), (PIXELS, LABELS)),
    "regression": (MLPRegressor(hidden_layer_sizes=(24, 24), **SHORT), (MEASURED, PROGRESS)),
    "two targets": (MLPRegressor(hidden_layer_sizes=(24,), **SHORT), (MEASURED[:, :8], MEASURED[:, 8:])),
}


def written(model: Any, x: Any, path: Path, **options: Any) -> Path:
    path.write_bytes(to_onnx(model, x[:1], **options).SerializeToString())
    return path


def fitted(name: str) -> tuple[Any, Any]:
    """Return a trained model and its inputs."""
    model, (inputs, targets) = TRAINED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(inputs, targets)
    return model, inputs.astype(np.float32)


@pytest.mark.parametrize("name", TRAINED)
def test_what_scikit_learn_trained_gives_the_same_as_a_net(name: str, tmp_path: Path) -> None:
    model, x = fitted(name)
    net = whet.lift(written(model, x, tmp_path / "model.onnx"))
    with torch.no_grad():
        found = net(torch.from_numpy(x)).numpy()
    wanted = model.predict_proba(x) if hasattr(model, "classes_") else model.predict(x).reshape(found.shape)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert sum(isinstance(layer, nn.Linear) for layer in net.layers().values()) == model.n_layers_ - 1


def test_probabilities_are_the_same_whether_they_go_out_as_a_tensor_or_as_maps(tmp_path: Path) -> None:
    model, x = fitted("two classes")
    maps = whet.lift(written(model, x, tmp_path / "maps.onnx"))
    plain = whet.lift(written(model, x, tmp_path / "plain.onnx", options={"zipmap": False}))
    with torch.no_grad():
        assert torch.equal(maps(torch.from_numpy(x)), plain(torch.from_numpy(x)))
