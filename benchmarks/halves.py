"""A search beside what anyone would do by hand: every width halved, and trained for as long as the search takes.

    python benchmarks/halves.py --seconds 60 --runs 3
    python benchmarks/halves.py --work speech --seconds 300

Five networks of different kinds on made-up data, each trained here in seconds with a recipe of its own: `speech`,
convolutions and a GRU; `encoder`, a transformer with layer norms; `images`, convolutions with batch norms, trained with
SGD; `regression`, a perceptron; `embedding`, which has no labels. The half has the given recipe, distillation from the
original and channels chosen by weight norm; the search finds its recipe itself. Both files are raced against the
uncompressed network in every setting of any runtime, in one race, and scored on validation data from the file in the
setting that is raced.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import whet
from whet.bench.results import commit, origin, write_result
from whet.compress.width import Width
from whet.core.net import Net
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.target import Artifact
from whet.core.task import Task
from whet.data.bind import bind
from whet.flow.quantities import parse, resolved
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.onnx_export import export_onnx
from whet.hardware.race import alike, race, uncompressed
from whet.hardware.targets import every_setting
from whet.tasks.bundle import TensorBatches
from whet.tasks.uci import root_mean_squared_error
from whet.testing import speech
from whet.testing.speech import CLASSES, SpeechNet
from whet.train.fit import fit
from whet.train.recipe import Recipe
from whet.verify.equivalence import evaluate

FREQUENCIES, FRAMES = 16, 40
RACE_SECONDS = 1.0


@dataclass(frozen=True)
class Work:
    """A trained network, what it is trained on, and how."""

    net: Net
    task: Task
    recipe: Recipe


@dataclass(frozen=True)
class Row:
    """What the search and the half give: speed-ups over the uncompressed network, qualities from the files.

    `speedup_high` and `half_speedup_low` are quartiles over the rounds of the race.
    """

    work: str
    run: int
    metric: str
    reference: float
    speedup: float
    quality: float
    within: bool
    half_speedup: float
    half_quality: float
    half_within: bool
    speedup_high: float
    half_speedup_low: float

    @property
    def behind(self) -> bool:
        """Whether the half is within the limit and faster than the search's file, by more than the race's spread.

        Where the search ends with the same widths, which of two equal files is ahead is chance.
        """
        return self.half_within and (not self.within or self.speedup_high < self.half_speedup_low)


# -- the networks ------------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    def __init__(self, width: int = 96, layers: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(FREQUENCIES, width)
        self.place = nn.Parameter(0.1 * torch.randn(FRAMES, width))
        layer = partial(nn.TransformerEncoderLayer, width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.ModuleList(layer() for _ in range(layers))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.transpose(1, 2)) + self.place
        for layer in self.layers:
            x = layer(x)
        return torch.as_tensor(self.out(self.norm(x.mean(1))))


def images() -> nn.Module:
    """Return plain convolutions with batch norms over spectra as pictures."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, FREQUENCIES))]
    for inputs, outputs, stride in ((1, 32, 1), (32, 48, 2), (48, 64, 1), (64, 64, 2)):
        convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES))


def perceptron(inputs: int, outputs: int, width: int = 256) -> nn.Module:
    hidden = [part for _ in range(3) for part in (nn.Linear(width, width), nn.LayerNorm(width), nn.GELU())]
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), *hidden, nn.Linear(width, outputs))


class Embedding(nn.Module):
    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(FREQUENCIES, width, 5, 2, 2), nn.Conv1d(width, 2 * width, 5, 2, 2)
        self.out = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, 32))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return functional.normalize(self.out(x.mean(2)), dim=1)


# -- their data ----------------------------------------------------------------------------------------------------


spectra = partial(speech.spectra, frequencies=FREQUENCIES, frames=FRAMES, noise=1.0)


