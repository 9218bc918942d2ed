"""`averaged`: the mean of the weights of nets of one structure."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from whet.core.errors import SpecError
from whet.core.net import Net


@torch.no_grad()
def averaged(nets: Sequence[Net]) -> Net:
    """Return a net with the mean of the weights of `nets`, which are trainings of one structure from one beginning.

        theta = (theta_1 + ... + theta_k) / k

    Where the loss is convex between them it is no worse than their mean loss. Counters and other whole numbers are
    those of the first. Statistics of batch norms are averaged too, but are those of no net: recalibrate.

    Raises: SpecError if there are no nets, or one has other tensors or shapes than the first; it names the tensor.

    >>> import whet
    >>> net = whet.lift(torch.nn.Linear(1, 1), (torch.zeros(1, 1),))
    >>> other = net.copy()
    >>> for module, value in ((net, 1.0), (other, 3.0)):
    ...     _ = module.module.get_parameter("weight").data.fill_(value)
    >>> averaged([net, other]).module.get_parameter("weight").item()
    2.0

    Papers: Izmailov et al. 2018, Averaging Weights Leads to Wider Optima and Better Generalization (several points of
    one training; here the beginning and the end of one); Wortsman et al. 2022, Robust Fine-tuning of Zero-shot Models.
    """
    if not nets:
        raise SpecError("averaged needs a net; got none.")
    states = [net.module.state_dict() for net in nets]
    for name in dict.fromkeys(name for state in states for name in state):
        shapes = [tuple(state[name].shape) if name in state else None for state in states]
        if len(set(shapes)) > 1:
            raise SpecError(f"averaged needs nets of one structure; '{name}' has shapes {shapes}.")
    mean = nets[0].copy()
    for name, tensor in mean.module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.stack([state[name] for state in states]).mean(0))
    return mean
