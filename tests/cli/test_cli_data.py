"""`whet data PATH` tells what was understood, in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

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
    assert sum(val["classes"].values()) == counts["val"] and found["samples"] == ["digit0/0.png"]
    text = told(tmp_path / "digits")
    for word in ("images by class", "digit9", "pixel_values (", "accuracy", "seed 0", "sample: digit0/0.png"):
        assert word in text, word


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
