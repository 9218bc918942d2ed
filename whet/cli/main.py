"""The `whet` command.

Exit codes: 0 done; 1 nothing within the limits is faster than the uncompressed network, which is delivered as it is;
2 wrong use; 3 an unexpected error, whose traceback is in the file that is named; 130 interrupted before there was
anything.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from whet import catalogue, references
from whet.cli.again import Again, again
from whet.cli.agent import agent
from whet.cli.bench import bench
from whet.cli.check import check
from whet.cli.compare import compare
from whet.cli.compress import FORWARDS, compress
from whet.cli.config import Config, Effort, recordable
from whet.cli.data import data
from whet.cli.device import DeviceWait, TokenFile, device, use_device
from whet.cli.eval import evaluate
from whet.cli.kernels import show_kernels
from whet.cli.own import takes_data
from whet.cli.pack import pack, unpack
from whet.cli.root import HELP, root
from whet.cli.serve_check import serve_check
from whet.cli.shared import (
    Batch,
    Data,
    Fixed,
    Json,
    NetworkArgument,
    Passes,
    Recipe,
    Shapes,
    Target,
    Task,
    Threads,
    crash_log,
    network_of,
    out_folder,
    recipe_for,
    recipe_options,
    shapes_of,
    values_of,
)  # fmt: skip
from whet.core.checks import positive, whole
from whet.core.errors import WhetError
from whet.core.objectives import Objectives
from whet.flow.failures import reason
from whet.support.source import described
from whet.words import listed

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, context_settings=HELP)
app.callback(help=__doc__)(root)
app.add_typer(bench, name="bench")
app.add_typer(device, name="device")
app.add_typer(agent, name="agent")
app.command(name="data")(data)
WIDE = 160
"""From how many columns of the terminal on the list of methods has all that is known."""


@app.command()
@takes_data
def optimize(
    context: typer.Context,
    network: NetworkArgument = None,
    task: Task = None,
    data: Data = None,
    target: Target = "cpu",
    max_drop: Annotated[str, typer.Option(help="The quality that may be lost, e.g. 1%.")] = "1%",
    max_size: Annotated[str | None, typer.Option(help="What a file may take on disk, e.g. 500kB.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="What a process that serves a file may hold.")] = None,
    min_speedup: Annotated[float, typer.Option(help="Ratio to the fastest uncompressed setting.")] = 0.0,
    objectives: Annotated[str, typer.Option("--optimize", help="speed, size, memory or several: a,b.")] = "speed",
    threads: Threads = None,
    batch: Batch = 1,
    budget: Annotated[str, typer.Option(help="Wall-clock time, e.g. 90s, 15min.")] = "15min",
    effort: Effort = None,
    epochs: Annotated[float | None, typer.Option(help="Limit training to so many epochs, instead of time.")] = None,
    trials: Annotated[int | None, typer.Option(help="Explore at most this many candidates.")] = None,
    strategy: Annotated[str, typer.Option(help="What proposes candidates: NAME(option=value).")] = "improvement",
    passes: Passes = None,
    recipe: Recipe = None,
    elastic: Annotated[bool, typer.Option("--elastic", help="Train all candidates at once, as a supernet.")] = False,
    training: Annotated[bool, typer.Option("--training/--no-training", help="Or just solve and quantize.")] = True,
    out: Annotated[Path, typer.Option(help="Where the study, the front and the report go.")] = Path("runs/whet"),
    seed: int = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew instead of resuming.")] = False,
    workers: Annotated[str | None, typer.Option(help="Who trains: 4, so many here; ray://HOST:10001.")] = None,
    storage: Annotated[str | None, typer.Option(help="The study's: postgresql://..., grpc://HOST:PORT.")] = None,
    also: Annotated[str | None, typer.Option(help="A format beside ONNX: openvino-ir.")] = None,
    shape: Shapes = None,
    fix: Fixed = None,
    again: Again = None,
    config: Config = None,
    token_file: TokenFile = None,
    device_wait: DeviceWait = None,
    as_json: Json = False,
    own: Any = None,
) -> None:
    """Search, train and measure smaller versions of a network; deliver a Pareto front of files."""
    from whet.flow.optimize import check_words
    from whet.flow.optimize import optimize as run
    from whet.flow.quantities import size_bytes, wanted_of
    from whet.report.console import LiveProgress, front_table
    from whet.verdict.also import formats_of

    use_device(token_file, device_wait)
    wanted = wanted_of(objectives)
    named = None if passes is None else tuple(listed(passes))
    check_words(target, max_drop, budget, strategy, named or (), trials, epochs, seed, workers, storage)
    Objectives(wanted, min_speedup, size_bytes(max_size), size_bytes(max_memory, "max_memory"))
    formats = formats_of(also)
    training_options = recipe_options(recipe)
    out = out_folder(out)
    with LiveProgress(quiet=as_json) as progress:
        net, bundle = network_of(task, network, data, progress, shapes_of(shape), values_of(fix), own)
        front = run(
            net, bundle.task, target=target, max_drop=max_drop, budget=budget, epochs=epochs, out=out, trials=trials,
            strategy=strategy, passes=named, seed=seed, restart=restart,
            elastic=elastic, training=training, progress=progress, recipe=recipe_for(bundle, training_options),
            max_size=max_size, max_memory=max_memory, min_speedup=min_speedup, objectives=wanted,
            threads=threads, batch=batch, again=again, options=recordable(context.params), workers=workers,
            storage=storage, also=formats,
        )  # fmt: skip
    if as_json:
        print(json.dumps(front.to_dict()))
    else:
        console = Console()
        console.print(front_table(front.to_dict()))
        console.print(front.conclusion)
        console.print(f"Report: {front.report}", soft_wrap=True)
    raise typer.Exit(0 if front.met else 1)


@app.command()
@takes_data
def measure(
    network: NetworkArgument = None,
    other: Annotated[str | None, typer.Argument(help="A second file: the two of them in one race.")] = None,
    task: Task = None,
    data: Data = None,
    target: Target = "cpu",
    threads: Threads = None,
    batch: Batch = 1,
    seconds: Annotated[float, typer.Option(help="How long to measure.")] = 10.0,
    shape: Shapes = None,
    fix: Fixed = None,
    kernels: Annotated[bool, typer.Option("--kernels", help="Which formats really run here, layer by layer.")] = False,
    token_file: TokenFile = None,
    device_wait: DeviceWait = None,
    as_json: Json = False,
    own: Any = None,
) -> None:
    """Time a network, uncompressed, in every setting of a target, interleaved; an ONNX file as it is."""
    from whet.hardware import targets
    from whet.hardware.elsewhere import device_of
    from whet.verdict.located import model_file

    use_device(token_file, device_wait)
    chosen = targets.get(target, threads)
    positive("seconds", seconds)
    if kernels:
        return show_kernels(chosen, network, as_json)
    whole("batch", batch)
    shapes, fixed = shapes_of(shape), values_of(fix)
    if network is not None and other is not None:
        return compare(network, other, chosen, shapes, fixed, batch, seconds, as_json)
    if network is not None and network.endswith((".onnx", ".xml", ".whet")):
        bar = targets.measure_file(model_file(network), chosen, shapes, fixed, batch, seconds=seconds)
    else:
        net, _ = network_of(task, network, data, lambda event: None, shapes, fixed, own)
        with tempfile.TemporaryDirectory() as folder:
            inputs = targets.inputs_of(net, batch)
            bar = targets.baselines(net.eval(), chosen, Path(folder), inputs, seconds=seconds)
    found = bar.latencies
    rows = sorted(found.values(), key=lambda x: x.latency_ms)
    if as_json:
        where = device_of(chosen).to_dict()
        print(json.dumps({"device": where, "settings": [vars(r) for r in rows], "unfit": bar.unfit}))
        return
    ratio = f"ratio to {next(iter(found))}"
    table = Table("setting", "median ms", ratio, "quartiles", title=device_of(chosen).describe())
    for row in rows:
        spread = f"{row.ratio_low:.2f}-{row.ratio_high:.2f}"
        table.add_row(row.name, f"{row.latency_ms:.4f}", f"x{row.ratio:.2f}", spread)
    Console().print(table)
    for name, why in bar.unfit.items():
        print(f"{name} is not there: {why}")


@app.command()
def report(
    folder: Path,
    seconds: Annotated[bool, typer.Option("--seconds", help="Print where the seconds went instead.")] = False,
    as_json: Json = False,
) -> None:
    """Write the report of a study again and print where it is, or where the seconds of the search went."""
    from whet.flow.folder import recorded
    from whet.flow.reporting import rewrite_report
    from whet.flow.stopwatch import seconds_table

    if seconds:
        own, spent = (recorded(folder, key) for key in ("seconds", "spent_seconds"))
        print(json.dumps(own)) if as_json else Console().print(seconds_table(own, spent))
        return
    path = rewrite_report(folder)
    print(json.dumps({"report": str(path)}) if as_json else path)


@app.command(name="list")
def list_methods(
    family: str | None = None,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="All of them as a page of the documentation.")] = False,
) -> None:
    """List every method, and how it is reached."""
    if markdown:
        from whet.report.methods import markdown as page

        print(page(), end="")
        return
    rows = [m for m in catalogue.METHODS if family in (None, m.family)]
    if family and not rows:
        from whet.core.errors import unknown

        raise unknown("family", family, {m.family for m in catalogue.METHODS})
    if as_json:
        print(json.dumps([vars(m) | {"citation": m.citation, "reach": m.reach} for m in rows]))
        return
    console = Console()
    reached: list[Column | str] = [Column("reached by", overflow="fold"), "missing"]
    wide = console.width >= WIDE
    table = Table(Column("name", no_wrap=True), "family", *reached, *(["status", "paper"] if wide else []))
    for m in rows:
        more = [m.status, m.citation] if wide else []
        table.add_row(m.name, m.family, escape(m.reach), m.missing, *more)
    console.print(table)


@app.command()
def explain(name: str) -> None:
    """Print what a method does, its parameters and its paper."""
    method = catalogue.get(name)
    item = described(method.where)
    print(f"{method.name} ({method.family}, {method.status}): {method.where}\n")
    print(f"Reached by: {method.reach}\n")
    if method.missing:
        print(f"Missing: {method.missing}.\n")
    print(item.doc)
    print(f"\nParameters: {item.parameters or 'none'}")
    if method.paper:
        print(f"\n{references.get(method.paper).bibtex}")


app.command(context_settings=FORWARDS)(compress)
app.command("eval")(evaluate)
for verb in (check, serve_check, again, pack, unpack):
    app.command()(verb)


def main() -> None:
    """Run the command line; errors of the user's are one line and exit code 2, whet's own one line and 3."""
    try:
        _refuse_unprintable(sys.argv[1:])
        app()
    except WhetError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {type(error).__name__}: ", end="")
        print(error, file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        log = crash_log()
        log.write_text(traceback.format_exc(), encoding="utf-8", errors="backslashreplace")
        Console(stderr=True).print("[bold red]error:[/] ", end="")
        print(f"this should not happen: {reason(error)}. Please report it with '{log}'.", file=sys.stderr)
        sys.exit(3)


def _refuse_unprintable(words: list[str]) -> None:
    """Raise UsageError for an argument that is not UTF-8: neither a report nor a study could name it."""
    for word in words:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            raise UsageError(f"the argument {word!a} is not UTF-8: rename the file or folder.") from None


class UsageError(WhetError):
    """A command line that cannot be read."""
