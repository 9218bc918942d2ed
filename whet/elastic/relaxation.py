"""`Relaxation`: a supernet in which each choice is a mixture of its values, differentiable in the mixture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from whet.core.errors import SpecError
from whet.core.space import Choice, Decision
from whet.elastic.supernet import Supernet


class Relaxation(nn.Module):
    """The whole network with each parameter weighted by how much of it the mixtures keep.

        theta' = theta * prod over choices c and dimensions d of  sum_v m_cv kept_cvd

    `kept_cvd` is 1 at the indices of dimension d that value v of choice c keeps, 0 elsewhere: read off the supernet's
    sub-networks, so no architecture needs code of its own. With one-hot mixtures m the network is the one that the
    decision cuts, with what it cuts silenced; the two are equal where no norm averages over what is cut. With
    others, gradients reach the mixtures and so whatever made them (`whet.search.mixtures`). A pass costs what the
    whole network costs, whatever the mixture.

    Raises: SpecError for a choice that depends on another.
    """

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self.supernet = supernet
        self.choices: list[Choice] = list(supernet.space)
        for choice in self.choices:
            if choice.when is not None:
                raise SpecError(f"choice '{choice.name}' depends on '{choice.when[0]}': it cannot be relaxed alone.")
        self._factors = {name: self._of(name, p) for name, p in self._parameters_by_name().items()}

    def forward(self, mixtures: Sequence[Tensor], *inputs: Tensor) -> Tensor:
        """Run the network under one mixture a choice, each of shape (values,)."""
        if len(mixtures) != len(self.choices):
            raise SpecError(f"a relaxation of {len(self.choices)} choices needs as many mixtures; got {len(mixtures)}.")
        tensors = dict(self._parameters_by_name())
        for name, factors in self._factors.items():
            for place, dim, kept in factors:
                shape = [-1 if d == dim else 1 for d in range(tensors[name].dim())]
                tensors[name] = tensors[name] * (mixtures[place] @ kept).view(shape)
        module = self.supernet.whole.module
        module.train(self.training)
        output: Tensor = functional_call(module, tensors, inputs, tie_weights=False)
        return output

    def one_hot(self, decision: Decision) -> list[Tensor]:
        """Return the mixtures that stand for a decision."""
        full = [(c, c.values.index(decision.of(c))) for c in self.choices]
        return [nn.functional.one_hot(torch.tensor(v), len(c.values)).float() for c, v in full]

    def likeliest(self, mixtures: Sequence[Tensor]) -> Decision:
        """Return the decision of the heaviest value of each mixture."""
        values = {c.name: c.values[int(m.argmax())] for c, m in zip(self.choices, mixtures, strict=True)}
        return self.supernet.space.canonical(Decision(values))

    def _parameters_by_name(self) -> dict[str, Tensor]:
        return dict(self.supernet.whole.module.named_parameters(remove_duplicate=False))

    def _of(self, name: str, parameter: Tensor) -> list[tuple[int, int, Tensor]]:
        """Return (choice, dimension, kept) of one parameter, `kept` of shape (values, size of the dimension)."""
        factors = []
        for place, choice in enumerate(self.choices):
            tables: dict[int, Tensor] = {}
            for v, value in enumerate(choice.values):
                taken = self.supernet.sub(Decision({choice.name: value})).taken
                if name not in taken:
                    tables.setdefault(0, _ones(choice, parameter, 0))[v] = 0.0
                for dim, indices in taken.get(name, []):
                    row = torch.zeros(parameter.shape[dim]).index_fill(0, indices, 1.0)
                    tables.setdefault(dim, _ones(choice, parameter, dim))[v] = row
            factors += [(place, dim, kept) for dim, kept in tables.items()]
        return factors


def _ones(choice: Choice, parameter: Tensor, dim: int) -> Tensor:
    return torch.ones(len(choice.values), parameter.shape[dim] if parameter.dim() else 1)
