"""Rows of attention in its forms, and of rotary embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from whet.onnx_reader.operators.create import dtype_of
from whet.onnx_reader.table import Attributes, Call, Row, Rows, choice
from whet.onnx_reader.values import CODES, Value, numpy_dtype, optional_tensor, tensor

LOW = -math.inf


@dataclass
class Heads:
    """Queries, keys and values as (N, heads, length, features), keys and values with what a cache holds before them."""

    q: Tensor
    k: Tensor
    v: Tensor
    flat: bool
    past: Any
    valid: Tensor | None
    mask: Tensor | None

    @property
    def offset(self) -> Any:
        """How many keys lie before the first query: a number, or (N, 1, 1, 1) of a cache filled from outside."""
        if self.valid is not None and self.past is None:
            return self.valid.reshape(-1, 1, 1, 1) - self.q.shape[2]
        return 0 if self.past is None else self.past


def attention(call: Call, x: list[Value], a: Attributes) -> Value:
    """softmax(softcap(Q K^T scale) + bias) V; outputs Y, all keys, all values, and the scores at a stage."""
    heads = _heads(x, a)
    present = heads.k, heads.v
    groups = heads.q.shape[1] // heads.k.shape[1]
    if groups > 1:
        heads.k, heads.v = (t.repeat_interleave(groups, 1) for t in (heads.k, heads.v))
    if _is_plain(call, heads, a):
        scale, causal = a.get("scale"), bool(a.get("is_causal"))
        out: Tensor = F.scaled_dot_product_attention(heads.q, heads.k, heads.v, is_causal=causal, scale=scale)
        scores = out
    else:
        out, scores = _attend(call, heads, a)
    if heads.flat:
        out = out.transpose(1, 2).flatten(2)
    return (out, *present, scores)[: max(call.outputs, 1)] if call.outputs > 1 else out


def _heads(x: list[Value], a: Attributes) -> Heads:
    q, k, v = (tensor(item) for item in x[:3])
    flat = q.dim() == 3
    if flat:
        q = _split_heads(q, a["q_num_heads"])
        k, v = (_split_heads(t, a["kv_num_heads"]) for t in (k, v))
    past_key, past_value = optional_tensor(x, 4), optional_tensor(x, 5)
    past = None if past_key is None else past_key.shape[2]
    k = k if past_key is None else torch.cat([past_key, k], 2)
    v = v if past_value is None else torch.cat([past_value, v], 2)
    return Heads(q, k, v, flat, past, optional_tensor(x, 6), optional_tensor(x, 3))


def _split_heads(value: Tensor, count: int) -> Tensor:
    """(N, length, heads x features) to (N, heads, length, features)."""
    return value.reshape(value.shape[0], value.shape[1], count, -1).transpose(1, 2)


def _is_plain(call: Call, heads: Heads, a: Attributes) -> bool:
    """Say whether torch's fused attention computes the same."""
    windows = any(a.get(name, -1) >= 0 for name in ("left_window_size", "right_window_size"))
    special = a.get("softcap", 0.0) or a.get("softmax_precision") or windows or call.outputs > 3
    extra = heads.mask is not None or heads.valid is not None or (a.get("is_causal") and heads.past is not None)
    return not special and not extra and heads.q.dtype in (torch.float32, torch.float64)


def _attend(call: Call, heads: Heads, a: Attributes) -> tuple[Tensor, Tensor]:
    """Return the output and the scores at the stage that `qk_matmul_output_mode` names."""
    q, k, kind = heads.q, heads.k, heads.q.dtype
    scale = a["scale"] if "scale" in a else 1 / math.sqrt(q.shape[3])
    # Both sides are scaled before they meet, as the standard has it: 16 bits do not hold their unscaled product.
    root = float(np.asarray(math.sqrt(scale)).astype(numpy_dtype(CODES[kind])))
    scores = torch.matmul(q * root, (k * root).transpose(2, 3))
    cap = a.get("softcap", 0.0)
    capped = torch.tanh(scores / cap) * cap if cap else scores
    bias = _bias(heads, a)
    biased = capped if bias is None else capped + bias
    precision = a.get("softmax_precision")
    weights = torch.softmax(biased.to(dtype_of(precision)) if precision else biased, -1)
    if bias is not None:
        # A query that may look at nothing gets nothing; softmax alone would make it undefined.
        weights = torch.where((bias == LOW).all(-1, keepdim=True), torch.zeros_like(weights), weights)
    weights = weights.to(kind)
    stages = {0: scores, 1: capped, 2: biased, 3: weights}
    mode = a.get("qk_matmul_output_mode", 0)
    if mode not in stages:
        raise call.not_read(f"score output {mode}; 0 to 3 are allowed; it")
    return torch.matmul(weights, heads.v), stages[mode].to(kind)


