"""Answers to the exercises of chapter 4, right and wrong, as learners write them."""

import math

import torch
import torch.nn.functional as F
from collecting import right, wrong_edits
from torch import nn

from gptcourse.gpt import GELU, FeedForward, LayerNorm, MultiHeadAttention

# ----------------------------------------------------------------------------------- LayerNorm


class Norm(nn.Module):
    def __init__(self, emb_dim):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(emb_dim))
        self.scale = nn.Parameter(torch.ones(emb_dim))


@right("LayerNorm")
class FromTorch(Norm):
    def forward(self, x):
        return F.layer_norm(x, self.scale.shape, self.scale, self.shift)


@right("LayerNorm")
class BySums(Norm):
    def forward(self, x):
        C = x.shape[-1]
        centered = x - (x.sum(-1) / C).unsqueeze(-1)
        variance = (centered**2).sum(-1, keepdim=True) / C
        return self.shift + centered * (variance + 1e-5) ** -0.5 * self.scale


@right("LayerNorm")
class InDouble(Norm):
    def forward(self, x):
        x = x.double()
        variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
        return (x - mean).div(torch.sqrt(variance + 1e-5)).mul(self.scale).add(self.shift)


@right("LayerNorm")
class InPlaceOnAnOwnCopy(Norm):
    def __init__(self, emb_dim, eps=1e-5):
        super().__init__(emb_dim)
        self.eps = eps

    def forward(self, x):
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt()
        x *= self.scale
        x += self.shift
        return x


_MEAN = "mean = x.mean(dim=-1, keepdim=True)"
_VARIANCE = "variance = x.var(dim=-1, keepdim=True, unbiased=False)"
_STATISTICS = f"{_MEAN}                                  # (..., 1)\n        {_VARIANCE}"
_RETURN = "return self.scale * (x - mean) / torch.sqrt(variance + 1e-5) + self.shift"
_PLAIN = "(x - mean) / torch.sqrt(variance + 1e-5)"
_NN = "nn.functional."

wrong_edits(
    "LayerNorm",
    (_VARIANCE, "variance = x.var(-1, keepdim=True)", "C - 1"),
    (_PLAIN, "(x - mean) / (x.std(-1, keepdim=True, correction=0) + 1e-5)",
     "All is right but the 1e-5"),
    (_STATISTICS, "mean = x.mean(-2, keepdim=True)\n"
     "        variance = x.var(-2, keepdim=True, correction=0)",
     "What becomes of one vector changes with the others"),
    (_RETURN, f"return {_PLAIN}", "multiply what is normalized by self.scale, then add self.shift"),
    (_MEAN, f"x -= x.mean(-1, keepdim=True)\n        {_MEAN}", "it changes its input x"),
    (_VARIANCE, "variance = (x - mean).abs().mean(-1, keepdim=True) ** 2",
     "each vector must have the variance 1"),
    ("def __init__(self, emb_dim)", "def __init__(self)", "your function takes ()"),
    ("self.scale *", "self.scale.detach() *", "no gradient reaches scale"),
    (_VARIANCE, f"mean = mean.detach()\n        {_VARIANCE}.detach()",
     "a part of the gradient of x is lost"),
    (_PLAIN, "(x - mean / torch.sqrt(variance + 1e-5))", "subtract its mean first, in brackets"),
    (_PLAIN, "((x - mean) / (variance + 1e-5)).sqrt()", "That is no usable number"),
    ("self.shift\n", "self.shift,\n", "a comma at the end of a line makes one"),
    ("torch.ones(emb_dim)", "torch.zeros(emb_dim)", "a fresh norm has another scale than 1"),
    ("self.scale = nn.Parameter(torch.ones(emb_dim))", "self.scale = nn.Linear(emb_dim, emb_dim)",
     "scale is a layer, but must be a parameter"),
    ("nn.Parameter(torch.ones(emb_dim))", "torch.ones(emb_dim)",
     "scale is a plain tensor, which is not learned: nn.Parameter(...)."),
    ("torch.ones(emb_dim)", "torch.ones(1)", "scale has shape (1,), but must have (6,)"),
    ("", "    def __init__(self, emb_dim):\n        super().__init__()\n"
     "        self.norm = nn.LayerNorm(emb_dim)\n    def forward(self, x):\n"
     "        return self.norm(x)", "it has no scale, but norm."),
)

# ---------------------------------------------------------------------------------------- GELU


