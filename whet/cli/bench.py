"""`whet bench SUITE`: every row of a suite gets the same work, data and budget; its table is written and printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from whet.cli.shared import Data, Fixed, Json, NetworkArgument, Shapes, network_of, out_folder, shapes_of, values_of

bench = typer.Typer(no_args_is_help=True, help=__doc__)
Task = Annotated[str, typer.Option(help="digits, cifar10, shakespeare, protein or parkinsons.")]
RowBudget = Annotated[str, typer.Option(help="Wall-clock time for every row.")]
MaxDrop = Annotated[str, typer.Option(help="The quality that may be lost, e.g. 1%.")]
Target = Annotated[str, typer.Option(help="openvino-cpu, onnxruntime-cpu, or cpu: the faster of them.")]
Out = Annotated[Path, typer.Option(help="Where the studies go; finished rows there are not made again.")]
Results = Annotated[Path, typer.Option(help="Where the table goes.")]
RUNS, RESULTS = Path("runs/bench"), Path("benchmarks/results")


@bench.command(
    "techniques", help="Compare each way of shrinking alone, and the original trained on, with all of them together."
)
@bench.command(
    "elastic", help="Compare candidates that train one by one with sub-networks that train together (--elastic)."
)
def searches(
    context: typer.Context,
    network: NetworkArgument = None,
    task: Task = "digits",
    data: Data = None,
    budget: RowBudget = "5min",
    max_drop: MaxDrop = "1%",
    target: Target = "cpu",
    out: Out = RUNS,
    results: Results = RESULTS,
    shape: Shapes = None,
    fix: Fixed = None,
    as_json: Json = False,
) -> None:
    """Let every row of the suite that the command names search, and print the table."""
    from whet.bench import techniques
    from whet.flow.optimize import check_words
    from whet.report.console import LiveProgress

    check_words(target, max_drop, budget, "improvement", ())
    out = out_folder(out)
    with LiveProgress(quiet=as_json) as progress:
        net, bundle = network_of(task, network, data, progress, shapes_of(shape), values_of(fix))
        suite = str(context.info_name)
        table = techniques.run(net, bundle, budget, max_drop, target, out, results, progress, suite)
    print(json.dumps(table) if as_json else techniques.markdown(table))


@bench.command()
def latency(
    network: NetworkArgument = None,
    task: Task = "digits",
    data: Data = None,
    budget: Annotated[str, typer.Option(help="Wall-clock time.")] = "5min",
    target: Target = "cpu",
    out: Out = RUNS,
    results: Results = RESULTS,
    shape: Shapes = None,
    fix: Fixed = None,
    as_json: Json = False,
) -> None:
    """Measure how well the latency of sub-networks can be forecast."""
    from whet.bench import latency as suite
    from whet.bench.results import write_result
    from whet.flow.quantities import seconds
    from whet.report.console import LiveProgress

    with LiveProgress(quiet=as_json) as progress:
        net, bundle = network_of(task, network, data, progress, shapes_of(shape), values_of(fix))
        record = suite.run(net, bundle.task, seconds(budget), target, out, progress)
    write_result(results / f"latency-{bundle.task.name}-{net.name}", record, suite.markdown(record))
    print(json.dumps(record) if as_json else suite.markdown(record))


Validation = Annotated[int, typer.Option(help="How many validation samples each file is scored on.")]


@bench.command("prune", help="Take off channels and weights in every way, train each as long; score each file.")
@bench.command(
    "factorize", help="Put products in the place of layers in every way, train each as long; score each file."
)
def smaller(
    context: typer.Context,
    network: NetworkArgument = None,
    task: Task = "digits",
    data: Data = None,
    epochs: Annotated[float, typer.Option(help="How long every row trains; 0 trains nothing.")] = 1.0,
    validation: Validation = 2000,
    target: Target = "cpu",
    out: Out = RUNS,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Make a network smaller in every way of the suite that the command names, and print the table."""
    from whet.bench import smaller as suites
    from whet.core.checks import positive, whole
    from whet.report.console import LiveProgress

    whole("--validation", validation), positive("--epochs", epochs, zero=True)
    out, suite = out_folder(out), str(context.info_name)
    with LiveProgress(quiet=as_json) as progress:
        net, bundle = network_of(task, network, data, progress)
        table = suites.run(net, bundle, suite, target, out, results, progress, epochs, validation)
    print(json.dumps(table) if as_json else suites.markdown(table))


