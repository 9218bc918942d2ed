"""Which formats really run: layers of each kind in each format, the kernel that computes them, and what they gain."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whet.catalogue import make
from whet.core.errors import TargetError
from whet.core.net import Net
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.target import Artifact, Target
from whet.core.task import Task
from whet.graph.lift import lift
from whet.hardware.elsewhere import device_of, machine_of
from whet.hardware.executed import executed
from whet.hardware.measure import Latency, measure
from whet.hardware.targets import Settings, inputs_of, setting_name
from whet.support.files import write_text

SAMPLES = 4
SECONDS = 2.0
"""How long the formats of one layer are timed in one setting."""
DEPTH, SITE = 4, "layers.1"
"""How many layers follow one another, and the one whose kernel is told."""
FORMATS: dict[str, tuple[str, dict[str, Any]] | None] = {
    "float": None,
    "int8": ("quantize.static", {"network:int8": "all"}),
    "dynamic int8": ("quantize.dynamic", {"network:dynamic": "int8"}),
    "int8 weights": ("quantize.weight-only", {"network:weights": "int8"}),
    "int4 weights": ("quantize.weight-only", {"network:weights": "int4"}),
    "int4 weights in groups of 32": ("quantize.weight-only", {"network:weights": "int4 in groups of 32"}),
}
"""By name the pass, and its decision for a network of one layer, that stores a layer so."""


class Probe(nn.Module):
    """`DEPTH` layers of a kind in a row with activations between, and a small one that reads them.

    A layer alone would be judged by what converts its input and its result, which a network pays once for many.
    """

    def __init__(self, make: Callable[[], nn.Linear | nn.Conv2d]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(make() for _ in range(DEPTH))
        last = make()
        self.reader: nn.Module
        if isinstance(last, nn.Linear):
            self.reader = nn.Linear(last.out_features, 8)
        else:
            self.reader = nn.Conv2d(last.out_channels, 8, 1, stride=4)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the reader makes of x, `(batch, ...)`."""
        for layer in self.layers:
            x = torch.relu(layer(x))
        return torch.relu(self.reader(x))


LAYERS: dict[str, tuple[Callable[[], nn.Linear | nn.Conv2d], tuple[int, ...]]] = {
    "convolution 3x3, 64 channels, 16x16": (lambda: nn.Conv2d(64, 64, 3, padding=1), (64, 16, 16)),
    "convolution 1x1, 128 channels, 16x16": (lambda: nn.Conv2d(128, 128, 1), (128, 16, 16)),
    "depthwise 3x3, 128 channels, 16x16": (lambda: nn.Conv2d(128, 128, 3, padding=1, groups=128), (128, 16, 16)),
    "linear 512 to 512, one row": (lambda: nn.Linear(512, 512), (512,)),
    "linear 256 to 256, 64 rows": (lambda: nn.Linear(256, 256), (64, 256)),
}
"""By name what makes a layer, which keeps its input's shape, and the shape of a sample that it is tried on."""


@dataclass(frozen=True)
class Row:
    """A layer in a format under a setting: its kernel, what that multiplies, and how many times as fast as in floats.

    `ratio` is over the layer in floats in the same setting, with its quartiles. `fault` says why there is no figure.
    """

    layer: str
    format: str
    setting: str
    kernel: str = ""
    precision: str = ""
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    fault: str = ""


def table(target: Target, seconds: float = SECONDS) -> list[Row]:
    """Return every layer in every format under every setting of one thread, formats of a layer timed interleaved."""
    settings = [each for each in target.all_settings() if each["threads"] == 1]
    return [row for name in LAYERS for row in _rows(name, target, settings, seconds)]


