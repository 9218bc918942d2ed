"""Nothing is lost at lift: every output is compared, every parameter and buffer accounted for."""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind

from whet.core.errors import LiftError
from whet.core.net import Net
from whet.graph.mutations import before, carried
from whet.graph.probe import INDEPENDENT, Probe, apart
from whet.graph.rebuild import Rebuild

TOLERANCE = 1e-5
TOLD = 3


@torch.no_grad()
def compare(net: Net, probe: Probe, fixed: int | None) -> None:
    """Raise `LiftError`, naming the output, unless net and source agree in every run of the source."""
    for rows, (given, wanted) in probe.runs.items():
        inside = [port.inside(x, len(rows)).contiguous() for port, x in zip(net.inputs, given, strict=True)]
        found = net.results(net(*inside))
        if len(found) != len(wanted.tensors):
            raise LiftError(f"the lifted network gives {len(found)} tensors; its source gives {len(wanted.tensors)}.")
        for port, ours, theirs in zip(net.outputs, found, wanted.tensors, strict=True):
            difference = apart(port.outside(ours), theirs)
            if difference > TOLERANCE:
                raise LiftError(
                    f"output '{port.name}' of the lifted network differs from its source's by {difference:.1e} at a "
                    f"batch of {len(rows)}."
                )
        if fixed:
            _frees_its_batch(net, inside, found)


def _frees_its_batch(net: Net, inside: list[torch.Tensor], found: tuple[torch.Tensor, ...]) -> None:
    """Raise `LiftError` where a network that was exported for one batch does not take another."""
    count = len(inside[0])
    for rows in ([0], [i % count for i in range(count + 1)]):
        try:
            other = net.results(net(*(x[rows] for x in inside)))
            same = all(apart(b, a[rows]) <= INDEPENDENT for a, b in zip(found, other, strict=True))
        except RuntimeError:
            same = False
        if not same:
            raise LiftError(
                f"the network was exported for a batch of {count} alone; export it with a free batch: "
                "torch.export.export(..., dynamic_shapes=({0: torch.export.Dim.DYNAMIC}, ...))."
            )


def unread(rebuild: Rebuild, net: Net) -> tuple[str, ...]:
    """Return a note that names the parameters and buffers of the source that no output depends on.

    Raises: LiftError for one that an output does depend on, and that the net has not.
    """
    held = {t.data_ptr() for t in (*net.module.parameters(), *net.module.buffers())}
    needed = before(rebuild.results)
    missing: dict[str, int] = {}
    for spec in rebuild.program.graph_signature.input_specs:
        if spec.kind not in (InputKind.PARAMETER, InputKind.BUFFER):
            continue
        path = rebuild.own_name(str(spec.target))
        tensor = rebuild.state[path]
        own = rebuild.copies.get(id(tensor))
        if tensor.numel() == 0 or (own is not None and own.data_ptr() in held):
            continue
        if spec.arg.name in needed:
            raise LiftError(f"'{path}' takes part in the outputs of the source but is not in the lifted network.")
        if not path.endswith("num_batches_tracked"):
            missing[path] = tensor.numel()
    if not missing:
        return ()
    names = ", ".join(f"'{name}'" for name in list(missing)[:TOLD])
    more = f" and {len(missing) - TOLD} more" if len(missing) > TOLD else ""
    return (f"no output depends on {names}{more} ({sum(missing.values()):,} numbers); left out",)


def buffers_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of a module's buffers, to see later which of them a run has changed.

    Each of the shape of the buffer.
    """
    return {name: buffer.detach().clone() for name, buffer in module.named_buffers()}


def refuse_state(rebuild: Rebuild, earlier: dict[str, torch.Tensor], module: nn.Module) -> None:
    """Raise `LiftError` for a buffer that runs of `module` have changed and that an output depends on.

    torch.export sees writes into buffers, but not that forward puts another tensor in a buffer's place.
    Changed is what differs in shape or in a value.
    """
    now, needed = dict(module.named_buffers()), before(rebuild.results)
    changed = {k for k, v in earlier.items() if k not in now or not _equal(now[k], v)}
    for spec in rebuild.program.graph_signature.input_specs:
        if spec.kind == InputKind.BUFFER and spec.arg.name in needed and rebuild.own_name(str(spec.target)) in changed:
            raise carried(rebuild.own_name(str(spec.target)))


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool(((a == b) | (a != a) & (b != b)).all())


def results_are_tensors(nodes: list[fx.Node], count: int) -> None:
    """Raise `LiftError` where fewer of `count` outputs export as tensors."""
    if len(nodes) != count:
        raise LiftError(f"{count - len(nodes)} of {count} outputs do not export as tensors.")