def _bias(heads: Heads, a: Attributes) -> Tensor | None:
    """Return what is added to the scores: the file's mask, and minus infinity where a query may not look."""
    length, kind = heads.k.shape[2], heads.q.dtype
    rows = torch.arange(heads.q.shape[2])[:, None] + heads.offset
    columns = torch.arange(length)[None, :]
    allowed: list[Tensor] = []
    if a.get("is_causal"):
        allowed.append(columns <= rows)
    if a.get("left_window_size", -1) >= 0:
        allowed.append(rows - columns <= a["left_window_size"])
    if a.get("right_window_size", -1) >= 0:
        allowed.append(columns - rows <= a["right_window_size"])
    if heads.valid is not None:
        allowed.append(columns < heads.valid.reshape(-1, 1, 1, 1))
    bias = None if heads.mask is None else _mask(heads.mask, length, kind)
    for each in allowed:
        part = torch.zeros(each.shape, dtype=kind).masked_fill(~each, LOW)
        bias = part if bias is None else bias + part
    return bias


def _mask(mask: Tensor, length: Any, kind: torch.dtype) -> Tensor:
    """Return a mask as what is added; keys beyond its end are not looked at."""
    short = length - mask.shape[-1]
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=kind).masked_fill(~mask, LOW)
    return F.pad(mask, [0, short], value=LOW) if not (isinstance(short, int) and short <= 0) else mask


# -- others --------------------------------------------------------------------------------------------------------


def linear_attention(call: Call, x: list[Value], a: Attributes) -> Value:
    """S_t = exp(g_t) S_{t-1} + k_t u_t^T, o_t = scale q_t^T S_t; u_t is v_t, by the delta rule b_t (v_t - S^T k_t)."""
    rule = choice(a, "update_rule", "gated_delta", "linear", "gated", "delta")
    heads, shared = a["q_num_heads"], a["kv_num_heads"]
    query = tensor(x[0])
    q = _split_heads(query, heads).float()
    k, v = (_split_heads(tensor(t), shared).float() for t in x[1:3])
    past, decay, beta = (optional_tensor(x, i) for i in (3, 4, 5))
    decay = None if decay is None else _split_heads(decay, shared).float()
    beta = None if beta is None else _split_heads(beta, shared if beta.shape[-1] == shared else 1).float()
    if ("gated" in rule) != (decay is not None) or ("delta" in rule) != (beta is not None):
        raise call.not_read(f"update rule '{rule}' with these inputs")
    state = v.new_zeros(v.shape[0], shared, k.shape[3], v.shape[3]) if past is None else past.float()
    scale = a.get("scale") or 1 / math.sqrt(k.shape[3])
    out = []
    for t in range(int(q.shape[2])):
        if decay is not None:
            state = state * torch.exp(decay[:, :, t])[..., None]
        new = v[:, :, t]
        if beta is not None:
            new = beta[:, :, t] * (new - torch.einsum("bhdm,bhd->bhm", state, k[:, :, t]))
        state = state + k[:, :, t, :, None] * new[:, :, None, :]
        read = state.repeat_interleave(heads // shared, 1) if heads > shared else state
        out.append(scale * torch.einsum("bhd,bhdm->bhm", q[:, :, t], read))
    result = torch.stack(out, 1).flatten(2).to(query.dtype)
    return result, state.to(query.dtype if past is None else past.dtype)


def rotary(call: Call, x: list[Value], a: Attributes) -> Value:
    """Turn pairs of features by angles whose cosines and sines are given for each position."""
    value, cosine, sine = (tensor(item) for item in x[:3])
    positions = optional_tensor(x, 3)
    flat = value.dim() == 3
    value = value.reshape(*value.shape[:2], a["num_heads"], -1) if flat else value.transpose(1, 2)
    width = a.get("rotary_embedding_dim", 0) or value.shape[-1]
    turned, rest = value[..., :width], value[..., width:]
    if positions is not None:
        cosine, sine = (F.embedding(positions.to(torch.int64), table) for table in (cosine, sine))
    cosine, sine = cosine[:, :, None], sine[:, :, None]
    if a.get("interleaved"):
        first, second = turned[..., 0::2], turned[..., 1::2]
    else:
        first, second = turned.chunk(2, -1)
    real, imaginary = cosine * first - sine * second, sine * first + cosine * second
    if a.get("interleaved"):
        joined = torch.stack([real, imaginary], -1).flatten(-2)
    else:
        joined = torch.cat([real, imaginary], -1)
    out = torch.cat([joined, rest], -1) if width != value.shape[-1] else joined
    return out.flatten(2) if flat else out.transpose(1, 2)


ROWS: Rows = {
    "Attention": Row(attention),
    "LinearAttention": Row(linear_attention),
    "RotaryEmbedding": Row(rotary),
}
