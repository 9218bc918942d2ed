"""On which side of a weight an atom lies: what reads it, and what writes it."""

from __future__ import annotations

from torch import nn

from whet.core.net import Net
from whet.graph.axes import Member
from whet.graph.readers import TRANSPOSED, reader_of

MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)


def owner(net: Net, member: Member) -> nn.Module:
    """Return the layer whose parameter a member of an atom is a slice of."""
    return net.layer(member.parameter.rpartition(".")[0])


def reads(net: Net, member: Member) -> bool:
    """Say whether the member is the input side of a weight."""
    return member.dim == input_dim(net, member.parameter)


def input_dim(net: Net, parameter: str) -> int | None:
    """Return the dimension of a weight that runs over its inputs: 1 of (out, in, ...), 0 of (in, out) if transposed.

    None for what no product reads: vectors, embeddings, positions.
    """
    if net.module.get_parameter(parameter).ndim < 2:
        return None
    users = {u for n in net.graph.nodes if n.op == "get_attr" and n.target == parameter for u in n.users}
    if any(str(u.target).startswith("aten.linear") for u in users):
        return 1
    if any(str(u.target).startswith(("aten.mm", "aten.addmm", "aten.matmul")) for u in users):
        return 0
    if any(r.weight == parameter for u in users if (r := reader_of(net, u)) is not None):
        return 1  # what a recurrent layer reads its input with
    layer = net.module.get_submodule(parameter.rpartition(".")[0])
    if users or not isinstance(layer, MATRICES):
        return None
    return 0 if isinstance(layer, TRANSPOSED) else 1


def writes(net: Net, member: Member) -> bool:
    """Say whether the member is the output side of a weight that mixes features (depthwise ones do not)."""
    weight = net.module.get_parameter(member.parameter)
    return weight.ndim > 1 and not reads(net, member) and getattr(owner(net, member), "groups", 1) == 1
