"""Composite functions of PyTorch written out in simpler ones, so that what happens inside them can be seen.

Attention becomes linear maps, two matrix products and a softmax; a recurrent layer becomes the linear maps, sigmoids
and hyperbolic tangents of each step. The values are those of the originals but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F

from trainless.errors import NetworkError

__all__ = ["DECOMPOSITIONS"]


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Compute softmax(q kᵀ · scale + mask) v, shapes as in `torch.nn.functional.scaled_dot_product_attention`."""
    shares = _attention_shares(query, key, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    return shares @ (_grouped(value, query) if enable_gqa else value)


def _grouped(tensor: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    return tensor.repeat_interleave(query.size(-3) // tensor.size(-3), -3)


def _attention_shares(
    query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, dropout: float, causal: bool,
    scale: float | None = None, enable_gqa: bool = False,
) -> torch.Tensor:  # fmt: skip
    if enable_gqa:
        key = _grouped(key, query)
    products = query * (query.size(-1) ** -0.5 if scale is None else scale) @ key.transpose(-2, -1)
    if causal:
        allowed = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool, device=query.device).tril()
        products = products.masked_fill(~allowed, -math.inf)
    if mask is not None and mask.dtype == torch.bool:
        products = products.masked_fill(~mask, -math.inf)
    elif mask is not None:
        products = products + mask
    return F.dropout(products.softmax(-1), dropout, dropout > 0)


def multi_head_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, embed_dim_to_check: int, num_heads: int,
    in_proj_weight: torch.Tensor | None, in_proj_bias: torch.Tensor | None, bias_k: torch.Tensor | None,
    bias_v: torch.Tensor | None, add_zero_attn: bool, dropout_p: float, out_proj_weight: torch.Tensor,
    out_proj_bias: torch.Tensor | None, training: bool = True, key_padding_mask: torch.Tensor | None = None,
    need_weights: bool = True, attn_mask: torch.Tensor | None = None, use_separate_proj_weight: bool = False,
    q_proj_weight: torch.Tensor | None = None, k_proj_weight: torch.Tensor | None = None,
    v_proj_weight: torch.Tensor | None = None, static_k: torch.Tensor | None = None,
    static_v: torch.Tensor | None = None, average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:  # fmt: skip
    """Compute `torch.nn.functional.multi_head_attention_forward`: inputs of shape ``(length, images, channels)``."""
    if static_k is not None or static_v is not None:
        raise NetworkError("The network gives attention static keys or values, which cannot be scored: project them.")
    single = query.dim() == 2
    # Images first, and the same tensor where the same was given: the projections act on it as one.
    firsts: dict[int, torch.Tensor] = {}
    for tensor in (query, key, value):
        if id(tensor) not in firsts:
            firsts[id(tensor)] = tensor.unsqueeze(0) if single else tensor.transpose(0, 1)
    inputs = [firsts[id(tensor)] for tensor in (query, key, value)]
    biases: Any = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
    if in_proj_weight is not None and not use_separate_proj_weight and query is key is value:
        q, k, v = F.linear(inputs[0], in_proj_weight, in_proj_bias).chunk(3, -1)
    else:
        weights: Any = (q_proj_weight, k_proj_weight, v_proj_weight)
        if in_proj_weight is not None and not use_separate_proj_weight:
            weights = in_proj_weight.chunk(3)
        q, k, v = (F.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True))
    if bias_k is not None and bias_v is not None:
        k = torch.cat([k, bias_k.transpose(0, 1).expand(len(k), -1, -1)], 1)
        v = torch.cat([v, bias_v.transpose(0, 1).expand(len(v), -1, -1)], 1)
    heads = [t.unflatten(-1, (num_heads, -1)).transpose(1, 2) for t in (q, k, v)]
    if add_zero_attn:
        heads[1:] = [torch.cat([t, t.new_zeros(*t.shape[:2], 1, t.shape[3])], 2) for t in heads[1:]]
    mask = _merged_mask(heads, attn_mask, key_padding_mask, is_causal and attn_mask is None)
    shares = _attention_shares(heads[0], heads[1], mask, dropout_p if training else 0.0, False)
    output = F.linear((shares @ heads[2]).transpose(1, 2).flatten(2), out_proj_weight, out_proj_bias)
    output = output.squeeze(0) if single else output.transpose(0, 1)
    if not need_weights:
        return output, None
    shares = shares.mean(1) if average_attn_weights else shares
    return output, shares.squeeze(0) if single else shares


def _merged_mask(
    heads: list[torch.Tensor], mask: torch.Tensor | None, padding: torch.Tensor | None, causal: bool
) -> torch.Tensor | None:
    """One mask that is added to the products, for ``(images, heads, queries, keys)``; True forbids in those given."""
    query, key = heads[:2]
    if causal:
        mask = torch.ones(query.size(2), key.size(2), dtype=torch.bool, device=query.device).triu(1)

    def added(given: torch.Tensor) -> torch.Tensor:
        if given.dtype == torch.bool:
            given = torch.zeros_like(given, dtype=query.dtype).masked_fill(given, -math.inf)
        return F.pad(given, (0, key.size(2) - given.size(-1)))  # keys that were added stay allowed

    parts = []
    if mask is not None:
        mask = added(mask)
        parts.append(mask.view(-1, query.size(1), *mask.shape[1:]) if mask.dim() == 3 else mask)
    if padding is not None:
        parts.append(added(padding).view(-1, 1, 1, key.size(2)))
    return sum(parts[1:], parts[0]) if parts else None


# Recurrent layers: a cell takes x, the state, and its weights, and gives the next state.

State = tuple[torch.Tensor, ...]
Weights = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]


