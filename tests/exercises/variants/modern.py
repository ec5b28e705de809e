"""Answers to the exercises of chapter 9, right and wrong, as learners write them."""

import torch
import torch.nn.functional as F
from collecting import right, wrong_edits
from torch import nn

from gptcourse import gpt
from gptlib import attention

# ------------------------------------------------------------------------------------- RMSNorm


class Norm(nn.Module):
    def __init__(self, emb_dim, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(emb_dim))


@right("RMSNorm")
class FromTorch(Norm):
    def forward(self, x):
        return F.rms_norm(x, self.scale.shape, self.scale, self.eps)


@right("RMSNorm")
class ByReciprocalRoot(Norm):
    def forward(self, x):
        return x * (x.pow(2).sum(-1, keepdim=True) / x.size(-1) + self.eps).rsqrt() * self.scale


@right("RMSNorm")
class InDouble(Norm):
    def forward(self, x):
        x = x.double()
        return (x / (x.norm(dim=-1, keepdim=True) ** 2 / x.shape[-1] + 1e-5).sqrt()) * self.scale


_MEAN = "x.square().mean(dim=-1, keepdim=True)"
_WHOLE = "return self.scale * x / torch.sqrt(mean_square + 1e-5)"

wrong_edits(
    "RMSNorm",
    (_MEAN, "x.square().sum(dim=-1, keepdim=True)", "the mean of the squares of each vector must"),
    (_MEAN, "x.square().mean()", "What becomes of one vector changes with the others"),
    (_MEAN, "x.mean(dim=-1, keepdim=True) ** 2", "divide x by the root of the mean of its own"),
    (_WHOLE, "x = x - x.mean(dim=-1, keepdim=True)\n"
     "        return self.scale * x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + 1e-5)",
     "That is LayerNorm"),
    (_WHOLE, "return x / torch.sqrt(mean_square + 1e-5)", "multiply what is normalized by"),
    (_WHOLE, "return self.scale * x / torch.sqrt(mean_square)", "All is right but the 1e-5"),
    ("1e-5", "1e-3", "All is right but the 1e-5"),
    (_WHOLE, "return self.scale * x * torch.sqrt(mean_square + 1e-5)", "the mean of the squares"),
    (_WHOLE, "x *= self.scale\n        return x / torch.sqrt(mean_square + 1e-5)", "changes its"),
    (_MEAN, "x.detach().square().mean(dim=-1, keepdim=True)", "a part of the gradient of x"),
    ("torch.ones(emb_dim)", "torch.zeros(emb_dim)", "another scale than 1"),
    ("torch.ones(emb_dim)", "torch.ones(1)", "scale has shape (1,), but must have (6,)"),
    ("self.scale = nn.Parameter(torch.ones(emb_dim))",
     "self.scale = nn.Parameter(torch.ones(emb_dim))\n"
     "        self.shift = nn.Parameter(torch.zeros(emb_dim))", "it has shift, for which"),
    ("self.scale = nn.Parameter(torch.ones(emb_dim))", "self.scale = torch.ones(emb_dim)",
     "scale is a plain tensor, which is not learned"),
)

# -------------------------------------------------------------------------------------- rotate


@right("rotate")
def with_complex_numbers(x, positions, base=10000.0):
    half = x.shape[-1] // 2
    angles = torch.outer(positions.float(), 1.0 / base ** (torch.arange(half) / half))
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(
        torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], dim=-1)


