"""Answers to the exercises of chapter 5, right and wrong, as learners write them."""

import math

import torch
from collecting import right, wrong_edits
from torch import nn

from gptcourse.gpt import GPTModel, LayerNorm, TransformerBlock, init_weights

# -------------------------------------------------------------------------------- init_weights


@right("init_weights")
def by_layers_then_by_blocks(model):
    for part in model.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            torch.nn.init.normal_(part.weight, mean=0.0, std=0.02)
        if isinstance(part, nn.Linear) and part.bias is not None:
            torch.nn.init.zeros_(part.bias)
    for block in model.blocks:
        for layer in (block.attention.output, block.feed_forward.contract):
            layer.weight.data /= math.sqrt(2 * model.config["n_layers"])
    return model


@right("init_weights")
@torch.no_grad()
def with_numbers_of_its_own(model):
    for name, p in model.named_parameters():
        if p.ndim > 1:
            p.copy_(0.02 * torch.randn(p.shape))
        elif "scale" in name:
            p.fill_(1)
        else:
            p.fill_(0)
        if name.endswith(("attention.output.weight", "contract.weight")):
            p.div_(math.sqrt(2 * len(model.blocks)))


_ROOT = "math.sqrt(2 * len(model.blocks))"
_MATRIX = "elif parameter.dim() == 2:\n            nn.init.normal_(parameter, std=0.02)"
_MATRICES = "elif parameter.dim() == 2"
_TWO = '("attention.output.weight", "feed_forward.contract.weight")'
_IF = f"if name.endswith({_TWO})"
_BIASES = 'elif name.endswith("bias")'


def drawn(line):
    """All matrices that are not smaller, set by another line."""
    return _MATRIX, f"{_MATRICES}:\n            {line}"


wrong_edits(
    "init_weights",
    (_ROOT, "1", "as large as the others, though it writes to the residual stream"),
    (_ROOT, "math.sqrt(len(model.blocks))", "each of the L blocks writes twice"),
    (_ROOT, "(2 * len(model.blocks))", "You divide by 2L: divide by its root"),
    (f"0.02 / {_ROOT}", f"0.02 * {_ROOT}", "must have mean 0 and spread 0.02 / √(2"),
    (_IF, 'if name == "blocks.0.attention.output.weight"', "blocks.0.feed_forward.contract.weight "
     "has"),
    (f"name.endswith({_TWO})", '("output" in name or "contract" in name) and '
     "parameter.dim() == 2", "output_head.weight has mean"),
    (f"name.endswith({_TWO})", '"attention.output" in name or "contract" in name',
     "blocks.0.attention.output.bias has"),
    (*drawn("nn.init.normal_(parameter)"), "its first number is the mean, so write std=0.02"),
    (*drawn("nn.init.zeros_(parameter)"), "spread 0.0000, but must have mean 0 and spread 0.02"),
    (*drawn("parameter = nn.init.normal_(torch.empty(parameter.shape), std=0.02)"),
     "because parameter = ... only moves a name"),
    (_BIASES, "elif parameter.dim() == 1", "Norms begin with scale 1 and shift 0"),
    (f"{_BIASES}:\n            nn.init.zeros_", f"{_BIASES}:\n            nn.init.ones_",
     "Every bias begins at 0"),
)

# ----------------------------------------------------------------------------- the whole model


class Parts(nn.Module):
    def __init__(self, config):
        super().__init__()
        V, C = config["vocab_size"], config["emb_dim"]
        self.config = dict(config)
        self.output_head = nn.Linear(C, V, False)
        self.final_norm = LayerNorm(C)
        self.blocks = nn.ModuleList()
        for _ in range(config["n_layers"]):
            self.blocks.append(TransformerBlock(config))
        self.drop = nn.Dropout(config["drop_rate"])
        self.position_embedding = nn.Embedding(config["context_length"], C)
        self.token_embedding = nn.Embedding(V, C)
        if config.get("tie_weights", False):
            self.token_embedding.weight = self.output_head.weight
        init_weights(self)
        self.register_buffer("places", torch.arange(config["context_length"]), persistent=False)


