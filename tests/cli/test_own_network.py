"""A user's own data and network on the command line, from a file to a task; to a front: test_own_fronts.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from own_files import write_digits, write_table, write_tokenizer, write_tones
from typer.testing import CliRunner

from whet.cli.main import app
from whet.cli.shared import network_of, recipe_for
from whet.core.errors import LiftError, MethodError, TargetError, TaskError
from whet.data.bind import bind
from whet.data.sources import Options
from whet.tasks.bundle import TensorBatches

NET = """
import torch
from torch import nn
def images():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)).eval()
def sounds():
    return nn.Sequential(nn.Conv1d(1, 4, 8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(100, 2)).eval()
def table():
    return nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 1)).eval()
def with_example():
    return table(), torch.randn(2, 10)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def own(network: str | None, data: str | None, **options: Any) -> tuple[Any, Any]:
    """Return the net and the task, bound to it."""
    net, bundle = network_of(None, network, Path(data) if data else None, lambda event: None, own=Options(**options))
    assert bundle.finds_recipe and recipe_for(bundle, {}) is None
    assert recipe_for(bundle, {"learning_rate": 0.1}).learning_rate == 0.1
    return net, bind(bundle.task, net)


def test_a_users_function_and_each_kind_of_data(folder: Path) -> None:
    write_digits(folder / "digits", 100)
    net, task = own("net.py:images", "digits")
    assert net.example[0].shape == (2, 1, 8, 8) and task.name == "digits" and task.metric_name == "accuracy"
    write_tones(folder / "tones")
    net, task = own("net.py:sounds", "tones", size=(1, 200))
    assert net.example[0].shape == (2, 1, 200) and task.metric_name == "accuracy"
    write_table(folder / "a.csv", "diabetes")
    net, task = own("net.py:table", "a.csv", target_column="target", metric="mae")
    assert net.example[0].shape == (2, 10) and task.metric_name == "mae" and task.direction == "min"
    assert own("net.py:with_example", "a.csv", target_column="target")[1].metric_name == "rmse"


def test_the_networks_own_size_counts_where_none_is_named(folder: Path) -> None:
    write_digits(folder / "digits", 100)
    batch = {0: torch.export.Dim("batch", min=1, max=4096)}
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 8 * 10, 10)).eval()
    torch.export.save(torch.export.export(module, (torch.randn(2, 3, 10, 12),), dynamic_shapes=(batch,)), "net.pt2")
    _, task = own("net.pt2", "digits")
    assert next(iter(task.val))[0][0].shape[1:] == (3, 10, 12), "grey images of 8x8 in its channels and size"
    (folder / "preprocessor_config.json").write_text('{"size": {"height": 8, "width": 8}}')
    with pytest.raises(TaskError, match=r"shape \(2, 1, 8, 8\); the network takes \(batch, 3, 10, 12\)"):
        own("net.pt2", "digits")


def test_an_exported_file_is_checked_against_the_data(folder: Path) -> None:
    write_table(folder / "a.csv", "diabetes")
    batch = {0: torch.export.Dim("batch", min=1, max=4096)}
    for features, name in ((10, "fits.pt2"), (9, "other.pt2")):
        program = torch.export.export(
            torch.nn.Linear(features, 1).eval(), (torch.randn(2, features),), dynamic_shapes=(batch,)
        )
        torch.export.save(program, name)
    _, task = own("fits.pt2", "a.csv", target_column="target")
    assert task.metric_name == "rmse" and task.glance > 50, "an untrained network misses by about the mean, 150"
    with pytest.raises(TaskError, match=r"has shape \(2, 10\); the network takes \(batch, 9\)"):
        own("other.pt2", "a.csv", target_column="target")
    with pytest.raises(LiftError, match=r"'net.py:images' does not take the data.*\(2, 10\).*Conv2d\(1, 4"):
        own("net.py:images", "a.csv", target_column="target")


def test_text_for_a_folder_in_hugging_faces_layout(folder: Path) -> None:
    import transformers as hf

    (folder / "a.txt").write_text("Tell me, O Muse, of that ingenious hero\n" * 50)
    hf.utils.logging.disable_progress_bar()
    config = hf.GPT2Config(
        vocab_size=64, n_embd=16, n_layer=1, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0
    )
    hf.GPT2LMHeadModel(config).save_pretrained(folder / "gpt")
    write_tokenizer(folder / "gpt" / "tokenizer.json")  # beside the network, so that nobody need name it
    net, task = own("gpt", "a.txt", size=(16,))
    assert task.metric_name == "perplexity" and [port.name for port in net.inputs] == ["input_ids"]
    assert 40 < task.glance < 90


def test_a_function_that_makes_a_task_and_made_up_inputs(folder: Path) -> None:
    (folder / "own.py").write_text(
        "import torch, whet\nx, y = torch.randn(8, 10), torch.randn(8, 1)\n"
        "def error(o, t):\n    return float((o - t).abs().mean())\n"
        "def make():\n    return whet.Task('mine', train=None, val=[(x, y)], metric=error)\n"
    )
    net, task = own("net.py:table", "own.py:make")
    assert task.name == "mine" and net.example[0].shape[1:] == (10,)
    net, task = own("net.py:with_example", None, synthetic=True)
    assert task.name == "synthetic" and task.train is None and "with the original" in task.quality_note
    with pytest.raises(LiftError, match="needs example inputs"):
        own("net.py:table", None, synthetic=True)


def test_one_of_whets_networks_is_trained_on_the_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHET_CACHE", str(folder / "cache"))
    monkeypatch.setattr("whet.tasks.own.PRETRAINING_SAMPLES", 10_000)
    write_table(folder / "a.csv")
    network = "mlp(features=30,outputs=2,width=16,hidden=16,blocks=1)"
    _, task = own(network, "a.csv", target_column="target", standardize=True)
    assert task.glance > 0.9 and len(list((folder / "cache").iterdir())) == 1
    assert isinstance(task.train.source, TensorBatches)
    own(network, "a.csv", target_column="target", standardize=True, split=(0.6, 0.2, 0.2))
    assert len(list((folder / "cache").iterdir())) == 2, "other training data, other weights"
    with pytest.raises(MethodError, match=r"'mlp' needs features: write \"mlp\(features=\.\.\.\)\""):
        own("mlp", "a.csv", target_column="target")


def test_options_of_own_data_need_own_data(folder: Path) -> None:
    with pytest.raises(TaskError, match="--target-column, --skip-bad: these are for your own data"):
        network_of("digits", None, None, print, own=Options("y", skip_bad=True))
    with pytest.raises(TaskError, match="which network"):
        own(None, "a.csv")
    with pytest.raises(TargetError, match="inputs of an ONNX file"):
        network_of(None, "net.py:table", Path("a.csv"), print, {"x": (1, 3)}, {}, Options())
    done = CliRunner().invoke(app, ["optimize", "net.py:table", "--data", "absent.csv", "--out", "r"])
    assert isinstance(done.exception, TaskError) and "data 'absent.csv' does not exist" in str(done.exception)
