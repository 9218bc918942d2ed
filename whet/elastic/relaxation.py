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

    `kept_cvd` is 1 at the indices of dimension d that value v of choice c keeps, 0 elsewhere, for the dimensions in
    which parameters read what c cuts: they are taken from the supernet's sub-networks, so no architecture needs code of
    its own. With one-hot mixtures m the network is the one that the decision cuts, with what it cuts silenced; the two
    are equal where no norm averages over what is cut. With others, gradients reach the mixtures and so whatever made
    them (`whet.decisions.mixtures`). A pass costs what the whole network costs, whatever the mixture.

    Raises: SpecError for a choice that depends on another.
    """

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self.supernet = supernet
        self.choices: list[Choice] = list(supernet.space)
        for choice in self.choices:
            if choice.when is not None:
                raise SpecError(f"choice '{choice.name}' depends on '{choice.when[0]}': it cannot be relaxed alone.")
        self._factors: dict[str, list[tuple[int, int, Tensor]]] = {}
        for place, choice in enumerate(self.choices):
            for name, factors in self._factors_of(choice).items():
                self._factors.setdefault(name, []).extend((place, dim, kept) for dim, kept in factors)

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
        """Return the mixtures that stand for a decision: for each choice the shape `(values,)`, 1 at its value."""
        full = [(c, c.values.index(decision.of(c))) for c in self.choices]
        return [nn.functional.one_hot(torch.tensor(v), len(c.values)).float() for c, v in full]

    def likeliest(self, mixtures: Sequence[Tensor]) -> Decision:
        """Return the decision of the heaviest value of each mixture, a vector of shape `(values,)` a choice."""
        values = {c.name: c.values[int(m.argmax())] for c, m in zip(self.choices, mixtures, strict=True)}
        return self.supernet.space.canonical(Decision(values))

    def _parameters_by_name(self) -> dict[str, Tensor]:
        return dict(self.supernet.whole.module.named_parameters(remove_duplicate=False))

    def _factors_of(self, choice: Choice) -> dict[str, list[tuple[int, Tensor]]]:
        """Return (dimension, kept) by parameter for one choice, `kept` of shape (values, size of the dimension).

        What is cut is silenced once, where it is read, or where a dropped branch ends: were it silenced where it is
        written too, the output would go with the square of a mixture, and no gradient would lead back from zero.
        """
        tables: dict[tuple[str, int], Tensor] = {}
        parameters = self._parameters_by_name()

        def table(name: str, dim: int) -> Tensor:
            size = parameters[name].shape[dim] if parameters[name].dim() else 1
            return tables.setdefault((name, dim), torch.ones(len(choice.values), size))

        for v, value in enumerate(choice.values):
            taken = self.supernet.sub(Decision({choice.name: value})).taken
            for name in self._ends(set(parameters) - set(taken)):
                table(name, 0)[v] = 0.0
            cut = [(name, dim, indices) for name in parameters for dim, indices in taken.get(name, [])]
            read = [entry for entry in cut if self._reads(entry[0], entry[1])]
            for name, dim, indices in read or cut:
                table(name, dim)[v] = torch.zeros(parameters[name].shape[dim]).index_fill(0, indices, 1.0)
        found: dict[str, list[tuple[int, Tensor]]] = {}
        for (name, dim), kept in tables.items():
            found.setdefault(name, []).append((dim, kept))
        return found

    def _ends(self, absent: set[str]) -> list[str]:
        """Return the absent parameters of the last layer that has any: where a dropped branch ends."""
        for node in reversed(self.supernet.whole.graph.nodes):
            own = [n for n in absent if n == str(node.target) or n.rpartition(".")[0] == str(node.target)]
            if node.op in ("call_module", "get_attr") and own:
                return own
        return []

    def _reads(self, name: str, dim: int) -> bool:
        """Say whether a dimension of a parameter is that of its layer's inputs."""
        layer = self.supernet.whole.module.get_submodule(name.rpartition(".")[0])
        transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
        return not isinstance(layer, nn.Embedding) and name.endswith("weight") and dim == (0 if transposed else 1)
