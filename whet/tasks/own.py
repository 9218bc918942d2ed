"""A task from data that a user brings, for one network: which inputs it takes, what it is trained and scored by."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from whet.core.errors import LiftError, TaskError
from whet.core.net import Net
from whet.core.task import Task, length_of
from whet.data import losses, metrics
from whet.data.batches import INPUT_KEYS, TARGET_KEYS, Canonical, plain
from whet.data.losses import Wants, main_output
from whet.data.sources.source import Aim, Data, Options, Part
from whet.graph.calls import inputs_of
from whet.support.structure import tensors
from whet.tasks.bundle import Bundle, TensorBatches
from whet.train.recipe import Recipe, usual

OPTIONAL = ("token_type_ids",)
"""Inputs that a module gets only where nothing else fits: its networks take zeros for them anyway."""
LEAST_BATCH, MOST_BATCH, BATCH_NUMBERS = 8, 64, 1 << 20
"""A batch has a power of two of samples, of so many numbers in all, and a quarter of the training data at most."""
CALIBRATION = 512
PRETRAINING_SAMPLES, FEWEST_EPOCHS, MOST_EPOCHS = 60_000, 3, 60
"""How long a network of whet's own is trained on data of users before it is made smaller. Not measured."""
HINTS: dict[type[nn.Module], str] = {
    nn.Conv1d: "A sound gets an axis for its channel by --size 1x16000.",
    nn.Conv2d: "Images are read in the channels, height and width that --size says, e.g. 1x28x28 or 3x224x224.",
}
"""What to try, by the layer that did not take what it was given."""
SYNTHETIC_BATCHES = 4
SYNTHETIC_ROWS = 16


def aim_of(options: Options) -> Aim | None:
    """Return what a metric and a loss that are named want targets to be, or None where they say nothing.

    Raises: UnknownNameError for a name that is not there, TaskError for two that want different things.
    """
    rows = [(f"--metric {options.metric}", metrics.get(options.metric).wants)] if options.metric else []
    rows += [(f"--loss {options.loss}", losses.get(options.loss).wants)] if options.loss else []
    both: set[Wants] = {"classes", "numbers", "tokens", "boxes"}
    for _, wants in rows:
        both &= set(wants)
    if not both:
        raise TaskError(" and ".join(f"{name} is for {' or '.join(wants)}" for name, wants in rows) + ".")
    return next(iter(both)) if len(both) == 1 else "classes" if rows and both == {"classes", "tokens"} else None


@dataclass(frozen=True)
class Columns:
    """Some inputs of a part, by name: rows of them are a dictionary, or the tensor alone where there is one."""

    part: Part
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, rows: Any) -> Any:
        if len(self.names) == 1:
            return self.part.inputs[self.names[0]][rows]
        return {name: self.part.inputs[name][rows] for name in self.names}


@dataclass(frozen=True)
class Unlabelled:
    """Stands for the targets of samples that have none."""

    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: Any) -> None:
        return None