@bench.command()
def tickets(
    network: NetworkArgument = None,
    task: Task = "digits",
    data: Data = None,
    rounds: Annotated[int, typer.Option(help="How many times weights are taken off.")] = 5,
    gone: Annotated[float, typer.Option(help="The share of those left that each round takes.")] = 0.2,
    epochs: Annotated[float, typer.Option(help="How long each of the trainings is, three a round.")] = 3.0,
    together: Annotated[bool, typer.Option(help="Rank the weights of all layers together.")] = False,
    activating: Annotated[
        float, typer.Option(help="Of the share that goes, so much is taken from weights that hold neurons back.")
    ] = 0.0,
    validation: Validation = 2000,
    target: Target = "cpu",
    out: Out = RUNS,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Find the few weights of an untrained network that learn as well as all; train others beside them."""
    from whet import tasks
    from whet.bench import tickets as suite
    from whet.core.checks import positive, whole
    from whet.report.console import LiveProgress

    whole("--validation", validation), positive("--epochs", epochs)
    out, bundle = out_folder(out), tasks.get(task, data)
    drawing = suite.Drawing(rounds, gone, epochs, not together, activating)
    with LiveProgress(quiet=as_json) as progress:
        name = network or bundle.networks[0]
        table = suite.run(bundle, name, drawing, target, out, results, progress, validation)
    print(json.dumps(table) if as_json else suite.markdown(table))


@bench.command()
def code(
    network: NetworkArgument = None,
    task: Task = "digits",
    data: Data = None,
    validation: Validation = 2000,
    target: Target = "cpu",
    out: Out = RUNS,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Code a network's weights in every way, pack each file and score what it unpacks to."""
    from whet.bench import code as suite

    _files(suite, network, task, data, as_json, validation, target, out, results)


@bench.command()
def quantize(
    network: NetworkArgument = None,
    task: Task = "digits",
    data: Data = None,
    validation: Validation = 2000,
    only: Annotated[
        list[str] | None, typer.Option(help="Take rows that hold this alone; repeat it for several.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long each file is timed in each setting; 0 times nothing.")] = 0.5,
    train: Annotated[
        int, typer.Option(help="Compare ways of training on integers in their place, each on so many samples.")
    ] = 0,
    target: Target = "cpu",
    out: Out = RUNS,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Round a network's weights in every way, at eight, four and fewer bits; score each file in its runtime.

    With --train the formats of few bits are trained, and those that no runtime computes with are simulated.
    """
    from whet.bench import quantize as suite
    from whet.bench import trained
    from whet.core.checks import whole

    whole("--train", train, least=0)
    if train:
        more: dict[str, Any] = {"of_task": False, "samples": train}
    else:
        more = {"seconds_each": seconds, "only": only or ()}
    _files(trained if train else suite, network, task, data, as_json, validation, target, out, results, **more)


def _files(
    suite: Any, network: str | None, task: str, data: Path | None, as_json: bool, validation: int, target: str,
    out: Path, results: Path, of_task: bool = True, **more: Any,
) -> None:  # fmt: skip
    """Write the files of a suite and print their table; `more` are options of the suite's own."""
    from whet.core.checks import whole
    from whet.report.console import LiveProgress

    whole("--validation", validation)
    out = out_folder(out)
    with LiveProgress(quiet=as_json) as progress:
        net, bundle = network_of(task, network, data, progress)
        given = {"progress": progress, "validation": validation, **more}
        table = suite.run(net, bundle.task if of_task else bundle, target, out, results, **given)
    print(json.dumps(table) if as_json else suite.markdown(table))


@bench.command()
def peers(
    network: NetworkArgument = None,
    task: Annotated[str, typer.Option(help="A task, or all: the seven works of the comparison.")] = "digits",
    data: Data = None,
    budget: RowBudget = "5min",
    max_drop: MaxDrop = "1%",
    out: Out = RUNS,
    results: Results = RESULTS,
    adapters: Annotated[Path, typer.Option(help="The folder of the peers' adapters.")] = Path("benchmarks/peers"),
    only: Annotated[list[str] | None, typer.Option(help="Take only these; repeat it for several.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only those that need no installation.")] = False,
    as_json: Json = False,
) -> None:
    """Compare whet with other tools, each in an environment of its own, on the same work."""
    from whet.bench.peers import suite
    from whet.bench.peers import table as tables
    from whet.flow.quantities import parse, seconds
    from whet.report.console import LiveProgress

    seconds(budget), parse(max_drop)
    out = out_folder(out)
    works: list[tuple[str, str | None]] = list(suite.SUITE) if task == "all" else [(task, network)]
    made: list[Any] = []
    for each, its_network in works:
        with LiveProgress(quiet=as_json) as progress:
            made.append(
                suite.run(
                    each, its_network, peers=adapters, out=out, results=results, budget=budget, max_drop=max_drop,
                    names=only or (), quick=quick, data=data, progress=progress,
                )
            )  # fmt: skip
        if not as_json:
            print(tables.markdown(made[-1]))
    if as_json:
        print(json.dumps(made))