@right("GPTModel")
@right("stumbling_model")
class OneAfterTheOther(Parts):
    def forward(self, ids):
        x = self.token_embedding(ids)
        x = self.drop(x + self.position_embedding.weight[: x.shape[1]])
        return nn.Sequential(*self.blocks, self.final_norm, self.output_head)(x)


@right("stumbling_model")
class RunningSum(Parts):
    def forward(self, ids):
        places = torch.ones_like(ids).cumsum(dim=1) - 1
        x = self.drop(self.token_embedding(ids) + self.position_embedding(places))
        for block in self.blocks:
            x = block(x)
        return self.output_head(self.final_norm(x))


@right("GPTModel")
class TextByText(Parts):
    def forward(self, ids):
        logits = []
        for text in ids:
            x = self.token_embedding(text) + self.position_embedding(torch.arange(len(text)))
            x = self.drop(x[None])
            for number in range(len(self.blocks)):
                x = self.blocks[number](x)
            logits.append(self.output_head(self.final_norm(x))[0])
        return torch.stack(logits)


@right("GPTModel")
class HeadByHand(Parts):
    def forward(self, ids):
        B, T = ids.shape
        places = self.places[:T].repeat(B, 1)
        x = self.drop(self.token_embedding(ids) + self.position_embedding(places))
        for block in self.blocks:
            x = block(x)
        return torch.einsum("btc,vc->btv", self.final_norm(x), self.output_head.weight)


@right("GPTModel")
class TiedByRegister(GPTModel):
    def __init__(self, config):
        super().__init__({**config, "tie_weights": False})
        self.config = config
        if config.get("tie_weights"):
            del self.output_head.weight
            self.output_head.register_parameter(
                "weight", self.get_parameter("token_embedding.weight"))


_TIE = "self.output_head.weight = self.token_embedding.weight"
_BLOCKS = 'nn.ModuleList(TransformerBlock(config) for _ in range(config["n_layers"]))'

wrong_edits(
    "GPTModel",
    (_TIE, "self.output_head.weight.data = self.token_embedding.weight.data",
     "head and token embedding have two parameters"),
    (_TIE, "self.output_head.weight = nn.Parameter(self.token_embedding.weight.t().contiguous())",
     "output_head.weight has shape (8, 11), but must have (11, 8)"),
    (_TIE, f"{_TIE}\n            self.output_head.weight.requires_grad_(False)",
     "the token embedding is frozen"),
    (_TIE, 'self.output_head = nn.Linear(config["emb_dim"], config["vocab_size"])\n'
     f"            {_TIE}", "it has output_head.bias, for which there are no trained weights"),
    ("        init_weights(self)\n", "        init_weights\n",
     "Call init_weights(self) at the end of __init__"),
    ("        init_weights(self)\n", "        init_weights(self)\n        self.eval()\n",
     "must be ready for training"),
    ("        init_weights(self)\n", "        init_weights(self)\n"
     "        nn.init.zeros_(self.position_embedding.weight)\n",
     "position_embedding.weight has mean 0.0000 and spread 0.0000"),
    ("        self.config = config\n", "", "does not remember its configuration"),
    ('nn.Dropout(config["drop_rate"])', "nn.Identity()", "must be dropped, but it is 0%"),
    ('nn.Dropout(config["drop_rate"])', "nn.Dropout(0.1)",
     "something is dropped with drop_rate=0.0"),
    ('config.get("tie_weights")', '"tie_weights" in config', "with tie_weights=False, the head"),
    (_BLOCKS, 'nn.ModuleList(TransformerBlock(config) for _ in range(config["n_layers"] - 1))',
     "it has no blocks.2."),
    ("self.token_embedding = nn.Embedding", "self.embedding = nn.Embedding",
     "so call it token_embedding"),
    ('config["context_length"], config["emb_dim"]', 'config["emb_dim"], config["emb_dim"]',
     "position_embedding.weight has shape (6, 6), but must have (9, 6)"),
    ("class GPTModel(nn.Module)", "class GPTModel", "is no layer yet"),
)