def columns_of(module: nn.Module, data: Data) -> tuple[str, ...]:
    """Return the inputs that a module's `forward` takes by their names, or else the first."""
    names = list(next(iter(data.parts.values())).inputs)
    parameters = inspect.signature(module.forward).parameters
    named = tuple(name for name in names if name in parameters and name not in OPTIONAL)
    required = [p for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if named:
        return named
    return tuple(name for name in names if name not in OPTIONAL)[: max(1, len(required))]


def ports_of(net: Net, data: Data) -> tuple[str, ...]:
    """Return the inputs that a net takes, by the names of its ports; what cannot be told is left to `bind`."""
    names = tuple(next(iter(data.parts.values())).inputs)
    ports = {plain(port.name) for port in net.inputs}
    named = tuple(name for name in names if plain(name) in ports)
    if len(named) == len(ports):
        return named
    main = next((name for name in INPUT_KEYS if name in names), None)
    return (main,) if len(ports) == 1 and main else tuple(name for name in names if name not in OPTIONAL)[: len(ports)]


def example_of(data: Data, columns: Sequence[str], rows: int = 2) -> Any:
    """Return the first training samples as a network is called with them: a tensor (rows, ...), or some by name."""
    part = next(iter(data.parts.values()))
    picked = torch.arange(rows) % len(part)
    found = {name: part.inputs[name][picked] for name in columns}
    if len(columns) > 1:
        return found
    only = found[columns[0]]
    return (_float32(data.prepare(only) if data.prepare is not None else only),)


def example_of_task(task: Task) -> Any:
    """Return the inputs of a task's first validation batch as a network is called with them, of any shapes."""
    batch = next(iter(task.val))
    if isinstance(batch, tuple | list):
        return tuple(batch[0]) if isinstance(batch[0], tuple | list) else (batch[0],)
    return {k: v for k, v in batch.items() if k not in TARGET_KEYS} if isinstance(batch, Mapping) else (batch,)


def _float32(values: Tensor) -> Tensor:
    return values.float() if values.is_floating_point() else values


def reading(module: nn.Module, data: Data) -> tuple[tuple[str, ...], Data]:
    """Return the inputs that a module takes, and the data as it reads them: text by tokens if it foretells them.

    Raises: TaskError for a tokenizer that does not fit, and for text that is too short.
    """
    if data.aim == "agreement" and data.vocabulary:
        ids = example_of(data.next_token or data, ("input_ids",))[0]
        _check_vocabulary(module.eval(), (ids,), ids, data)
        if predicts_next(module, ids, data.vocabulary):
            return ("input_ids",), _following(data)
    return columns_of(module, data), data


def reading_of_net(net: Net, data: Data) -> tuple[tuple[str, ...], Data]:
    """Return the same of a net, whose ports are known."""
    columns = ports_of(net, data)
    if data.aim == "agreement" and data.vocabulary:
        inputs = _inputs(net, data.next_token or data, columns)
        place = next((i for i, port in enumerate(net.inputs) if plain(port.name) == "input_ids"), 0)
        _check_vocabulary(net, inputs, inputs[place], data)

        def run(ids: Tensor) -> Any:
            return net(*inputs[:place], ids, *inputs[place + 1 :])

        if predicts_next(run, inputs[place], data.vocabulary):
            return columns, _following(data)
    return columns, data


def _following(data: Data) -> Data:
    if data.next_token is None:
        raise TaskError("the text is too short for a network that foretells tokens: take more, or a smaller --size.")
    return data.next_token


def _inputs(net: Net, data: Data, columns: Sequence[str], rows: int = 2) -> tuple[Tensor, ...]:
    """Return the first samples as a net takes them; raise TaskError that names both shapes where it does not."""
    found = example_of(data, columns, rows)
    canonical = Canonical.of(net, data.kind)
    return canonical.inputs(found[0] if isinstance(found, tuple) else found, "the first samples")


def outputs_of(net: Net, data: Data, columns: Sequence[str]) -> Any:
    """Return what a net gives for the first samples, rows first."""
    with net.evaluating(), torch.no_grad():
        return net(*_inputs(net, data, columns))


def _check_vocabulary(run: nn.Module | Net, inputs: tuple[Tensor, ...], ids: Tensor, data: Data) -> None:
    """Raise TaskError where the tokenizer has more tokens than the embedding that reads them."""
    found: list[int] = []

    def look(module: nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(module, nn.Embedding) and given and given[0].shape == ids.shape and torch.equal(given[0], ids):
            found.append(module.num_embeddings)

    parts = (run.module if isinstance(run, Net) else run).modules()
    handles = [m.register_forward_pre_hook(look) for m in parts if isinstance(m, nn.Embedding)]
    try:
        with torch.no_grad(), suppress(Exception):  # what is wrong otherwise is told where the network is lifted
            run(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    if found and min(found) < data.vocabulary:
        raise TaskError(
            f"the tokenizer does not fit the network: it has {data.vocabulary:,} tokens, and the network's embedding "
            f"{min(found):,}."
        )


def tried(module: nn.Module, example: Any, network: str) -> Any:
    """Return the outputs of a module for its example, a tensor (rows, ...) or a tree of some.

    Raises: LiftError that names what it was given and the layer that does not take it.
    """
    last: list[tuple[str, nn.Module, Any]] = []
    names = {part: name for name, part in module.named_modules()}
    handles = [
        part.register_forward_pre_hook(lambda part, given: last.append((names[part], part, given)))
        for part in module.modules()
        if not list(part.children())
    ]
    arguments = inputs_of(module, example)
    try:
        with torch.no_grad():
            return arguments.call(module, arguments.tensors)
    except Exception as error:
        given = ", ".join(f"{n} {_shape(t)}" for n, t in zip(arguments.names, arguments.tensors, strict=True))
        text = f"'{network}' does not take the data, two samples of which are {given}"
        if last:
            name, part, inside = last[-1]
            shapes = ", ".join(_shape(t) for t in inside if isinstance(t, Tensor))
            text += f": its layer '{name}', {part}, was given {shapes}"
        hint = next((f" {told}" for kind, told in HINTS.items() if last and isinstance(last[-1][1], kind)), "")
        raise LiftError(f"{text} ({type(error).__name__}: {str(error).splitlines()[0]:.200}).{hint}") from error
    finally:
        for handle in handles:
            handle.remove()


def _shape(values: Tensor) -> str:
    return f"{tuple(values.shape)} {str(values.dtype).removeprefix('torch.')}"


def doubts(task: Task, data: Data, net: Net) -> tuple[str, ...]:
    """Return what a user should look at: a network that tells no more of the first validation data than a guess."""
    if data.aim != "classes" or not isinstance(task.val, TensorBatches):
        return ()
    inputs, targets = next(iter(task.val))
    given = Canonical.of(net, task.name).inputs(inputs, "val, batch 0")
    with net.evaluating(), torch.no_grad():
        right = metrics.accuracy(net(*given), targets)
    guess = float(targets.flatten().bincount().max()) / targets.numel()
    if right > guess:
        return ()
    first = ", ".join(f"{number} is {name}" for number, name in enumerate(data.classes[:3]))
    return (
        f"Look here: of {len(targets)} validation samples the network gets {right:.0%} right, and always the same "
        f"answer {guess:.0%}. Are its classes numbered so ({first}), its inputs prepared so (--size, --mean, --std)?",
    )


def predicts_next(run: Any, ids: Tensor, vocabulary: int) -> bool:
    """Say whether a network foretells tokens: a score for each token at each place, blind for what comes later.

    `run` takes token numbers, shape (N, tokens).
    """
    with torch.no_grad():
        try:
            first = main_output(run(ids))
        except Exception:  # what is wrong is told where the network is tried on the example
            return False
        if first.dim() != 3 or first.shape[1] != ids.shape[1] or first.shape[2] < vocabulary:
            return False
        other = ids.clone()
        other[:, -1] = (other[:, -1] + 1) % vocabulary
        return bool(torch.allclose(first[:, :-1], main_output(run(other))[:, :-1], rtol=1e-3, atol=1e-4))


def own_task(data: Data, columns: tuple[str, ...], outputs: Any, options: Options, name: str) -> Task:
    """Return the task of data for a network that gives such outputs, a batch of which, (rows, ...), is shown.

    Raises: TaskError for a metric or loss that the data are not for, and for more classes than the network has.
    """
    main = main_output(outputs)
    _check_classes(data, main)
    prepare = data.prepare if len(columns) == 1 else None
    parts = data.parts
    train = parts.get("train")
    if train is not None and data.aim == "boxes":
        train = replace(train, targets=None)
    size = _batch_size(next(iter(parts.values())), columns, len(train) if train else 0)

    def batches(part: Part | None, size: int, shuffle: bool = False) -> TensorBatches | None:
        if part is None:
            return None
        targets: Any = Unlabelled(len(part)) if part.targets is None else part.targets
        rows: Any = Columns(part, columns)
        return TensorBatches(rows, targets, size, shuffle=shuffle, prepare=prepare, seed=options.seed)

    calm = train or parts["val"]
    some = torch.randperm(len(calm), generator=torch.Generator().manual_seed(options.seed))[:CALIBRATION]
    val = batches(parts["val"], 2 * size)
    assert val is not None
    return Task(
        name, train=batches(train, size, shuffle=True), val=val, test=batches(parts.get("test"), 2 * size),
        calibration=batches(calm.at(some.sort().values), size), **_goal(data, main, options),
    )  # fmt: skip


def _goal(data: Data, outputs: Tensor, options: Options) -> dict[str, Any]:
    """Return loss and metric: those that are named, or what follows from the data; without labels none."""
    if data.aim == "agreement":
        for word in ("metric", "loss"):
            if given := getattr(options, word):
                raise TaskError(f"--{word} {given} needs labels, and the data have none: quality is agreement.")
        return {}
    wants: Wants = data.aim
    metric = options.metric or metrics.USUAL[wants]
    chosen = metrics.get(metric)
    scored = {
        "metric": chosen.function, "metric_name": metric, "direction": chosen.direction, "drop": chosen.drop,
    }  # fmt: skip
    if wants == "boxes" and chosen.wants == ("boxes",) and options.loss is None:
        return scored  # each detector has a loss of its own: training is distillation
    loss = options.loss or losses.usual(wants, outputs)
    for word, name, row in (("loss", loss, losses.get(loss).wants), ("metric", metric, chosen.wants)):
        if wants not in row:
            fitting = [n for n, r in (losses.LOSSES if word == "loss" else metrics.METRICS).items() if wants in r.wants]
            others = f"they take {', '.join(fitting)}" if fitting else "none is for these"
            raise TaskError(f"--{word} {name} is for {' or '.join(row)}; the targets are {wants}: {others}.")
    return {"loss": losses.get(loss).function, **scored}


def _check_classes(data: Data, outputs: Tensor) -> None:
    if data.aim != "classes" or outputs.dim() < 2:
        return
    wanted = next(iter(data.parts.values())).targets
    axis = 1 if wanted is not None and wanted.dim() > 1 and outputs.dim() > 2 else -1
    has, need = outputs.shape[axis], len(data.classes)
    if has < need and (has, need) != (1, 2):
        raise TaskError(f"the network tells {has} classes apart, the data have {need}: {', '.join(data.classes[:12])}.")


def _batch_size(part: Part, columns: Sequence[str], rows: int) -> int:
    numbers = sum(part.inputs[name][torch.zeros(1, dtype=torch.long)].numel() for name in columns)
    most = max(1, min(MOST_BATCH, BATCH_NUMBERS // max(numbers, 1), max(rows // 4, 1) if rows else MOST_BATCH))
    return max(min(LEAST_BATCH, rows or LEAST_BATCH), 1 << (most.bit_length() - 1))


def own_bundle(task: Task, example: Any, network: nn.Module | None = None, key: str = "") -> Bundle:
    """Return the bundle of a task of a user's; a network of whet's own that is trained on it is kept under `key`.

    `example` holds inputs of the shapes (rows, ...); how to train goes by `network`.
    """
    recipe = Recipe() if network is None else usual(network)
    batches = None if task.train is None else length_of(task.train)
    rows = batches * len(tensors(next(iter(task.training)))[0]) if batches else 0
    return Bundle(
        task, {}, example, recipe=recipe, pretraining=replace(recipe, distillation=0.0), cache_key=key,
        pretraining_epochs=min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(PRETRAINING_SAMPLES / max(rows, 1)))),
        finds_recipe=True,
    )  # fmt: skip


def synthetic(net: Net) -> Bundle:
    """Return a task without labels on inputs that are made up, for a network whose speed alone is wanted.

    Floats are drawn from a normal distribution, integers between the least and the largest of the network's example;
    an input that is constant there stays so. Nothing is trained; quality is agreement with the original.
    """
    generator = torch.Generator().manual_seed(0)
    batches = [(tuple(_drawn(x, generator) for x in net.example), None) for _ in range(SYNTHETIC_BATCHES)]
    outside = [(tuple(p.outside(x) for p, x in zip(net.inputs, inputs)), None) for inputs, _ in batches]
    task = Task("synthetic", train=None, val=outside, calibration=outside)
    return Bundle(task, {}, net.example, recipe=Recipe(), finds_recipe=True)


def _drawn(example: Tensor, generator: torch.Generator) -> Tensor:
    """Return made-up rows of the kind of an example, (rows, ...)."""
    shape = (SYNTHETIC_ROWS, *example.shape[1:]) if example.dim() else example.shape
    if example.dtype == torch.bool or not example.dim() or bool((example == example.flatten()[0]).all()):
        return example[:1].expand(shape).clone() if example.dim() else example
    if example.is_floating_point():
        return torch.randn(shape, generator=generator)
    return torch.randint(int(example.min()), int(example.max()) + 1, shape, generator=generator).to(example.dtype)
