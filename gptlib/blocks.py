"""Chapter 4. The transformer block: attention moves information between tokens, the feed-forward
network works on each token by itself, and both add what they found to the residual stream.

Where torch has a fused kernel for a formula, the function states the formula, the class runs the
kernel, and a test holds the two together.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptlib.attention import KVCache, MultiHeadAttention
from gptlib.config import GPTConfig
from gptlib.dropout import Dropout
from gptlib.tap import Tap


def layer_norm(x: Tensor, scale: Tensor, shift: Tensor, eps: float = 1e-5) -> Tensor:
    """Each vector brought to mean 0 and variance 1, then stretched and moved as learned.

    x (..., C), scale (C), shift (C) -> (..., C).  Ba et al. (2016), "Layer Normalization".
    """
    mean = x.mean(dim=-1, keepdim=True)                                  # (..., 1)
    variance = x.var(dim=-1, keepdim=True, unbiased=False)               # (..., 1)
    return scale * (x - mean) / torch.sqrt(variance + eps) + shift       # eps: no division by 0


class LayerNorm(nn.Module):
    """`layer_norm` with its learned scale and shift."""

    def __init__(self, emb_dim: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(emb_dim))
        self.shift = nn.Parameter(torch.zeros(emb_dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.scale.shape, self.scale, self.shift, self.eps)


def rms_norm(x: Tensor, scale: Tensor, eps: float = 1e-5) -> Tensor:
    """Each vector divided by the root of its mean square, then stretched as learned.

    x (..., C), scale (C) -> (..., C).  Zhang and Sennrich (2019), "Root Mean Square Layer
    Normalization": a layer norm that leaves the mean where it is.
    """
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * scale


class RMSNorm(nn.Module):
    """`rms_norm` with its learned scale (chapter 9)."""

    def __init__(self, emb_dim: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(emb_dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.scale.shape, self.scale, self.eps)


def make_norm(config: GPTConfig) -> LayerNorm | RMSNorm:
    """The norm that `config.norm` names."""
    kind = RMSNorm if config.norm == "rms" else LayerNorm
    return kind(config.emb_dim, config.norm_eps)


def gelu(x: Tensor) -> Tensor:
    """A gate that opens softly: near 0 far below zero, near x far above.

    The tanh form, with which GPT-2 was trained. Hendrycks and Gimpel (2016), "Gaussian Error
    Linear Units", section 2.
    """
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class GELU(nn.Module):
    """`gelu` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x, approximate="tanh")


class FeedForward(nn.Module):
    """Widen each token's vector four times, apply GELU, and bring it back to its width."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.expand = nn.Linear(config.emb_dim, config.hidden_width)
        self.gelu = GELU()
        self.activations = Tap()
        self.contract = nn.Linear(config.hidden_width, config.emb_dim)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.activations(self.gelu(self.expand(x)))             # (B, T, 4C)
        return self.contract(hidden)                                     # (B, T, C)


class SwiGLU(nn.Module):
    """A feed-forward network whose every hidden number is a product: a gate times what it lets in.

    The gate is silu(z) = z · sigmoid(z). No biases.  Shazeer (2020), "GLU Variants Improve
    Transformer" (chapter 9).
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        width = config.hidden_width
        self.gate = nn.Linear(config.emb_dim, width, bias=False)
        self.expand = nn.Linear(config.emb_dim, width, bias=False)
        self.activations = Tap()
        self.contract = nn.Linear(width, config.emb_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.silu(self.gate(x))                                    # (B, T, hidden_dim)
        hidden *= self.expand(x)                                         # needs no third matrix
        return self.contract(self.activations(hidden))                   # (B, T, C)


class TransformerBlock(nn.Module):
    """Two additions to the residual stream, each computed from a normalized copy of it.

    The pre-norm arrangement of GPT-2: Radford et al. (2019), section 2.3.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = MultiHeadAttention(config)
        self.feed_forward_norm = make_norm(config)
        self.feed_forward = (SwiGLU if config.feed_forward == "swiglu" else FeedForward)(config)
        self.dropout = Dropout(config.drop_rate)

        self.residual_mid, self.residual_end = Tap(), Tap()

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """x (B, T, C) -> (B, T, C)"""
        x = x + self.dropout(self.attention(self.attention_norm(x), cache))
        x = self.residual_mid(x)
        x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return self.residual_end(x)