# ------------------------------------------------------------------------- the way through it

_SUM = "self.token_embedding(ids) + self.position_embedding(positions)"
_ARANGE = "torch.arange(ids.shape[1], device=ids.device)            # (T)"
_LOOP = "for block in self.blocks:\n            x = block(x)"
_STEP = "x = block(x)                                                     # (B, T, C)"
_END = "return self.output_head(self.final_norm(x))"
_DROP = "x = self.dropout(x)"

wrong_edits(
    "GPTModel",
    (_SUM, "self.token_embedding(ids)", "position_embedding is never called"),
    (_SUM, "self.token_embedding(ids) + torch.zeros_like(self.position_embedding(positions))",
     "must read the sum of the two embeddings"),
    (_SUM, "self.token_embedding(ids) + self.position_embedding(torch.arange(len(ids)))[:, None]",
     "must read the places 0 to 3"),
    (_SUM, f"({_SUM}) / 2", "must read the sum"),
    (_SUM, 'self.token_embedding(ids) * self.config["emb_dim"] ** 0.5 + '
     "self.position_embedding(positions)", "must read the sum"),
    (_SUM, "self.position_embedding(ids) + self.token_embedding(positions)",
     "must read ids"),
    (_END, "self.final_norm(x)\n        return self.output_head(x)",
     "must read what final_norm returns"),
    (f"{_STEP}\n        {_END}", "x = block(x)\n            x = self.final_norm(x)\n"
     "        return self.output_head(x)", "must read what blocks[0]"),
    (_END, "return torch.softmax(self.output_head(self.final_norm(x)), -1)",
     "A softmax was applied"),
    (_END, f"{_END}.log_softmax(-1)", "A log_softmax was applied"),
    (_STEP, "x += block(x)", "must read what blocks[0] returns"),
    (_END, "return self.output_head(self.final_norm(x[:, -1]))", "Only the last place"),
    (_END, "return x", "final_norm is never called"),
    (_LOOP, "with torch.no_grad():\n            for block in self.blocks:\n"
     "                x = block(x)", "no gradient reaches"),
    (_LOOP, "x = self.blocks[1](self.blocks[0](x))", "blocks[2] is never called"),
    (_LOOP, "for block in [*self.blocks, *self.blocks]:\n            x = block(x)",
     "blocks[0] is called 2 times"),
    (_LOOP, "for block in self.blocks[::-1]:\n            x = block(x)",
     "must read the sum"),
    (_LOOP, "x = sum(block(x) for block in self.blocks)",
     "must read what blocks[0] returns"),
    (_STEP, "x = block(x + self.position_embedding(positions))",
     "position_embedding is called 4 times"),
    (_STEP, "x = block(self.final_norm(x))", "must read the sum"),
    (_END, "return self.output_head(self.final_norm(self.final_norm(x)))",
     "final_norm is called 2 times"),
    (_END, "return self.output_head(x + self.final_norm(x))",
     "must read what final_norm returns"),
    (_END, "return self.output_head(self.final_norm(x)).tanh()",
     "it must be what output_head returns"),
    (_END, "self.output_head(self.final_norm(x))", "it returns None"),
    (f"        {_DROP}\n", "", "must be dropped, but it is 0%"),
    ("for block in self.blocks:", "for block in self.blocks.eval():",
     "forward changes the layer itself"),
    (_SUM, f"torch.tensor(({_SUM}).tolist())", "no gradient reaches"),
    (_SUM, "self.token_embedding(ids[:1]) + self.position_embedding(positions)",
     "Only one text of the batch is left"),
    (_DROP, "x = nn.functional.dropout(x, 0.1)", "Called twice with the same input"),
)
wrong_edits(
    "stumbling_model",
    (_ARANGE, "torch.arange(ids.shape[1]).flip(0)", "must read the places 0 to 3"),
    (_ARANGE, "torch.zeros_like(ids).cumsum(dim=1)", "must read the places 0 to 3"),
)
