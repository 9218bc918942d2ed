"""`whet data PATH` tells what was understood, in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_files import write_digits, write_lines, write_table, write_tokenizer
from typer.testing import CliRunner

from whet.cli.main import app

PLAIN = [{"text": "Tell me, O Muse"}] * 60


def told(*words: object) -> str:
    done = CliRunner().invoke(app, ["data", *map(str, words)], env={"COLUMNS": "120"})
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_counts_shapes_classes_and_splits_of_images(tmp_path: Path) -> None:
    write_digits(tmp_path / "digits", 200)
    found = json.loads(told(tmp_path / "digits", "--json", "--split", "50/25/25"))
    assert found["kind"] == "images by class" and found["classes"] == [f"digit{n}" for n in range(10)]
    counts = {name: part["samples"] for name, part in found["splits"].items()}
    assert sum(counts.values()) == 200 and 95 <= counts["train"] <= 105 and "50/25/25 %" in found["made"]
    val = found["splits"]["val"]
    assert val["inputs"]["pixel_values"] == {"shape": [counts["val"], 1, 8, 8], "dtype": "float32"}
    assert sum(val["classes"].values()) == counts["val"] and found["samples"][0] == "digit0/0.png"
    assert [sample.partition("/")[0] for sample in found["samples"]] == ["digit0", "digit1", "digit2"]
    text = told(tmp_path / "digits")
    for word in (
        "images by class",
        "digit9",
        "pixel_values (",
        "accuracy",
        "seed 0",
        "sample: digit0/0.png",
        "values are x / 255\n",
    ):
        assert word in text, word
    assert text.count("as the network gets it: pixel_values 1x8x8, 0 to ") == 3 and "; class 'digit" in text


@pytest.mark.parametrize(
    ("arrays", "row"),
    [
        ({"x": np.full((40, 3), 2.0)}, "x 3, 2 to 2, mean 2"),
        ({"x": np.full((40, 3), 2.0), "y": np.full(40, 0.5) + np.arange(40)}, "x 3, 2 to 2, mean 2; target "),
        ({"a": np.zeros((40, 2)), "b": np.ones(40)}, "a 2, 0 to 0, mean 0; b a number, 1 to 1, mean 1"),
        ({"x": np.full((40, 2, 2), True)}, "x 2x2, 1 to 1, mean 1"),
    ],
)
def test_a_few_samples_of_arrays(tmp_path: Path, arrays: dict[str, np.ndarray[Any, Any]], row: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    assert told(tmp_path / "a.npz").count(f"as the network gets it: {row}") == 3


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [("0.5", "0.25", "(x / 255 - [0.5]) / [0.25]"), ("0", "0.5", "x / 255 / [0.5]"), ("0.5", "1", "(x / 255 - [0.5])")],
)
def test_what_is_done_to_values_is_said_and_no_more(tmp_path: Path, mean: str, std: str, words: str) -> None:
    write_digits(tmp_path / "digits", 40)
    assert f"values are {words}\n" in told(tmp_path / "digits", "--mean", mean, "--std", std)


def test_both_readings_of_text_and_the_goal_of_numbers(tmp_path: Path) -> None:
    path, tokenizer = write_lines(tmp_path / "a.jsonl", PLAIN), write_tokenizer(tmp_path / "tokenizer.json")
    text = told(path, "--tokenizer", tokenizer, "--size", "16")
    assert "quality is agreement" in text and "For a network that foretells tokens" in text and "perplexity" in text
    (tmp_path / "net.onnx").touch()
    assert "perplexity" in told(path, "--network", tmp_path / "net.onnx", "--size", "16"), "the tokenizer beside it"
    path = write_table(tmp_path / "a.csv", "diabetes")
    assert "mse, scored by rmse" in told(path, "--target-column", "target")


def test_the_batches_of_a_users_task(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import torch, whet\ndef make():\n"
        "    return whet.Task('mine', train=None, val=[(torch.zeros(4, 3), torch.zeros(4))])\n"
    )
    assert "val: 1 batches, the first is {0: (4, 3) float32, 1: (4,) float32}" in told(f"{tmp_path}/own.py:make")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "3xx4"], "--size '3xx4': give numbers such as 3x224x224"),
        (["--size", "0"], "sizes are whole numbers above 0"),
        (["--split", "80/20"], "give shares for train, val and test"),
        (["--std", "0"], "deviations are above 0"),
        (["--metric", "acuracy"], "did you mean 'accuracy'"),
        (["--loss", "rmse"], "unknown loss 'rmse'; did you mean 'mse'"),
    ],
)
def test_options_that_cannot_be_read(words: list[str], message: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["data", str(tmp_path), *words])
    assert message in str(done.exception)
