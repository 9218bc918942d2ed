"""Files of other tools: `python tests/onnx_reader/other_cases.py` writes their table to docs/onnx.md."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx_page as page
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from skl2onnx import to_onnx
from sklearn.datasets import load_diabetes, load_digits
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale
from torch import Tensor, nn

import whet
from whet.core.net import Net
from whet.graph.axes import analyze
from whet.hardware.onnx_export import export_onnx
from whet.networks.resnet import resnet
from whet.onnx_reader import read

# -- scikit-learn --------------------------------------------------------------------------------------------------

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


def model_difference(net: Net, model: Any, x: Any) -> float:
    """Return the largest difference of a net's outputs to a model's, relative to the largest of them."""
    with torch.no_grad():
        found = net(torch.from_numpy(x)).numpy()
    wanted = model.predict_proba(x) if hasattr(model, "classes_") else model.predict(x).reshape(found.shape)
    return float("inf") if found.shape != wanted.shape else float(np.abs(found - wanted).max() / np.abs(wanted).max())


def twin(model: Any) -> Net:
    """Return a network of a model's layers as torch code has them."""
    sizes = [weights.shape for weights in model.coefs_]
    kind = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid}[model.activation]
    layers = [layer for size in sizes for layer in (nn.Linear(*size), kind())]
    return whet.lift(nn.Sequential(*layers[:-1]), torch.randn(2, sizes[0][0]))


def linear_layers(net: Net) -> int:
    return sum(isinstance(layer, nn.Linear) for layer in net.layers().values())


# -- ONNX Runtime's quantized files --------------------------------------------------------------------------------

FORMS = {"QDQ": QuantFormat.QDQ, "operators": QuantFormat.QOperator}
ACTIVATIONS = {"uint8 activations, per channel": (QuantType.QUInt8, True), "int8 activations": (QuantType.QInt8, False)}


class Batches(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        generator = torch.Generator().manual_seed(1)
        self.left = [{name: torch.randn(2, 3, 32, 32, generator=generator).numpy()} for _ in range(8)]

    def get_next(self) -> Any:
        return self.left.pop() if self.left else None


@cache
def in_float() -> tuple[bytes, Net]:
    """Return the file of a ResNet-20, and the network that is read from it: its norms are folded."""
    torch.manual_seed(0)
    module = resnet(20).eval()
    with tempfile.TemporaryDirectory() as folder:
        file = export_onnx(whet.lift(module, torch.randn(2, 3, 32, 32)), Path(folder) / "float.onnx")
        return file.read_bytes(), whet.lift(file)


def quantized(folder: Path, form: Any, activation: Any, per_channel: bool) -> tuple[Path, Net]:
    """Return a ResNet-20 that ONNX Runtime quantised, and its float network with folded norms."""
    file, net = in_float()
    source, path = folder / "float.onnx", folder / "int8.onnx"
    source.write_bytes(file)
    name = onnxruntime.InferenceSession(str(source)).get_inputs()[0].name
    with contextlib.redirect_stdout(io.StringIO()):
        quantize_static(
            source, path, Batches(name), quant_format=form, activation_type=activation, weight_type=QuantType.QInt8,
            per_channel=per_channel,
        )  # fmt: skip
    return path, net


def weighted(net: Net) -> dict[str, nn.Module]:
    return {n: m for n, m in net.layers().items() if isinstance(m, nn.Conv2d | nn.Linear)}


def steps_off(net: Net, source: Net, quantization: dict[str, Any]) -> dict[str, float]:
    """Return by layer how far the stored weights are from the source's at most, in steps of their integers."""
    found: dict[str, float] = {}
    for (name, stored), layer in zip(weighted(net).items(), weighted(source).values(), strict=True):
        weight: Tensor = stored.weight  # type: ignore[assignment]
        size = np.asarray(quantization[f"{name}.weight"].scale, np.float32)
        step = torch.from_numpy(size.reshape(-1, *[1] * (weight.dim() - 1)))
        found[name] = float(((weight - layer.weight).detach().abs() / step).max())
    return found


def activations(quantization: dict[str, Any]) -> int:
    return sum(not key.endswith((".weight", ".bias")) for key in quantization)


# -- the table -----------------------------------------------------------------------------------------------------


def trained_row(name: str, folder: Path) -> str:
    model, x = fitted(name)
    net = whet.lift(written(model, x, folder / "trained.onnx"))
    error = model_difference(net, model, x)
    same = "same outputs" if error <= 1e-5 else f"**differs by {error:.0e}**"
    read_as = f"{linear_layers(net)} linear layers"
    return f"| scikit-learn MLP by skl2onnx, {name} | {read_as}, {same} | {analyze(net).cuttable_share:.0%} |"


def quantized_row(form: str, activation: str, folder: Path) -> str:
    path, source = quantized(folder, FORMS[form], *ACTIVATIONS[activation])
    module, _ = read(path)
    net = whet.lift(path)
    off = max(steps_off(net, source, module.quantization).values())
    kept = f"float weights within {off:.2f} steps, {activations(module.quantization)} activations' scales"
    return f"| ResNet-20 by `quantize_static`, {form}, {activation} | {kept} | {analyze(net).cuttable_share:.0%} |"


def table(folder: Path) -> str:
    lines = ["| file | read as | cuttable |", "|---|---|---|"]
    lines += [trained_row(name, folder) for name in TRAINED]
    lines += [quantized_row(form, activation, folder) for form in FORMS for activation in ACTIVATIONS]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        page.write("others", table(Path(place)))
