"""What depth does to the gradient and to the tokens, with shortcuts and norms and without."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptcourse import figures
from gptcourse.views.base import View, choice, switch, whole_slider
from gptcourse.views.weights import drawing_from
from gptlib.blocks import TransformerBlock
from gptlib.config import GPTConfig

DEEPEST, TOKENS = 48, 8
# Blocks of the storyteller's width, and numbers as large as those that a new GPT of twelve blocks
# begins with: in its matrices, in those that write to the stream, and in its tokens' vectors.
CONFIG = GPTConfig(vocab_size=1, context_length=TOKENS, emb_dim=128, n_heads=4, n_layers=DEEPEST,
                   drop_rate=0.0, qkv_bias=False)
WEIGHT_SIZE, START_SIZE = 0.02, 0.03
WRITERS, SMALLER = ("attention.output", "feed_forward.contract"), (2 * 12) ** -0.5
PRE_NORM, POST_NORM, NO_NORM = "pre-norm", "post-norm", "none"


def stack_of_blocks(seed: int = 0) -> nn.ModuleList:
    """Real transformer blocks with random weights, in float64: tiny gradients are to be seen."""
    generator = torch.Generator().manual_seed(seed)
    with drawing_from(torch.Generator()):    # the layers' own first weights, which are not kept
        blocks = nn.ModuleList(TransformerBlock(CONFIG) for _ in range(DEEPEST)).double()
    for name, module in blocks.named_modules():
        if isinstance(module, nn.Linear):
            size = WEIGHT_SIZE * (SMALLER if name.endswith(WRITERS) else 1)
            nn.init.normal_(module.weight, std=size, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return blocks


def through_block(block: TransformerBlock, x: Tensor, shortcuts: bool, norm: str) -> Tensor:
    """`TransformerBlock.forward`, whose shortcuts can be left out, and whose norms can be left
    out or stand behind each addition, as in the first transformer (Vaswani et al., 2017)."""
    for normalize, part in ((block.attention_norm, block.attention),
                            (block.feed_forward_norm, block.feed_forward)):
        found = part(normalize(x) if norm == PRE_NORM else x)
        x = x + found if shortcuts else found
        x = normalize(x) if norm == POST_NORM else x
    return x


class GradientFlow(View):
    """A forward and a backward pass through a real stack of blocks, layer by layer."""

    def __init__(self):
        self.depth = whole_slider("depth", 2, DEEPEST, 12, "Number of blocks in the stack")
        self.shortcuts = switch("shortcuts", True, "x + f(x) in place of f(x)")
        self.norm = choice("norms", _formulas(shortcuts=True), "Where the norm stands")
        super().__init__([self.depth, self.norm, self.shortcuts])
        with torch.inference_mode(False):
            self._blocks = stack_of_blocks()
        self._former: dict | None = None
        self._build()
        self.follow(self.depth, self.shortcuts, self.norm)

    @staticmethod
    def compute(blocks: nn.ModuleList, depth: int, shortcuts: bool, norm: str) -> dict:
        """Before the first block and after each of `depth` blocks: the size of the gradient that
        arrives there, as a multiple of what enters at the end, and how alike the tokens are (the
        mean cosine between their vectors).  -> arrays (depth + 1)
        """
        generator = torch.Generator().manual_seed(1)
        shape = (1, TOKENS, CONFIG.emb_dim)
        with torch.inference_mode(False), torch.enable_grad():
            start, entering = (torch.randn(shape, generator=generator, dtype=torch.float64)
                               for _ in range(2))
            stream = [(START_SIZE * start).requires_grad_()]
            for block in blocks[:depth]:
                stream.append(through_block(block, stream[-1], shortcuts, norm))
            gradients = torch.autograd.grad(stream[-1], stream, entering)
        sizes = torch.stack([_size(gradient) for gradient in gradients]) / entering.norm()
        cosines = [_likeness(x[0].detach()) for x in stream]
        return {"gradient": sizes.numpy(), "likeness": np.array(cosines)}

    def update(self) -> None:
        depth, shortcuts, norm = self.depth.value, self.shortcuts.value, self.norm.value
        with self.held():
            self.norm.options = _formulas(shortcuts)       # which takes its value away
            self.norm.value = norm
        result = self.compute(self._blocks, depth, shortcuts, norm)
        result["name"] = _name(shortcuts, norm)
        self._draw(result)
        summary = (f"{depth} blocks {result['name']}: of the gradient at the end, "
                   f"{figures.number(result['gradient'][0])} times as much reaches the start; the "
                   f"tokens' vectors end up with a mean cosine of {result['likeness'][-1]:.2f}.")
        self.show(summary, self._stage, depth=depth, **result)
        self._former = result

    def _build(self) -> None:
        figure = figures.new_figure(figures.WIDTH, 320)
        self._axes = [
            figures.new_axes(figure, "Gradient that arrives", "after block", "relative to the end",
                             "y", position=121),
            figures.new_axes(figure, "How alike the tokens are", "after block", "mean cosine", "y",
                             position=122)]
        figures.set_log_y(self._axes[0])
        self._axes[1].set_ylim(-0.05, 1.05)
        self._curves = []
        for axes in self._axes:
            pale, = axes.plot([], [], color=figures.PALETTE["former"], linewidth=1.6)
            strong, = axes.plot([], [], color=figures.SERIES[0], linewidth=2, marker="o",
                                markersize=3)
            self._curves.append((pale, strong))
        self._axes[0].set_ylim(1e-200, 1)                 # leaves room for the longest labels
        self._stage = figures.Stage(figure, *self._axes)

    def _draw(self, result: dict) -> None:
        """This setting in blue, and in gray the one before it."""
        former = self._former
        for axes, (pale, strong), name in zip(self._axes, self._curves, ("gradient", "likeness"),
                                              strict=True):
            strong.set_data(np.arange(len(result[name])), result[name])
            if former is not None:
                pale.set_data(np.arange(len(former[name])), former[name])
            axes.set_xlim(-0.5, len(result[name]) - 0.5)
        seen = np.concatenate([result["gradient"], former["gradient"] if former else [1.0]])
        seen = seen[np.isfinite(seen) & (seen > 0)]
        self._axes[0].set_ylim(min(1e-2, seen.min() / 3), max(1e2, seen.max() * 3))


def _size(x: Tensor) -> Tensor:
    """The norm of x, also where its numbers are so tiny that their squares would be 0."""
    largest = x.abs().max()
    return largest * (x / largest).norm()


def _likeness(vectors: Tensor) -> float:
    """Mean cosine between each two of these vectors (T, C)."""
    vectors = vectors / vectors.abs().max()              # as in _size
    directions = F.normalize(vectors, dim=-1, eps=1e-300)
    cosines = directions @ directions.T                                      # (T, T)
    T = len(vectors)
    return float((cosines.sum() - T) / (T * (T - 1)))


def _formulas(shortcuts: bool) -> list[tuple[str, str]]:
    """What a block computes with each kind of norm, and the kind."""
    x = "x + " * shortcuts
    return [(f"pre-norm: {x}f(norm(x))", PRE_NORM), (f"post-norm: norm({x}f(x))", POST_NORM),
            (f"none: {x}f(x)", NO_NORM)]


def _name(shortcuts: bool, norm: str) -> str:
    if norm == NO_NORM:
        return "with shortcuts, no norms" if shortcuts else "without shortcuts or norms"
    return f"with shortcuts and {norm}" if shortcuts else f"with {norm}, no shortcuts"