def _lstm_step(x: torch.Tensor, state: State, weights: Weights, projection: torch.Tensor | None = None) -> State:
    h, c = state
    i, f, g, o = (F.linear(x, weights[0], weights[2]) + F.linear(h, weights[1], weights[3])).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h if projection is None else F.linear(h, projection)), c


def _gru_step(x: torch.Tensor, state: State, weights: Weights, projection: torch.Tensor | None = None) -> State:
    (h,) = state
    xr, xz, xn = F.linear(x, weights[0], weights[2]).chunk(3, -1)
    hr, hz, hn = F.linear(h, weights[1], weights[3]).chunk(3, -1)
    z = torch.sigmoid(xz + hz)
    n = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
    return ((1 - z) * n + z * h,)


def _plain_step(activation: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., State]:
    def step(x: torch.Tensor, state: State, weights: Weights, projection: torch.Tensor | None = None) -> State:
        return (activation(F.linear(x, weights[0], weights[2]) + F.linear(state[0], weights[1], weights[3])),)

    return step


def _cell(step: Callable[..., State]) -> Callable[..., Any]:
    def rule(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
        state = tuple(hx) if isinstance(hx, list | tuple) else (hx,)
        found = step(input, state, (w_ih, w_hh, b_ih, b_hh))
        return found if len(found) > 1 else found[0]

    return rule


def _recurrent(step: Callable[..., State]) -> Callable[..., Any]:
    def rule(
        input: torch.Tensor, hx: Any, params: Any, has_biases: Any = True, num_layers: Any = 1, dropout: Any = 0.0,
        train: Any = False, bidirectional: Any = False, batch_first: Any = None,
    ) -> Any:  # fmt: skip
        if isinstance(has_biases, list | tuple):  # the weights come one place later then
            raise NetworkError("The network packs sequences of several lengths, which cannot be scored: pad them.")
        states = list(hx) if isinstance(hx, list | tuple) else [hx]
        time = 1 if batch_first else 0
        directions = 2 if bidirectional else 1
        count = len(params) // (num_layers * directions)
        steps = list(input.unbind(time))
        last: list[list[torch.Tensor]] = [[] for _ in states]
        for layer in range(num_layers):
            outputs = []
            for direction in range(directions):
                number = layer * directions + direction
                own = list(params[number * count : (number + 1) * count])
                biases = own[2:4] if has_biases else [None, None]
                projection = own[4 if has_biases else 2] if count > 2 * (1 + bool(has_biases)) else None
                state = tuple(s[number] for s in states)
                made = []
                for x in steps[::-1] if direction else steps:
                    state = step(x, state, (own[0], own[1], *biases), projection)
                    made.append(state[0])
                outputs.append(made[::-1] if direction else made)
                for kept, s in zip(last, state, strict=True):
                    kept.append(s)
            steps = [torch.cat(both, -1) if len(both) > 1 else both[0] for both in zip(*outputs, strict=True)]
            if dropout and train and layer < num_layers - 1:
                mask = F.dropout(torch.stack(steps, time), dropout, True)
                steps = list(mask.unbind(time))
        return (torch.stack(steps, time), *(torch.stack(kept) for kept in last))

    return rule


# Products with an addition, and other spellings of a matrix product.


def _add_product(input: Any, first: Any, second: Any, *, beta: float = 1, alpha: float = 1) -> torch.Tensor:
    product = torch.matmul(first, second)
    total: torch.Tensor = (product if alpha == 1 else product * alpha) + (input if beta == 1 else input * beta)
    return total


def _vector_product(input: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.matmul(input, other)


def _inner(input: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.matmul(input, other.transpose(-2, -1) if other.dim() > 1 else other)


def _tensordot(a: torch.Tensor, b: torch.Tensor, dims: Any = 2, out: None = None) -> torch.Tensor:
    if isinstance(dims, int):
        dims = (list(range(a.dim() - dims, a.dim())), list(range(dims)))
    left, right = (
        [d % t.dim() for d in ([ds] if isinstance(ds, int) else ds)] for ds, t in zip(dims, (a, b), strict=True)
    )
    letters = "abcdefghijklmnopqrstuvwxyz"
    first, second = letters[: a.dim()], list(letters[a.dim() : a.dim() + b.dim()])
    for mine, theirs in zip(left, right, strict=True):
        second[theirs] = first[mine]
    kept = [x for d, x in enumerate(first) if d not in left] + [x for d, x in enumerate(second) if d not in right]
    return torch.einsum(f"{first},{''.join(second)}->{''.join(kept)}", a, b)


def _bilinear(
    input1: torch.Tensor, input2: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    output = (torch.einsum("...i,oij->...oj", input1, weight) * input2.unsqueeze(-2)).sum(-1)
    return output if bias is None else output + bias


def _chain(*matrices: Any) -> torch.Tensor:
    if len(matrices) == 1 and isinstance(matrices[0], list | tuple):
        matrices = tuple(matrices[0])
    product: torch.Tensor = matrices[0]
    for matrix in matrices[1:]:
        product = torch.matmul(product, matrix)
    return product


def _unguarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of PyTorch without its first question, whether a mode wants to stand in for it.

    So modes are in force while it runs: what a backward pass computes once more is seen like what came before.
    """
    body: Any = function
    namespace = {**body.__globals__, "has_torch_function": lambda arguments: False}
    return FunctionType(body.__code__, namespace, argdefs=body.__defaults__)


_T = torch.Tensor

DECOMPOSITIONS: Mapping[Any, Callable[..., Any]] = {
    F.scaled_dot_product_attention: attention,
    F.multi_head_attention_forward: multi_head_attention,
    torch.lstm: _recurrent(_lstm_step),
    torch.gru: _recurrent(_gru_step),
    torch.rnn_tanh: _recurrent(_plain_step(torch.tanh)),
    torch.rnn_relu: _recurrent(_plain_step(torch.relu)),
    torch.lstm_cell: _cell(_lstm_step),
    torch.gru_cell: _cell(_gru_step),
    torch.rnn_tanh_cell: _cell(_plain_step(torch.tanh)),
    torch.rnn_relu_cell: _cell(_plain_step(torch.relu)),
    **dict.fromkeys((torch.addmm, _T.addmm, torch.baddbmm, _T.baddbmm, torch.addmv, _T.addmv), _add_product),
    **dict.fromkeys((torch.mv, _T.mv, torch.dot, _T.dot), _vector_product),
    **dict.fromkeys((torch.inner, _T.inner), _inner),
    torch.tensordot: _tensordot,
    F.bilinear: _bilinear,
    torch.chain_matmul: _chain,
    torch.linalg.multi_dot: _chain,
    torch.autograd.grad: _unguarded(torch.autograd.grad),
    torch.autograd.backward: _unguarded(torch.autograd.backward),
}
