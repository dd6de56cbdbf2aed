"""The parts of recurrent networks for text, on sequences of features: plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from trainless.recurrent_cells import RecurrentCell, Step

__all__ = ["LastStep", "RecurrentLayer", "TokenEmbedding"]

_FUNCTIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "activation_tanh": torch.tanh, "activation_sigm": torch.sigmoid,
    "activation_leaky_relu": nn.functional.leaky_relu,
}  # fmt: skip
_WIDEST = 0.1  # value of an embedding before a network is trained


class TokenEmbedding(nn.Module):
    """Puts a vector in the place of each token.

    Tokens are one-hot: channels tell which it is. So weights between 0 and 1 are read too, and there are gradients by
    them.

    Args:
        tokens: number of different ones.
        channels: numbers of a vector.

    Example:
        >>> TokenEmbedding(5, 3)(torch.eye(5).view(1, 5, 1, 5)).shape
        torch.Size([1, 3, 1, 5])
    """

    def __init__(self, tokens: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, channels).uniform_(-_WIDEST, _WIDEST))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute vectors, shape ``(sequences, channels, 1, steps of time)``; rows follow one another."""
        vectors = self.weight.t() @ x.flatten(2)
        return vectors.unsqueeze(2)


class RecurrentLayer(nn.Module):
    """A recurrent layer whose cell is a graph, in NAS-Bench-NLP's operations; all states are zero at first.

    Source: Klyuchnikov et al., NAS-Bench-NLP: Neural Architecture Search Benchmark for Natural Language Processing,
    IEEE Access 2022.

    Args:
        cell: what is computed at each step of time.
        inputs: channels that come in.
        hidden: numbers of each state, and channels that go out.
        time: steps of time.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> from trainless.search_spaces.nasbench_nlp import LSTM
        >>> cell = search_space("nasbench_nlp").cell_of(search_space("nasbench_nlp").parse(LSTM))
        >>> layer = RecurrentLayer(cell, 4, 6, time=5)
        >>> layer(torch.zeros(2, 4, 1, 5)).shape, sorted(layer.maps)
        (torch.Size([2, 6, 1, 5]), ['node_0', 'node_2', 'node_5', 'node_9'])
    """

    def __init__(self, cell: RecurrentCell, inputs: int, hidden: int, time: int) -> None:
        super().__init__()
        self.cell, self.hidden, self.time = cell, hidden, time
        self.maps = nn.ModuleDict(
            {
                name: nn.Linear(sum(inputs if read == "x" else hidden for read in step.inputs), hidden)
                for name, step in cell.steps
                if step.operation == "linear"
            }
        )
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the first state at each step, shape ``(sequences, hidden, 1, steps of time)``."""
        zeros = torch.zeros_like(x[:, :1, 0, 0]).expand(-1, self.hidden)
        states: Sequence[torch.Tensor] = [zeros for _ in self.cell.states]
        given = []
        for moment in range(self.time):
            states = self._step(x[:, :, 0, moment], states)
            given.append(states[0])
        return torch.stack(given, 2).unsqueeze(2)

    def _step(self, x: torch.Tensor, states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        values = {"x": x} | {f"h_prev_{number}": value for number, value in enumerate(states)}
        for name, step in self.cell.steps:
            values[name] = self._result(name, step, values)
        return [values[name] for name in self.cell.states]

    def _result(self, name: str, step: Step, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        read = [values[value] for value in step.inputs]
        result: torch.Tensor
        if step.operation == "linear":
            result = self.maps[name](torch.cat(read, 1))
        elif step.operation == "elementwise_sum":
            result = read[0] + read[1]
        elif step.operation == "elementwise_prod":
            result = read[0] * read[1]
        elif step.operation == "blend":
            result = read[0] * read[1] + (1 - read[0]) * read[2]
        else:
            result = _FUNCTIONS[step.operation](read[0])
        return result


class LastStep(nn.Module):
    """Keeps what a sequence comes to at its last step of time.

    Example:
        >>> LastStep()(torch.arange(6.0).view(1, 2, 1, 3))
        tensor([[2., 5.]])
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the last step's values, shape ``(sequences, channels)``."""
        return x[:, :, 0, -1]
