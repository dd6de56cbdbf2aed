"""Decompositions: each gives what PyTorch's own function gives, and the gradients too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainless.errors import NetworkError
from trainless.passes.weights import WeightTracker

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(3, 5, 8, generator=GENERATOR, dtype=torch.float64)
Y = torch.randn(3, 4, 8, generator=GENERATOR, dtype=torch.float64)
Z = torch.randn(3, 4, 6, generator=GENERATOR, dtype=torch.float64)
PADDED = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])


def attention(**options: Any) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64, **options)
    for parameter in layer.parameters():  # PyTorch's biases are zeros
        nn.init.normal_(parameter)
    return layer


def recurrent(kind: type[nn.RNNBase], **options: Any) -> nn.RNNBase:
    torch.manual_seed(0)
    return kind(8, 4, dtype=torch.float64, **options)


ATTENTION: dict[str, Callable[[], Any]] = {
    "self": lambda: attention()(X, X, X),
    "without weights": lambda: attention()(X, X, X, need_weights=False)[:1],
    "weights of each head": lambda: attention()(X, X, X, average_attn_weights=False),
    "keys of another length": lambda: attention()(X, Y, Y),
    "keys and values that differ": lambda: attention()(X, Y, Y + 1),
    "keys of other channels": lambda: attention(kdim=6, vdim=6)(X, Z, Z),
    "no biases": lambda: attention(bias=False)(X, X, X),
    "extra keys": lambda: attention(add_bias_kv=True, add_zero_attn=True)(X, X, X, key_padding_mask=PADDED),
    "padding": lambda: attention()(X, X, X, key_padding_mask=PADDED),
    "mask": lambda: attention()(X, X, X, attn_mask=torch.ones(5, 5).triu(1).bool()),
    "mask and padding": lambda: attention()(X, X, X, attn_mask=torch.eye(5).bool(), key_padding_mask=PADDED),
    "mask of each head": lambda: attention()(X, X, X, attn_mask=torch.randn(6, 5, 5, dtype=torch.float64)),
    "causal": lambda: attention()(X, X, X, attn_mask=torch.ones(5, 5).triu(1).bool(), is_causal=True,
                                  need_weights=False)[:1],
    "one sequence": lambda: attention()(X[0], X[0], X[0]),
    "encoder layer": lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, dtype=torch.float64)(X),
}  # fmt: skip
FUNCTIONS: dict[str, Callable[[], Any]] = {
    "attention": lambda: F.scaled_dot_product_attention(X, X, X, is_causal=True),
    "attention with scale": lambda: F.scaled_dot_product_attention(X, Y, Y, scale=0.5),
    "attention with a mask": lambda: F.scaled_dot_product_attention(X, X, X, ~torch.eye(5).bool()),
    "grouped heads": lambda: F.scaled_dot_product_attention(
        X.view(3, 5, 4, 2).transpose(1, 2), Y.view(3, 4, 4, 2).transpose(1, 2)[:, :2],
        Y.view(3, 4, 4, 2).transpose(1, 2)[:, :2], enable_gqa=True),
    "lstm": lambda: recurrent(nn.LSTM, batch_first=True)(X),
    "lstm, projected": lambda: recurrent(nn.LSTM, proj_size=2)(X),
    "lstm, two layers both ways": lambda: recurrent(nn.LSTM, num_layers=2, bidirectional=True)(X),
    "gru": lambda: recurrent(nn.GRU, num_layers=2, bidirectional=True, batch_first=True)(X),
    "gru without biases": lambda: recurrent(nn.GRU, bias=False)(X),
    "rnn": lambda: recurrent(nn.RNN, nonlinearity="relu")(X),
    "lstm cell": lambda: nn.LSTMCell(8, 4, dtype=torch.float64)(X[0]),
    "gru cell": lambda: nn.GRUCell(8, 4, dtype=torch.float64)(X[0]),
    "rnn cell": lambda: nn.RNNCell(8, 4, dtype=torch.float64)(X[0]),
    "bilinear": lambda: nn.Bilinear(8, 8, 3, dtype=torch.float64)(X, X.flip(0)),
    "addmm": lambda: torch.addmm(X[0, :, :5], X[1], X[2].t(), beta=0.5, alpha=2),
    "baddbmm": lambda: torch.baddbmm(X[:, :, :5], X, X.transpose(1, 2)),
    "mv": lambda: torch.mv(X[0], X[1, 0]),
    "inner": lambda: torch.inner(X[0], X[1]),
    "tensordot": lambda: torch.tensordot(X, Y, dims=([0, 2], [0, 2])),
    "tensordot, counted": lambda: torch.tensordot(X[0], Y[0].t(), dims=1),
    "multi_dot": lambda: torch.linalg.multi_dot([X[0], X[1].t(), X[2]]),
}  # fmt: skip


@pytest.mark.parametrize("name", [*ATTENTION, *FUNCTIONS])
def test_decomposition_gives_what_the_function_gives(name: str) -> None:
    function = {**ATTENTION, **FUNCTIONS}[name]
    torch.manual_seed(1)
    expected = function()
    torch.manual_seed(1)
    with WeightTracker({}, {}):
        found = function()
    torch.testing.assert_close(found, expected)


def test_sequences_of_several_lengths_are_refused() -> None:
    packed = nn.utils.rnn.pack_padded_sequence(X, [5, 4, 2], batch_first=True)
    with WeightTracker({}, {}), pytest.raises(NetworkError, match="packs sequences of several lengths"):
        recurrent(nn.LSTM)(packed)