@right("GELU")
class TorchsTanhForm(nn.Module):
    def forward(self, x):
        return F.gelu(x, approximate="tanh")


@right("GELU")
class WithASigmoid(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = 2 * (2 / math.pi) ** 0.5

    def forward(self, x):
        return x * torch.sigmoid(self.factor * (x + 0.044715 * x.pow(3)))


@right("GELU")
class InDoubleBySteps(nn.Module):
    def forward(self, x):
        x = x.double()
        inner = torch.sqrt(torch.tensor(2 / torch.pi)) * (x + 0.044715 * torch.pow(x, 3))
        return x / 2 * (1 + inner.tanh())


_GELU = "0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))"
_ROOT = "math.sqrt(2 / math.pi)"
_INNER = "math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)"

wrong_edits(
    "GELU",
    (_GELU, f"{_NN}gelu(x)", "the error function"),
    (_GELU, "x.clamp(min=0)", "That is ReLU"),
    (_GELU, f"{_NN}silu(x)", "That is SiLU"),
    (_GELU, "x * torch.sigmoid(1.702 * x)", "That is the sigmoid form of GELU"),
    (_ROOT, "(math.pi / 2) ** 0.5", "x is multiplied by 1.25331"),
    ("0.044715 * x**3", "0.0447 * x**3", "x³ by 0.03567"),
    (_GELU, f"x.mul_(torch.sigmoid(2 * {_INNER}))", "it changes its input x"),
    ("(x + 0.044715 * x**3)", "(x + 0.044715) * x**3",
     "Inside of the tanh stands something other"),
    (f"torch.tanh({_INNER})", f"{_ROOT} * torch.tanh(x + 0.044715 * x**3)",
     "Outside of the tanh, or in place of it"),
    ("0.5 * x * (1 + ", "x * (", "but you get 20 and 20"),
    ("0.5 * x", "1 // 2 * x", "as 1 // 2 is"),
    (f"return {_GELU}", f"nn.functional.gelu({_GELU})", "it returns None"),
    (_GELU, "nn.GELU()", "call it, with brackets"),
    (_GELU, f"({_GELU}).detach()", "no gradient reaches x"),
)

# --------------------------------------------------------------------------------- FeedForward


class Layers(nn.Module):
    def __init__(self, config):
        super().__init__()
        C = config["emb_dim"]
        self.contract = nn.Linear(in_features=C * 4, out_features=C)
        self.expand = nn.Linear(C, C * 4)


@right("FeedForward")
class ThreeLines(Layers):
    def forward(self, x):
        x = self.expand(x)
        x = F.gelu(x, approximate="tanh")
        return self.contract(x)


@right("FeedForward")
class WithTheWeightsThemselves(Layers):
    def forward(self, x):
        hidden = GELU()(x @ self.expand.weight.T + self.expand.bias)
        return torch.einsum("btn,cn->btc", hidden, self.contract.weight) + self.contract.bias


@right("FeedForward")
class AsASequence(Layers):
    def forward(self, x):
        return nn.Sequential(self.expand, nn.GELU("tanh"), self.contract)(x)


_ALL = "self.contract(self.gelu(self.expand(x)))"
_BENT = "self.gelu(self.expand(x))"

wrong_edits(
    "FeedForward",
    (_BENT, "torch.relu(self.expand(x))", "Your nonlinearity is ReLU"),
    ("GELU()", "nn.GELU()", "the error function"),
    (_ALL, f"{_NN}linear(self.gelu({_NN}linear(x, self.expand.weight)), self.contract.weight)",
     "expand is never called"),
    (_ALL, "self.contract(self.gelu(self.expand(x.mean(1, keepdim=True)))).expand_as(x)",
     "All places along the last axis but one hold the same numbers"),
    (_ALL, "self.contract(self.gelu(self.expand(x.mean(1, keepdim=True))))",
     "expand reads something else, but must read x"),
    (_ALL, f"{_BENT} @ self.contract.weight.T", "contract is never called"),
    ("self.expand(x)", f"self.expand({_NN}layer_norm(x, x.shape[-1:]))",
     "expand reads a normalized x"),
    (f"return {_ALL}", f"result = {_ALL}\n        return result - result.mean(-1, keepdim=True)",
     "it must be contract(...)"),
    ("self.expand(x)", "self.expand(x) + self.expand(x)", "expand is called 2 times"),
    (_ALL, "nn.Sequential(self.expand, self.gelu, self.contract)", "call it, with brackets"),
    (f"return {_ALL}", f"hidden = {_BENT}\n        hidden[..., x.shape[-1] :] = 0\n"
     "        return self.contract(hidden)", "but must read gelu(expand(...))"),
    (_ALL, f"{_ALL}.log_softmax(-1)", "A log_softmax was applied"),
    (f"return {_ALL}", "hidden = self.expand(x)\n"
     "        return self.contract(hidden * torch.sigmoid(1.702 * hidden))",
     "Your nonlinearity is the sigmoid form of GELU"),
    ("self.expand(x)", "self.expand(x + torch.arange(x.shape[1])[:, None])",
     "but must read x as it came in"),
    (_ALL, "self.contract(self.gelu(self.expand(x.flatten(0, 1))))", "cut in another way"),
    (_ALL, f"(x + {_ALL}) / 2", "you return 0.5 x + 0.5 contract(...)"),
    ('self.expand = nn.Linear(config["emb_dim"], 4 * config["emb_dim"])',
     'self.expand = nn.Linear(config["emb_dim"], 4 * config["emb_dim"], bias=False)',
     "it has no expand.bias of shape (16,)"),
    ('self.expand = nn.Linear(config["emb_dim"], 4 * config["emb_dim"])', "self.expand = "
     'nn.Parameter(torch.randn(4 * config["emb_dim"], config["emb_dim"]))',
     "expand is a parameter, but must be a layer"),
    ("self.contract = nn.Linear(", "self.shrink = nn.Linear(", "so call it contract"),
    (_ALL, f"{_ALL}.detach()", "no gradient reaches"),
    (f"return {_ALL}", "with torch.no_grad():\n            self.expand.bias.add_(1.0)\n            "
     f"{_BENT}\n            self.expand.bias.add_(1.0)\n        self.expand.bias.data -= 2\n"
     f"        result = {_ALL}\n        self.expand.bias.data += 1\n        return result",
     "forward changes the layer itself"),
    ("", "    def __init__(self, config):\n        super().__init__()\n"
     '        C = config["emb_dim"]\n'
     "        self.layers = nn.Sequential(nn.Linear(C, 4 * C), GELU(), nn.Linear(4 * C, C))\n"
     "    def forward(self, x):\n        return self.layers(x)",
     "layers.0.weight, of the same shape: trained weights find their place by name, so call it "
     "expand"),
)

# ---------------------------------------------------------------------------- TransformerBlock


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.drop = nn.Dropout(p=config["drop_rate"])
        self.feed_forward = FeedForward(config)
        self.attention = MultiHeadAttention(config)
        self.attention_norm, self.feed_forward_norm = (
            LayerNorm(config["emb_dim"]) for _ in range(2))


@right("TransformerBlock")
class WithListsOfParts(Block):
    def forward(self, x):
        for norm, part in [(self.attention_norm, self.attention),
                           (self.feed_forward_norm, self.feed_forward)]:
            x = torch.add(F.dropout(part(norm(x)), self.drop.p, self.training), x)
        return x


@right("TransformerBlock")
@right("babbling_block")
class WithShortcutsByName(Block):
    def forward(self, x):
        shortcut = x
        x = self.attention_norm(x)
        x = self.attention(x)
        x = self.drop(x)
        x = shortcut + x
        shortcut = x
        x = self.feed_forward_norm(x)
        x = self.feed_forward(x)
        x = self.drop(x)
        return shortcut + x


@right("babbling_block")
class WithTheLoopMended(Block):
    def forward(self, x):
        for norm, part in ((self.attention_norm, self.attention),
                           (self.feed_forward_norm, self.feed_forward)):
            normed = norm(x)
            x = x + self.drop(part(normed))
        return x


_FIRST = "x = x + self.dropout(self.attention(self.attention_norm(x)))"
_SECOND = "return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))"
_BLOCK = f"{_FIRST}\n        {_SECOND}"


def block(*lines):
    """What stands in place of the two lines of forward."""
    return _BLOCK, "\n        ".join(lines)


def block_of(first, second):
    """The two lines, with what each of them makes of x."""
    return block(f"x = {first}", f"return {second}")


def loop(*lines):
    """The same, with these lines for each of the two halves in turn."""
    return block("for norm, part in ((self.attention_norm, self.attention),",
                 "                   (self.feed_forward_norm, self.feed_forward)):",
                 *(f"    {line}" for line in lines), "return x")


_A, _F = "self.attention(self.attention_norm(x))", "self.feed_forward(self.feed_forward_norm(x))"

wrong_edits(
    "TransformerBlock",
    (*block("x = x.clone()", f"x += {_A}", f"x += {_F}", "return x"), "changed in place"),
    (*block(f"x += {_A}", f"x += {_F}", "return x"), "it changes its input x"),
    (*block("x = self.attention_norm(x)", "x = x + self.attention(x)",
            "x = self.feed_forward_norm(x)", "x = x + self.feed_forward(x)", "return x"),
     "feed_forward_norm reads attention_norm(...) + attention(...)"),
    (*block(f"return x + {_A} + {_F}"), "feed_forward_norm reads x, but must read x + attention"),
    (*block(f"y = x + {_A}", "return x + self.feed_forward(self.feed_forward_norm(y))"),
     "you return x + feed_forward(...): it must be"),
    (*block(f"y = x + {_A}", "return x + y + self.feed_forward(self.feed_forward_norm(y))"),
     "you return 2 x + attention(...) + feed_forward(...)"),
    (*block_of(f"x + {_A}", f"x - {_F}"), "you return x + attention(...) - feed_forward(...)"),
    (*block("return x.clone()"), "That is x as it came in"),
    (*block("with torch.no_grad():", f"    x = x + {_A}", f"    return x + {_F}"),
     "no gradient reaches"),
    (*block(f"x = x + {_A}", "x = self.feed_forward_norm(x)", "return x + self.feed_forward(x)"),
     "you return feed_forward_norm(...) + feed_forward(...): it must be"),
    (*block_of(f"x + self.attention({_NN}layer_norm(x, x.shape[-1:]))",
               f"x + self.feed_forward({_NN}layer_norm(x, x.shape[-1:]))"),
     "attention_norm is never called"),
    (*block(f"x = x + {_A}", f"x = x + {_A}", f"return x + {_F}"),
     "attention_norm is called 2 times: once is enough."),
    (*block_of(f"x + {_NN}dropout({_A}, 0.3)", f"x + {_NN}dropout({_F}, 0.3)"),
     "Called twice with the same input"),
    (*block_of("x + self.feed_forward(self.attention_norm(x))",
               "x + self.attention(self.feed_forward_norm(x))"),
     "attention reads feed_forward_norm(...), but must read attention_norm"),
    (*block(f"return x + self.feed_forward(self.feed_forward_norm({_A}))"),
     "feed_forward_norm reads attention(...), but must read x + attention"),
    (*block_of(f"(x + {_A}) / math.sqrt(2)", f"(x + {_F}) / math.sqrt(2)"),
     "reads 0.7071 x + 0.7071 attention(...)"),
    (*block(f"found = {_A}",
            "return found + self.feed_forward(self.feed_forward_norm(x + found))"),
     "you return attention(...) + feed_forward(...): it must be"),
    (*block_of(f"x + {_A}", f"x + GELU()({_F})"), "but you return something else"),
    (*block_of(f"x * {_A}", f"x * {_F}"), "feed_forward_norm reads something else"),
    (*block_of(f"x + {_A}", "x + self.feed_forward(x)"), "feed_forward_norm is never called"),
    (*block_of(f"x + {_A}", f"x + self.dropout({_F})"), "what self.attention adds must be dropped"),
    ('nn.Dropout(config["drop_rate"])', "nn.Dropout(0.1)",
     "something is dropped with drop_rate=0.0"),
    ("self.attention = MultiHeadAttention(config)",
     "self.attn = MultiHeadAttention(config)", "so call it attention"),
    ("        self.feed_forward = FeedForward(config)\n", "",
     "it has no feed_forward.expand.weight of shape"),
)
wrong_edits(
    "babbling_block",
    (*loop("x = x + self.dropout(part(self.attention_norm(x)))"),
     "attention_norm is called 2 times, and feed_forward_norm never: once each."),
    (*loop("x = x + norm(self.dropout(part(x)))"), "attention_norm reads attention(...)"),
    (*block_of(f"x + {_A}", f"self.feed_forward_norm(x + {_F})"), "feed_forward_norm"),
    (*block_of("x + self.attention(x)", f"x + {_F}"), "attention_norm is never called"),
    (*block_of(f"x + {_A}", "x + self.feed_forward_norm(self.feed_forward(x))"),
     "feed_forward_norm reads feed_forward(...), but must read"),
    (*block_of(f"x + {_A}", f"x + {_F}"), "what self.attention adds must be dropped"),
)
