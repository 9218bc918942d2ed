"""Small data sets and networks as users have them, written to a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from torch import Tensor, nn

from whet.data.sources import Options, understood

Sizes = dict[str, list[int | str]]

PLAY = "Tell me, O Muse, of that ingenious hero\nwho travelled far and wide\nafter he had sacked the famous town\n"


def write_digits(folder: Path, count: int = 200, splits: tuple[str, ...] = ("",)) -> Path:
    """Write handwritten digits as grey 8x8 images, in a folder for each digit, in turn below each split."""
    table = load_digits()
    for row in range(count):
        place = folder / splits[row % len(splits)] / f"digit{table.target[row]}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((table.images[row] * 15.9375).astype(np.uint8)).save(place / f"{row}.png")
    return folder


def write_table(path: Path, name: str = "cancer") -> Path:
    """Write one of scikit-learn's tables: `cancer` has two classes, `diabetes` numbers, in the column `target`."""
    frame = {"cancer": load_breast_cancer, "diabetes": load_diabetes}[name](as_frame=True).frame
    (frame.to_parquet if path.suffix == ".parquet" else frame.to_csv)(path, index=False)
    return path


def write_tones(folder: Path, each: int = 6, samples: int = 200, rate: int = 8000) -> Path:
    """Write tones of two pitches as 16-bit WAV files, those of a class in a folder."""
    from scipy.io import wavfile

    for name, pitch in (("high", 880), ("low", 220)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            wave = 0.5 * np.sin(2 * np.pi * pitch * np.arange(samples) / rate + number)
            wavfile.write(folder / name / f"{number}.wav", rate, (wave * 32767).astype(np.int16))
    return folder


def write_tokenizer(path: Path, text: str = PLAY) -> Path:
    """Write a tokenizer whose tokens are the characters of a text, in their order."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    characters = sorted(set(text))
    made = Tokenizer(models.WordLevel({c: n for n, c in enumerate(characters)}, unk_token=characters[0]))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.save(str(path))
    return path


def write_lines(path: Path, records: list[object]) -> Path:
    """Write JSON lines; text stays as it is."""
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records), encoding="utf-8")
    return path


def write_network(path: Path, sizes: Sizes, nodes: list[onnx.NodeProto], **weights: object) -> None:
    """Write an ONNX file whose inputs have these sizes; what the last node gives is its output."""
    kinds = {"ids": onnx.TensorProto.INT64, "sr": onnx.TensorProto.INT64}
    ends = [helper.make_tensor_value_info(n, kinds.get(n, onnx.TensorProto.FLOAT), s) for n, s in sizes.items()]
    results = [helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None) for node in nodes[-1:]]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, path.stem, ends, results, held)
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)


def write_digit_network(path: Path, neurons: int = 128) -> None:
    """Write a network for images of 8x8 that knows digits: a random layer, and one solved by least squares on it."""
    table, rng = load_digits(), np.random.default_rng(0)
    first = rng.normal(size=(64, neurons)).astype(np.float32) / 4
    features = np.maximum(table.data * (15.9375 / 255) @ first, 0)
    solved = np.linalg.solve(features.T @ features + 0.1 * np.eye(neurons), features.T @ np.eye(10)[table.target])
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "first"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]), helper.make_node("MatMul", ["active", "second"], ["digit"]),
    ]  # fmt: skip
    write_network(path, {"image": ["batch", 1, 8, 8]}, nodes, first=first, second=solved.astype(np.float32))


def knowing(path: str | Path, said: Options | None = None, neurons: int = 128) -> nn.Module:
    """Return a network that knows the training data at a path: a random layer, and one solved by least squares on it.

    It takes inputs of any shape (batch, ...).
    """
    data = understood(path, said)
    part = data.parts["train"]
    given, targets = next(iter(part.inputs.values()))[:], part.targets
    assert targets is not None
    inputs = (data.prepare(given) if data.prepare is not None else given).float().flatten(1)
    wanted = nn.functional.one_hot(targets).float() if data.aim == "classes" else targets.float().reshape(-1, 1)
    if data.aim == "boxes":  # the first of each picture, its score and its class
        wanted = torch.cat([targets[:, 0, :4], torch.ones(len(targets), 1), targets[:, 0, 4:]], 1)
    torch.manual_seed(0)
    first, last = nn.Linear(inputs.shape[1], neurons), nn.Linear(neurons, wanted.shape[1], bias=False)
    with torch.no_grad():
        first.weight.div_(inputs.std())
        hidden = first(inputs).relu()
        last.weight.copy_(solved(hidden, wanted).T)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), last).eval()


def solved(hidden: Tensor, wanted: Tensor) -> Tensor:
    """Return the least squares of `hidden` (rows, neurons) for `wanted` (rows, outputs), with a little ridge."""
    return torch.linalg.solve(hidden.T @ hidden + 0.1 * torch.eye(hidden.shape[1]), hidden.T @ wanted)
