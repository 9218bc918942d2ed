"""The dueling head: what a state is worth, and what each action adds to it."""

from __future__ import annotations

from torch import Tensor, nn

from whet.policies.networks import Layer


class Dueling(nn.Module):
    r"""Two streams, the state's value and the actions' advantages, joined to values of actions.

    :math:`Q(s, a) = V(s) + A(s, a) - \frac{1}{|A|} \sum_{a'} A(s, a')`. The mean is taken off since Q alone does not
    tell V from A: a constant could go from one to the other. For distributions this holds for each of the `outputs`.

    With `by_row` each action has its own row of features, whose advantage one layer tells for all, and the value is
    that of the rows' mean.

    Shapes: features (N, features), or `by_row` (N, actions, features), to (N, actions, outputs).
    Wang, Schaul, Hessel, van Hasselt, Lanctot and de Freitas (2016), Dueling Network Architectures for Deep
    Reinforcement Learning.
    """

    def __init__(
        self, features: int, actions: int, outputs: int, linear: Layer = nn.Linear, by_row: bool = False
    ) -> None:
        super().__init__()
        self.actions, self.outputs, self.by_row = actions, outputs, by_row
        self.value, self.advantage = linear(features, outputs), linear(features, (1 if by_row else actions) * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the values of actions, (N, actions, outputs)."""
        value = self.value(x.mean(1) if self.by_row else x).view(-1, 1, self.outputs)
        advantage = self.advantage(x).view(-1, self.actions, self.outputs)
        joined: Tensor = value + advantage - advantage.mean(1, keepdim=True)
        return joined