@right("rotate")
def with_a_rotated_half(x, positions, base=10000.0):
    D = x.size(-1)
    angles = torch.einsum("t,d->td", positions.float(), base ** (-torch.arange(0, D, 2) / D))
    angles = torch.cat([angles, angles], dim=-1)
    half = torch.cat([-x[..., D // 2 :], x[..., : D // 2]], dim=-1)
    return x * angles.cos() + half * angles.sin()


@right("rotate")
def pair_by_pair(x, positions, base=10000.0):
    D = x.shape[-1]
    result = torch.empty_like(x)
    for i in range(D // 2):
        angle = positions / base ** (2 * i / D)
        one, other = x[..., i], x[..., i + D // 2]
        result[..., i] = one * torch.cos(angle) - other * torch.sin(angle)
        result[..., i + D // 2] = other * torch.cos(angle) + one * torch.sin(angle)
    return result


_RATES = "base ** (-torch.arange(0, D, 2, device=x.device) / D)"
_FIRST = "first * angles.cos() - second * angles.sin()"
_SECOND = "second * angles.cos() + first * angles.sin()"
_BOTH = f"turned_first = {_FIRST}\n    turned_second = {_SECOND}"

wrong_edits(
    "rotate",
    (_FIRST, "first * angles.cos() + second * angles.sin()", "A turn must keep the length"),
    (_SECOND, "second * angles.cos() - first * angles.sin()", "A turn must keep the length"),
    (_BOTH, "turned_first = first * angles.cos() + second * angles.sin()\n"
     "    turned_second = second * angles.cos() - first * angles.sin()", "the other way round"),
    (_BOTH, "turned_first = first * angles.sin() - second * angles.cos()\n"
     "    turned_second = second * angles.sin() + first * angles.cos()", "At position 0 nothing"),
    (_SECOND, "first * angles.cos() + second * angles.sin()", "At position 0 nothing may turn"),
    ("first, second = x.chunk(2, dim=-1)", "first, second = x[..., 0::2], x[..., 1::2]",
     "numbers change their places"),
    (f"{_BOTH}\n    return torch.cat([turned_first, turned_second], dim=-1)",
     "first, second = x[..., 0::2], x[..., 1::2]\n"
     f"    {_BOTH}\n    return torch.stack([turned_first, turned_second], dim=-1).flatten(-2)",
     "You pair neighbors"),
    ("torch.cat([turned_first, turned_second], dim=-1)",
     "torch.stack([turned_first, turned_second], dim=-1).flatten(-2)", "change their places"),
    ("torch.cat([turned_first, turned_second], dim=-1)",
     "torch.cat([turned_second, turned_first], dim=-1)", "numbers change their places"),
    ("torch.cat([turned_first, turned_second], dim=-1)",
     "torch.cat([turned_first, turned_second], dim=-2)", "the shape of your x is"),
    (_RATES, "1 / (base * torch.arange(1, D // 2 + 1))", "must turn the three pairs by 1, 0.25"),
    (_RATES, "10000.0 ** (-torch.arange(0, D, 2) / D)", "must turn the three pairs by 1, 0.25"),
    (_RATES, "base ** (-torch.arange(D // 2) / D)", "and yours by 1, 0.5, 0.25"),
    ("positions[:, None]", "torch.arange(len(positions))[:, None]", "the positions are those"),
    ("positions[:, None] * rates", "positions[:, None] ** 2 * rates", "At position 1 it is right"),
    ("x.chunk(2, dim=-1)", "x.chunk(2, dim=-2)", "RuntimeError"),
    (_BOTH, f"turned_first = {_FIRST}\n    turned_second = second", "A turn must keep the length"),
    ("first, second = x.chunk(2, dim=-1)", "first, second = x.detach().chunk(2, dim=-1)",
     "no gradient reaches x"),
)

# -------------------------------------------------------------------------------------- SwiGLU


class Gated(nn.Module):
    def __init__(self, config):
        super().__init__()
        for name in ("gate", "expand"):
            setattr(self, name, nn.Linear(config["emb_dim"], config["hidden_dim"], bias=False))
        self.contract = nn.Linear(config["hidden_dim"], config["emb_dim"], bias=False)


@right("SwiGLU")
class WithTorchsSilu(Gated):
    def forward(self, x):
        return self.contract(F.silu(self.gate(x)) * self.expand(x))


@right("SwiGLU")
class WrittenOut(Gated):
    def forward(self, x):
        gate, let_in = self.gate(x), self.expand(x)
        return self.contract(let_in * gate / (1 + torch.exp(-gate)))


_OPENED = "gate * torch.sigmoid(gate)"

wrong_edits(
    "SwiGLU",
    (_OPENED, "torch.sigmoid(gate)", "Your gate is a sigmoid alone"),
    (_OPENED, "torch.relu(gate)", "Your gate is ReLU"),
    (_OPENED, "nn.functional.gelu(gate, approximate='tanh')", "Your gate is GELU"),
    (_OPENED, "gate", "Your gate is the gate itself"),
    ("opened * self.expand(x)", "opened + self.expand(x)", "You add the two"),
    ("opened * self.expand(x)", "opened", "expand is never called"),
    ("opened * self.expand(x)", "gate * self.expand(x)", "Your gate is the gate itself"),
    ("gate = self.gate(x)", "gate = self.expand(x)", "gate is never called"),
    ("opened * self.expand(x)", "nn.functional.silu(gate * self.expand(x))",
     "silu goes around the gate alone"),
    (f"{_OPENED}                                  # (B, T, hidden_dim)\n"
     "        return self.contract(opened * self.expand(x))",
     "self.expand(x)\n        return self.contract(gate * nn.functional.silu(opened))",
     "Gate and expand have changed places"),
    ("self.contract(opened * self.expand(x))", "x + self.contract(opened * self.expand(x))",
     "you return"),
    ("self.gate = nn.Linear(C, width, bias=False)", "self.gate = nn.Linear(C, width)",
     "it has gate.bias, for which there are no trained weights"),
    ("self.contract = nn.Linear(width, C, bias=False)",
     "self.contract = nn.Linear(C, width, bias=False)", "contract.weight has shape"),
    ('config["hidden_dim"]', '4 * config["emb_dim"]', "gate.weight has shape (16, 4)"),
    ("self.gate = nn.Linear(C, width, bias=False)", "self.gate = nn.Linear(C, C, bias=False)",
     "gate.weight has shape (4, 4), but must have (7, 4)"),
)

# ----------------------------------------------------------------------------------- repeat_kv


@right("repeat_kv")
def expanded(x, times):
    B, K, S, D = x.shape
    return x[:, :, None].expand(B, K, times, S, D).reshape(B, K * times, S, D)


@right("repeat_kv")
def stacked(x, times):
    return torch.stack([x] * times, dim=2).flatten(1, 2)


@right("repeat_kv")
def by_index(x, times):
    return x[:, torch.arange(x.shape[1] * times) // times]


_WAY = "x.repeat_interleave(times, dim=1)"

wrong_edits(
    "repeat_kv",
    (_WAY, "x.repeat(1, times, 1, 1)", "but must find [0, 0, 1, 1, 2, 2]"),
    (_WAY, "x.repeat_interleave(times, dim=1).flip(1)", "in reverse order along the axis -3"),
    (_WAY, "x.repeat(times, 1, 1, 1)", "it is axis 1"),
    (_WAY, "x.repeat_interleave(times)", "it is axis 1"),
    (_WAY, "x", "it is axis 1"),
    (_WAY, "x.repeat_interleave(times, dim=1) / times", "copy the heads, compute nothing"),
    (_WAY, "x.detach().repeat_interleave(times, dim=1)", "no gradient reaches x"),
    (_WAY, "x.repeat_interleave(times + 1, dim=1)", "the shape of your heads is"),
)

# ----------------------------------------------------------------------------------- attention


@right("lost_thread")
def turned_after_the_cache(queries, keys, values, positions, cache):
    """The cache holds keys as they came, and all are turned anew, each by its own position."""
    keys, values = cache.extend(keys, values)
    T, S = queries.shape[2], keys.shape[2]
    queries, keys = gpt.rotate(queries, positions), gpt.rotate(keys, torch.arange(S))
    times = queries.shape[1] // keys.shape[1]
    keys, values = gpt.repeat_kv(keys, times), gpt.repeat_kv(values, times)
    return gpt.attention_weights(queries, keys, gpt.causal_mask(S)[-T:]) @ values


@right("lost_thread")
def of_the_librarys_parts(queries, keys, values, positions, cache):
    queries, keys = attention.rotate(queries, positions), attention.rotate(keys, positions)
    keys, values = cache.extend(keys, values)
    mask = attention.causal_mask(queries.shape[2], keys.shape[2])
    return F.scaled_dot_product_attention(queries, keys, values, mask, enable_gqa=True)


wrong_edits(
    "lost_thread",
    ("rotate(keys, positions)", "rotate(keys, positions + 1)", "in the prompt already"),
    ("rotate(queries, positions)", "queries", "in the prompt already"),
    ("rotate(queries, positions)", "rotate(queries, positions - positions[0])",
     "The prompt is right, and the tokens after it are not"),
    ("rotate(keys, positions)", "rotate(keys, torch.arange(len(positions)))",
     "The prompt is right, and the tokens after it are not"),
    ("causal_mask(S)[-T:]", "causal_mask(S)[:T]",
     "The prompt is right, and the tokens after it are not"),
    ("repeat_kv(values, times)", "values.repeat(1, times, 1, 1)", "in the prompt already"),
    ("keys, values = cache.extend(", "keys, _ = cache.extend(", "in line"),
    ("@ values", "@ values.detach()", "no gradient reaches values"),
)