def table(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return rows of 12 numbers and two smooth functions of them, with noise."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 12, generator=generator)
    y = torch.stack([torch.sin(x[:, 0] * x[:, 1]) + x[:, 2] * x[:, 3].abs(), (x[:, 4:8] * x[:, 8:]).sum(1).tanh()], 1)
    return x, y + 0.1 * torch.randn(count, 2, generator=generator)


ADAMW = Recipe("adamw", 2e-3, weight_decay=0.01, distillation=0.0, precision="f32")
SGD = Recipe("sgd", 0.05, distillation=0.0, precision="f32")


def trained(name: str, module: nn.Module, recipe: Recipe, data: Callable[[int, int], Any], epochs: float) -> Work:
    """Train a network from scratch and return it with its task."""
    (x, y), (others, targets_of) = data(4096, 0), data(1024, 1)
    shared = {"calibration": TensorBatches(x[:512], y[:512], 64)}
    train, val = TensorBatches(x, y, 32, shuffle=True), TensorBatches(others, targets_of, 256)
    if data is table:
        task = Task(
            name, train, val, functional.mse_loss, root_mean_squared_error, metric_name="RMSE", direction="min",
            drop="relative", **shared,
        )  # fmt: skip
    else:
        task = Task(name, train, val, functional.cross_entropy, whet.accuracy, **shared)
    fit(module, task, recipe=recipe, epochs=epochs)
    return Work(whet.lift(module.eval(), (x[:2],), name=name), task, recipe)


def embedding() -> Work:
    """Return a network trained to tell classes by the angle between vectors, with data that have no labels."""
    torch.manual_seed(0)
    (x, y), (others, _) = spectra(4096, 0), spectra(1024, 1)
    module, centres = Embedding(), functional.normalize(torch.randn(CLASSES, 32), dim=1)
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3)
    for epoch in range(4):
        for rows in torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch)).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(8 * module(x[rows]) @ centres.T, y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    data = {"train": x.split(32), "val": others.split(256), "calibration": x[:512].split(64)}
    given = {part: [(batch,) for batch in batches] for part, batches in data.items()}
    return Work(whet.lift(module.eval(), (x[:2],), name="embedding"), Task("embedding", **given), ADAMW)  # type: ignore[arg-type]


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return build()


WORKS: dict[str, Callable[[], Work]] = {
    "speech": lambda: trained("speech", seeded(partial(SpeechNet, FREQUENCIES, 96, 192)), ADAMW, spectra, 3),
    "encoder": lambda: trained("encoder", seeded(Encoder), ADAMW, spectra, 3),
    "images": lambda: trained("images", seeded(images), SGD, spectra, 3),
    "regression": lambda: trained("regression", seeded(partial(perceptron, 12, 2)), ADAMW, table, 10),
    "embedding": embedding,
}


# -- search and half -------------------------------------------------------------------------------------------------


def halved(work: Work, task: Task, target: Any, seconds: float, folder: Path) -> Path:
    """Write the network with every width halved by weight norm and trained for so long."""
    width = Width((0.5, 1.0), "weight_norm", "network")
    run = Run(task, target, work.net)
    decision = Decision({c.name: 0.5 for c in width.space(work.net, target)})
    net = width.apply(work.net, decision, run).net
    recipe = Recipe(**{**asdict(work.recipe), "distillation": 0.5})
    fit(net, task, teacher=work.net, recipe=recipe, seconds=seconds)
    return export_onnx(net.eval(), folder / "half.onnx")


def compared(name: str, work: Work, seconds: float, max_drop: str, run: int = 0) -> Row:
    """Search for so many seconds, train the half for as long, race both."""
    target = targets.get("cpu")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        front = whet.optimize(
            work.net, work.task, max_drop=max_drop, budget=f"{seconds:g}s", out=out / "run", seed=run,
            progress=lambda event: None,
        )  # fmt: skip
        task = bind(work.task, work.net)
        half = halved(work, task, target, seconds, out)
        found = front.fastest()
        assert found is not None
        mine = out / "run" / found.path
        files = {
            **uncompressed(out / "run" / "uncompressed" / "model.onnx"),
            "whet": (mine, alike(target, found.settings)), "half": (half, every_setting()),
        }  # fmt: skip
        inputs = [port.outside(x[:1]).numpy() for port, x in zip(work.net.inputs, work.net.example, strict=True)]
        raced = race(target, inputs, files, ["bar"], RACE_SECONDS)
        qualities = {n: scored(work.net, task, target, files[n][0], raced.settings[n]) for n in ("whet", "half")}
    most = resolved(parse(max_drop), front.reference, task) or 0.0
    within = {n: task.loss_of_quality(q, front.reference) <= most for n, q in qualities.items()}
    speeds = raced.latencies
    return Row(
        name, run, task.metric_name, front.reference, speeds["whet"].ratio, qualities["whet"], within["whet"],
        speeds["half"].ratio, qualities["half"], within["half"], speeds["whet"].ratio_high, speeds["half"].ratio_low,
    )  # fmt: skip


def scored(net: Net, task: Task, target: Any, path: Path, settings: dict[str, Any]) -> float:
    """Return a file's quality on the validation data, in its runtime and setting."""
    return task.score(*evaluate(partial(target.open, Artifact(path, settings)), task.val, 64, net))


def markdown(table: dict[str, Any]) -> str:
    """Return the table for people, with the median ratio of each network's runs."""
    rows = [Row(**r) for r in table["rows"]]
    lines = [
        f"### {table['seconds']:g} s of search beside half of every width, trained for {table['seconds']:g} s; "
        f"at most {table['max_drop']} worse",
        "",
        "| network | run | search | quality | half | quality | original |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        both = (r.speedup, r.quality, r.within), (r.half_speedup, r.half_quality, r.half_within)
        cells = [f"x{speed:.2f} | {quality:.4f}{'' if within else ' (beyond)'}" for speed, quality, within in both]
        lines.append(f"| {r.work} | {r.run} | {cells[0]} | {cells[1]} | {r.reference:.4f} ({r.metric}) |")
    works = dict.fromkeys(r.work for r in rows)
    ratios = {work: median(r.speedup / r.half_speedup for r in rows if r.work == work) for work in works}
    said = "; ".join(f"{work} {ratio:.2f}" for work, ratio in ratios.items())
    behind = sum(r.behind for r in rows)
    lines += ["", f"Median speed ratios of search to half: {said}."]
    lines += [f"Behind the half by more than the race's spread: {behind} of {len(rows)} runs."]
    return "\n".join([*lines, "", origin({**table, "commit": commit()}), ""])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", action="append", choices=WORKS, help="all by default")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--max-drop", default="1%")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args(arguments)
    found: list[Row] = []
    for name in asked.work or WORKS:
        work = WORKS[name]()
        for run in range(asked.runs):
            found.append(compared(name, work, asked.seconds, asked.max_drop, run))
            print(found[-1], flush=True)
            table = {
                "rows": [asdict(row) for row in found], "seconds": asked.seconds, "max_drop": asked.max_drop,
                "device": fingerprint().to_dict(),
            }  # fmt: skip
            write_result(asked.out / f"halves-{asked.seconds:g}s", table, markdown(table))


if __name__ == "__main__":
    sys.exit(main())