def _rows(name: str, target: Target, settings: list[Settings], seconds: float) -> Iterator[Row]:
    torch.manual_seed(0)
    make_layer, shape = LAYERS[name]
    net = lift(Probe(make_layer).eval(), torch.randn(SAMPLES, *shape))
    with tempfile.TemporaryDirectory(prefix="whet-") as folder:
        files, faults = _files(net, target, Path(folder))
        for each in settings:
            raced, wrong = _raced(net, target, files, each, seconds)
            for form in FORMATS:
                row = Row(name, form, setting_name(each), fault=(faults | wrong).get(form, ""))
                yield row if row.fault else _found(row, files[form], each, raced[form], target)


def _found(row: Row, path: Path, settings: Settings, latency: Latency, target: Target) -> Row:
    timed = replace(row, ratio=latency.ratio, ratio_low=latency.ratio_low, ratio_high=latency.ratio_high)
    made = executed(path, settings, [SITE], machine=machine_of(target)).get(SITE)
    return timed if made is None else replace(timed, kernel=made.kernel, precision=made.precision)


def _files(net: Net, target: Target, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Write the layer in each format; return the files, and why there is none of others."""
    targets = torch.zeros(SAMPLES, dtype=torch.long)
    batches = [(net.example[0], targets)]
    run = Run(Task("kernels", batches, batches, nn.functional.cross_entropy, lambda y, t: 0.0), target, net)
    files: dict[str, Path] = {}
    faults: dict[str, str] = {}
    for form, way in FORMATS.items():
        small = net
        if way is not None:
            result = make(way[0], "pass").apply(net, Decision(way[1]), run)
            small = result.net
            if not result.changed:
                faults[form] = "; ".join(dict.fromkeys(result.skipped.values()))
                continue
        files[form] = target.save(small, folder / form.replace(" ", "-"))
    return files, faults


def _raced(
    net: Net, target: Target, files: dict[str, Path], settings: Settings, seconds: float
) -> tuple[dict[str, Latency], dict[str, str]]:
    """Time the formats of a layer interleaved; return what did not open beside."""
    calls, wrong = dict[str, Callable[[], object]](), dict[str, str]()
    for form, path in files.items():
        try:
            call = partial(target.open(Artifact(path, dict(settings)), 1), *inputs_of(net))
            call()
        except TargetError as error:
            wrong[form] = str(error)
            continue
        calls[form] = call
    return measure(calls, "float", seconds=seconds, burst_seconds=0.005), wrong


def known(target: Target, cache: Path, seconds: float = SECONDS, anew: bool = False) -> list[Row]:
    """Return the table of a target's device, from the file of its fingerprint in `cache` where that is there."""
    path = cache / f"kernels-{target.name.replace('/', '-')}-{device_of(target).id}.json"
    if path.exists() and not anew:
        return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    found = table(target, seconds)
    cache.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps([asdict(row) for row in found], indent=1))
    return found


def markdown(rows: list[Row]) -> str:
    """Return the rows as a table, a column a setting.

    >>> print(markdown([Row("linear", "int8", "openvino/f32/1", "brgemm_avx512_I8", "int8", 2.0, 1.9, 2.1)]))
    | layer | format | openvino/f32/1 |
    |---|---|---|
    | linear | int8 | int8, x2.00 (1.90-2.10), `brgemm_avx512_I8` |
    """
    settings = list(dict.fromkeys(row.setting for row in rows))
    lines = [f"| layer | format | {' | '.join(settings)} |", "|---" * (2 + len(settings)) + "|"]
    for layer, form in dict.fromkeys((row.layer, row.format) for row in rows):
        cells = {row.setting: said(row) for row in rows if (row.layer, row.format) == (layer, form)}
        lines.append(f"| {layer} | {form} | {' | '.join(cells.get(name, '') for name in settings)} |")
    return "\n".join(lines)


def said(row: Row) -> str:
    """Return what a cell says of a row: what is multiplied, the ratio with its quartiles, the kernel."""
    if row.fault or row.ratio is None:
        return row.fault
    kernel = f", `{row.kernel}`" if row.kernel else ""
    return f"{row.precision or 'unknown'}, x{row.ratio:.2f} ({row.ratio_low:.2f}-{row.ratio_high:.2f}){kernel}"
