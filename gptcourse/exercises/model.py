"""Exercises of chapter 5: how weights begin, what a model is made of, and the way through it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from gptcourse import gpt
from gptcourse.exercises.answers import TensorAnswer, described, number
from gptcourse.exercises.classes import (
    dropout_in_training_only,
    fits,
    forward_leaves_it_alone,
    gradients_reach_all,
    no_look_ahead,
    run_filled,
)
from gptcourse.exercises.early import EARLY
from gptcourse.exercises.exercise import Exercise, Property, Todo
from gptcourse.exercises.properties import normal, overheard


def _config(V, N, C, H, L, **more):
    return {"vocab_size": V, "context_length": N, "emb_dim": C, "n_heads": H, "n_layers": L,
            "drop_rate": 0.0, "qkv_bias": True, **more}


# -------------------------------------------------------------------------------- init_weights


@dataclass(frozen=True)
class Beginning:
    """Of each parameter of a model, by name: the mean of its numbers, and how far they spread."""

    name: str = "model"

    def malformed(self, answer: Any, expected: Mapping) -> str | None:
        if not isinstance(answer, Mapping):
            return f"you return {described(answer)}: nothing is returned, but the model changed."
        for name in [*expected, *answer]:
            if (name in answer) != (name in expected):
                return (f"{name} is {'no longer there' if name in expected else 'new'}: keep each "
                        "parameter, and change only the numbers in it.")
        return None

    def difference(self, answer: Mapping, expected: Mapping) -> str | None:
        for name, (mean, spread) in expected.items():
            got_mean, got_spread = answer[name]
            if not _close(got_spread, spread) or not abs(got_mean - mean) < 0.25 * spread + 1e-6:
                begins = (f"must be {number(mean)}, all of it" if not spread else
                          f"must have mean 0 and spread {_wanted(name, spread, expected)}")
                return (f"{name} has mean {got_mean:.4f} and spread {got_spread:.4f}, but {begins}."
                        f"{self._cause(name, got_spread, spread, expected)}")
        return None

    def _cause(self, name, got, wanted, expected) -> str:
        """What is wrong with the spread of what writes to the residual stream, or with a norm."""
        L = _depth(expected)
        if name.endswith(("scale", "shift")):
            return " Norms begin with scale 1 and shift 0 by themselves: leave them alone."
        if _close(got, 0.5):                             # all begins so in the trials
            return (" It is as it was: either nobody draws it, or what is drawn never reaches the "
                    "model, because parameter = ... only moves a name.")
        if _close(got, 1):
            return (" A spread of 1 is what normal_ has unless it is told: its first number is the "
                    "mean, so write std=0.02.")
        if name.endswith("bias"):
            return " Every bias begins at 0, and its name ends with bias."
        if wanted == 0.02:
            return ""
        causes = {
            1: "It is as large as the others, though it writes to the residual stream: "
               "divide its 0.02 by the root of 2L.",
            1 / math.sqrt(L): "You divide by the root of L, but each of the L blocks writes twice: "
                              "2L.",
            1 / (2 * L): "You divide by 2L: divide by its root.",
            1 / L: "You divide by L: divide by the root of 2L.",
            math.sqrt(2 * L): "You multiply by the root of 2L: divide by it.",
            1 / math.sqrt(2): "You divide by the root of 2: divide by that of 2L, where L is the "
                              "number of blocks, len(model.blocks).",
        }
        return next((f" {words}" for ratio, words in causes.items()
                     if _close(got, 0.02 * ratio) and not _close(wanted, 0.02 * ratio)), "")

    def alike(self, answer: Any, other: Any) -> bool:
        return (isinstance(answer, Mapping) and isinstance(other, Mapping)
                and answer.keys() == other.keys()
                and all(_close(spread, answer[name][1])
                        and abs(mean - answer[name][0]) < 0.25 * spread + 1e-6
                        for name, (mean, spread) in other.items()))


def _close(one, other):
    """Chance lets the spread of a few hundred drawn numbers differ a little."""
    return abs(one - other) <= 0.15 * other + 1e-6


def _depth(beginning):
    """The number of blocks, read off the names."""
    return len({name.split(".")[1] for name in beginning if name.startswith("blocks.")})


def _wanted(name, spread, beginning):
    if _close(spread, 0.02):
        return "0.02"
    return f"0.02 / √(2 · {_depth(beginning)}) = {0.02 / math.sqrt(2 * _depth(beginning)):.4f}"


def _beginning(result, arguments):
    """What is observed of a model, whatever was returned."""
    model = result if isinstance(result, nn.Module) else arguments[0]
    return {name: (x.mean().item(), x.std(correction=0).item())
            for name, x in model.named_parameters()}


def _changed(init_weights):
    """A trial: the model afterward, with chance set to a fixed beginning."""

    def answer(model):
        torch.manual_seed(5)
        result = init_weights(model)
        return result if isinstance(result, Todo) else model

    return answer


def _to_begin(generator):
    """Several depths, one of them with tied weights; all but the norms is far off."""
    for V, N, C, H, L, tied in ((40, 30, 32, 8, 3, False), (50, 24, 40, 5, 1, True),
                                (30, 40, 32, 4, 2, False)):
        model = gpt.GPTModel(_config(V, N, C, H, L, tie_weights=tied))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if not name.endswith(("scale", "shift")):
                    parameter.copy_(0.5 * normal(generator, *parameter.shape))
        yield (model,)


_RESIDUAL = '("attention.output.weight", "feed_forward.contract.weight")'
_SCALED = "nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * len(model.blocks)))"

INIT_WEIGHTS = Exercise(
    "05.init_weights",
    goal=("Let every matrix begin with spread 0.02, those that write to the residual stream "
          "smaller still, and every bias with 0."),
    returns=Beginning(),
    cases=lambda generator: list(_to_begin(generator)),
    use=_changed,
    changes_inputs=True,
    observe=_beginning,
    edits=[
        (f"if name.endswith({_RESIDUAL}):\n            {_SCALED}\n        elif", "if",
         "All matrices begin alike: the two in each block that write to the stream, "
         "attention.output and feed_forward.contract, are drawn smaller, and only once: look for "
         "an if that should be elif, or for == where a name only ends so."),
        (_RESIDUAL, '"attention.output.weight"',
         "feed_forward.contract writes to the stream, too, once in every block."),
        (_RESIDUAL, '"feed_forward.contract.weight"',
         "attention.output writes to the stream, too, once in every block."),
        (_RESIDUAL, '("output.weight", "contract.weight", "output_head.weight")',
         "The output head is no part of a block and writes nothing to the stream: it begins with "
         "0.02, like the embeddings."),
        (f"name.endswith({_RESIDUAL}):\n            {_SCALED}",
         f"name.endswith({_RESIDUAL}):\n            parameter /= math.sqrt(2 * len(model.blocks))",
         "You make smaller what is in there already: draw it anew, with the smaller spread."),
        ("elif parameter.dim() == 2:\n            nn.init.normal_(parameter, std=0.02)",
         "elif parameter.dim() == 2:\n            nn.init.uniform_(parameter, -0.02, 0.02)",
         "These are drawn evenly between two bounds: GPT-2 draws from a normal distribution, "
         "nn.init.normal_(..., std=0.02)."),
        ("elif parameter.dim() == 2:\n            nn.init.normal_(parameter, std=0.02)",
         "elif parameter.dim() == 2:\n            nn.init.xavier_normal_(parameter)",
         "Xavier's rule makes the spread depend on the width: in GPT-2 it is 0.02 for all."),
        ("elif parameter.dim() == 2:\n            nn.init.normal_(parameter, std=0.02)",
         "elif parameter.dim() == 2:\n            nn.init.normal_(parameter, std=0.02**2)",
         "std is the spread itself, 0.02, and not its square, the variance."),
        ("elif parameter.dim() == 2", 'elif "embedding" not in name and parameter.dim() == 2',
         "The two embeddings are left as they were: they are matrices like the others."),
        ("elif parameter.dim() == 2", 'elif "embedding" in name',
         "Only the embeddings are drawn: all other matrices, those of query, key, value, expand "
         "and the head, begin with 0.02, too."),
        ('elif name.endswith("bias"):', "else:",
         "Whatever is no matrix becomes 0, and with it the scale of the norms, so that nothing "
         "would pass: zeros for what ends with bias only."),
        ('        elif name.endswith("bias"):\n            nn.init.zeros_(parameter)\n', "",
         "The biases are not set: they begin at 0."),
        ("elif parameter.dim() == 2:\n            nn.init.normal_(parameter, std=0.02)",
         "elif parameter.dim() == 2:\n            parameter = 0.02 * torch.randn(parameter.shape)",
         "With parameter = ... you give the name to a new tensor, and the model keeps the old one: "
         "nn.init.normal_(parameter, ...) changes its numbers."),
    ],
    hints=(
        "model.named_parameters() gives pairs: a name such as blocks.0.attention.output.weight, "
        "and the numbers. Which of three groups a parameter belongs to, its name and its number "
        "of axes say.",
        """
        for each name and parameter of the model:
        1. does the name end with one of the two matrices that write to the residual stream?
           normal numbers with std 0.02 divided by the root of 2L; L is len(model.blocks)
        2. or else is it a matrix, with two axes? normal numbers with std 0.02
        3. or else does the name end with bias? zeros
        """,
        """
        for name, parameter in model.named_parameters():
            if name.endswith(("attention.output.weight", "feed_forward.contract.weight")):
                nn.init.normal_(parameter, std=...)           # 0.02, divided by √(2L)
            elif parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        """,
    ),
)

# ------------------------------------------------------------------------------------ GPTModel

DEEP, SHORT = _config(7, 9, 6, 3, 3), _config(13, 8, 4, 2, 2, qkv_bias=False)
TIED, FULL = _config(11, 4, 8, 4, 2, tie_weights=True), _config(9, 6, 4, 1, 1)


def _ids(generator):
    """Sizes all different, and other numbers of blocks; in the first, ids are valid places; T = 1;
    as many tokens as the context holds."""
    for config, B, T in ((DEEP, 2, 4), (SHORT, 3, 5), (TIED, 1, 1), (FULL, 2, 6), (TIED, 3, 3)):
        yield config, torch.randint(config["vocab_size"], (B, T), generator=generator)


def _some_ids(generator):
    return DEEP, torch.randint(7, (2, 4), generator=generator)


def _off_the_path(answer, config, ids):
    """What the first part reads, on the way of the stream, that it should not."""
    model = answer.build(config)
    path = {"token_embedding": model.token_embedding,
            "position_embedding": model.position_embedding,
            **{f"blocks[{n}]": block for n, block in enumerate(model.blocks)},
            "final_norm": model.final_norm, "output_head": model.output_head}
    calls = overheard(**path)
    result = model(ids)
    stream = {}                                          # what has been written, by whom
    for name, heard in calls.items():
        if not heard:
            return f"{name} is never called: call it like a function."
        if len(heard) > 1:
            return f"{name} is called {len(heard)} times: once is enough."
        (read, stream[name]), = heard
        wanted, words = _on_the_path(ids, stream)
        if name == "position_embedding" and read.dim() > 1:
            read = read[0]                               # the same for every text
        if read.shape != wanted.shape or not torch.allclose(read.to(wanted), wanted, atol=1e-5):
            return f"{name} reads something other than {words}."
    if result.shape != stream[name].shape or not torch.equal(result, stream[name]):
        return "Something is done with what output_head returns: that is the result already."
    return None


def _on_the_path(ids, stream):
    """What the last part in `stream` should have read, and what that is."""
    *before, name = stream
    if name == "token_embedding":
        return ids, "ids"
    if name == "position_embedding":
        return torch.arange(ids.shape[1]), f"the places 0 to {ids.shape[1] - 1}"
    if name == "blocks[0]":
        return sum(stream[part] for part in before), "the sum of the two embeddings"
    return stream[before[-1]], f"what {before[-1]} returns"


def _ties_where_asked(cls):
    """The head and the token embedding have one parameter where tie_weights says so, else two."""
    for config in (TIED, {**DEEP, "tie_weights": False}):
        model = cls(config)
        head, table = model.output_head.weight, model.token_embedding.weight
        if config is TIED and head is not table:
            return ("with tie_weights=True, head and token embedding have two parameters: assign "
                    "the parameter itself, self.output_head.weight = self.token_embedding.weight, "
                    "without .data and without a copy.")
        if config is not TIED and head.data_ptr() == table.data_ptr():
            return "with tie_weights=False, the head must have a matrix of its own."
        if not table.requires_grad:
            return "the token embedding is frozen: leave out requires_grad_(False)."
    return None


def _knows_its_config(cls):
    """The training and the generation of later chapters ask for it."""
    if getattr(cls(DEEP), "config", None) == DEEP:
        return None
    return ("the model does not remember its configuration, which training and generation ask for: "
            "self.config = config.")


def _begins_small(cls):
    """init_weights was called at the end of __init__."""
    torch.manual_seed(5)
    config = _config(40, 30, 32, 4, 2)
    beginning, wanted = ({name: (x.mean().item(), x.std(correction=0).item()) for name, x in
                          kind(config).named_parameters()} for kind in (cls, gpt.GPTModel))
    problem = Beginning().difference(beginning, wanted)
    return problem and (f"the weights do not begin as init_weights makes them: {problem} Call "
                        "init_weights(self) at the end of __init__, and write it first.")


@torch.no_grad()
def _drops_at_the_entrance(cls):
    """In training, a part of what the first block reads is 0, and the rest so much larger."""
    model = cls({**DEEP, "drop_rate": 0.25})
    calls = overheard(block=model.blocks[0])
    torch.manual_seed(5)
    for training in (False, True):
        model.train(training)(torch.arange(6).expand(40, 6).clone())
    if not calls["block"]:
        return None                                      # used without a call: nothing is heard
    whole, left = torch.cat([read for read, _ in calls["block"]]).chunk(2)
    share = (left == 0).float().mean()
    if 0.2 < share < 0.3 and torch.allclose(left, (whole / 0.75).where(left != 0, 0)):
        return None
    return ("in training, with drop_rate=0.25, 25% of what the first block reads must be "
            f"dropped, but it is {share:.0%}: self.dropout(...) goes around the sum of the two "
            "embeddings, once.")


_MODEL = {
    "definition": "GPTModel",
    "earlier_form": EARLY["GPTModel"],
    "returns": TensorAnswer("logits", ("B", "T", "V"), rtol=1e-3, atol=1e-4),
    "cases": lambda generator: list(_ids(generator)),
    "use": partial(run_filled, x="ids"),
    "structure": fits(gpt.GPTModel, [DEEP, SHORT, TIED]),
    "symptoms": [_off_the_path],
    "properties": [
        no_look_ahead(_some_ids),
        gradients_reach_all(_some_ids, gpt.GPTModel),
        forward_leaves_it_alone(_some_ids),
        dropout_in_training_only(_some_ids),
        Property("drops at the entrance", _drops_at_the_entrance, of_class=True),
        Property("tied where asked", _ties_where_asked, of_class=True),
        Property("begins as init_weights says", _begins_small, of_class=True),
        Property("remembers its configuration", _knows_its_config, of_class=True),
    ],
    "batched": {"ids": 1},
}
_BLOCKS = 'nn.ModuleList(TransformerBlock(config) for _ in range(config["n_layers"]))'
_HEAD = 'nn.Linear(config["emb_dim"], config["vocab_size"], bias=False)'
_TIE = "self.output_head.weight = self.token_embedding.weight"

PARTS = Exercise(
    "05.parts",
    goal=("Make all parts that forward uses, tie the head to the token embedding where tie_weights "
          "says so, and let init_weights draw the weights."),
    holes=("__init__",),
    kept=False,
    edits=[
        (_BLOCKS, '[TransformerBlock(config) for _ in range(config["n_layers"])]',
         "A plain list hides its layers from the model, which would train without them: "
         "nn.ModuleList shows them."),
        (_BLOCKS, 'nn.ModuleList([TransformerBlock(config)] * config["n_layers"])',
         "[block] * L is the same block L times, with one set of weights: make each anew, in a "
         "loop."),
        (_BLOCKS, "nn.ModuleList([TransformerBlock(config)])",
         "There is a single block: make config[\"n_layers\"] of them."),
        ('range(config["n_layers"])', 'range(config["n_heads"])',
         "The number of blocks is config[\"n_layers\"]; the heads are inside of each."),
        ('nn.Embedding(config["context_length"], config["emb_dim"])',
         'nn.Embedding(config["vocab_size"], config["emb_dim"])',
         "A position is a place in the context: the table has config[\"context_length\"] rows."),
        ('nn.Embedding(config["vocab_size"], config["emb_dim"])',
         'nn.Embedding(config["emb_dim"], config["vocab_size"])',
         "nn.Embedding takes the number of rows first, one for each token, and then their width."),
        (', config["vocab_size"], bias=False)', ', config["vocab_size"])',
         "The head has no bias: bias=False."),
        (_HEAD, 'nn.Linear(config["vocab_size"], config["emb_dim"], bias=False)',
         "nn.Linear takes the width that comes in first: the head makes V scores of C numbers."),
        ('LayerNorm(config["emb_dim"])', 'nn.LayerNorm(config["emb_dim"])',
         "That is torch's norm, whose numbers are called weight and bias: take your own LayerNorm, "
         "with scale and shift."),
        (f'        if config.get("tie_weights"):\n            {_TIE}\n', "",
         "With tie_weights in the configuration, the head uses the matrix of the token embedding: "
         f"{_TIE}."),
        ('        if config.get("tie_weights"):\n            self', "        self",
         "You tie the weights always: only if config.get(\"tie_weights\") says so."),
        ('config.get("tie_weights")', 'config["tie_weights"]',
         "GPT-2's configuration has no tie_weights: config.get(\"tie_weights\") gives None then."),
        (_TIE, "self.output_head = self.token_embedding",
         "You put the whole layer in place of the head: an embedding looks up rows and cannot "
         "multiply by them; share only its weight."),
        (_TIE, "self.output_head = self.token_embedding.weight",
         "The matrix has taken the place of the whole head, which must stay a layer: assign it to "
         "the head's weight."),
        (_TIE, "self.output_head.weight = self.position_embedding.weight",
         "The head has got the position embedding: it needs the table of the tokens."),
        ('nn.Dropout(config["drop_rate"])', 'config["drop_rate"]',
         "That is only the rate: nn.Dropout(config[\"drop_rate\"]) is the layer."),
        ("init_weights(self)", "self.init_weights()",
         "init_weights is a function beside the class: init_weights(self)."),
        ("init_weights(self)", "init_weights()",
         "init_weights needs the model, which is self in here: init_weights(self)."),
        ("init_weights(self)", "init_weights(config)",
         "init_weights needs the model, which is self in here: init_weights(self), last of all."),
    ],
    hints=(
        "forward is given: it uses every part by its name, and shows what each is called with. "
        "The two embeddings are tables; what are their rows, and how many are there?",
        """
        1. config, for later
        2. token_embedding, V rows of C numbers; position_embedding, a row for each place
        3. dropout; blocks, in an nn.ModuleList; final_norm; output_head, C to V, no bias
        4. where the configuration says tie_weights: the head's weight is the token embedding's
        5. init_weights of the whole model
        """,
        """
        self.config = config
        self.token_embedding = nn.Embedding(config["vocab_size"], config["emb_dim"])
        self.position_embedding = nn.Embedding(config["context_length"], config["emb_dim"])
        self.dropout = nn.Dropout(config["drop_rate"])
        self.blocks = nn.ModuleList(...)                      # as many as config["n_layers"]
        self.final_norm = LayerNorm(config["emb_dim"])
        self.output_head = nn.Linear(config["emb_dim"], config["vocab_size"], bias=False)
        if config.get("tie_weights"):
            self.output_head.weight = self.token_embedding.weight
        init_weights(self)
        """,
    ),
    **_MODEL,
)

_ARANGE = "torch.arange(ids.shape[1], device=ids.device)            # (T)"
_LOOP = "for block in self.blocks:\n            x = block(x)"
_STEP = "x = block(x)                                                     # (B, T, C)"
_END = "return self.output_head(self.final_norm(x))"

GPT_MODEL = Exercise(
    "05.GPTModel",
    goal="Send ids through the whole model: entrance, dropout, blocks, norm, head.",
    holes=("forward",),
    edits=[
        (_ARANGE, "torch.arange(1, ids.shape[1] + 1)",
         "You count the positions from 1: the first token stands at position 0."),
        (_ARANGE, "ids",
         "You give the ids to position_embedding: it needs the places, 0, 1, 2, and so on."),
        (_ARANGE, "torch.arange(ids.shape[0])",
         "You take a place for each text of the batch: take one for each token, ids.shape[1]."),
        (_ARANGE, "torch.arange(ids.shape[1] - 1)",
         "You take one place less than there are tokens: torch.arange(T) ends with T - 1 already."),
        (_ARANGE, "ids.shape[1]",
         "You give a single number to position_embedding: it needs a tensor of all places, from "
         "torch.arange."),
        ("self.position_embedding(positions)", "positions",
         "You add the numbers of the places themselves: look up their rows, "
         "self.position_embedding(positions)."),
        (_ARANGE, "torch.arange(ids.numel()).view(ids.shape)",
         "You go on counting from one text of the batch to the next: each of them begins at "
         "position 0."),
        (_ARANGE, "torch.zeros_like(ids)",
         "Every token gets position 0: position_embedding needs all of them, from torch.arange."),
        (_ARANGE, 'torch.arange(self.config["context_length"])',
         "You add the rows of all places in the context: take those of the first T, one for each "
         "token, T = ids.shape[1]."),
        (_LOOP, "for block in self.blocks:\n            y = block(x)\n        x = y",
         "Every block reads the embeddings, and only the last one's result is used: each must read "
         "what the one before it has written, x = block(x)."),
        (_LOOP, "for block in self.blocks:\n            block(x)",
         "The stream is the same as before the blocks: call every block, and keep what it returns, "
         "as in x = block(x)."),
        (_STEP, f"x = block(x)\n            {_END}",
         "Only the first block is used: x goes through all of them, so let no `return` stand "
         "within the loop."),
        (_STEP, "x = x + block(x)",
         "You add each block's result to x: a block holds its shortcuts itself, so it is "
         "x = block(x)."),
        (_STEP, "x = self.final_norm(block(x))",
         "You call final_norm after every block and once more at the end: only the last call is "
         "right."),
        (f"{_STEP}\n        {_END}", "x = self.final_norm(block(x))\n"
         "        return self.output_head(x)",
         "You call final_norm after every block: it runs once, after the last, so check the "
         "indentation."),
        ("x = self.dropout(x)", "x = self.final_norm(x)",
         "You call final_norm at the entrance, too: it belongs before the head only."),
        (_LOOP, "for block in self.blocks:\n            x = block(ids)",
         "You give the ids to a block: it reads vectors, those of x, so x = block(x)."),
        ("for block in self.blocks:", "for block in enumerate(self.blocks):",
         "You call a pair: enumerate gives a number with each block, so go through the blocks "
         "themselves, without enumerate."),
        ("for block in self.blocks:", "for block in range(len(self.blocks)):",
         "range gives the numbers of the blocks, which cannot be called: go through the blocks "
         "themselves, for block in self.blocks."),
        (_LOOP, "x = self.blocks(x)",
         "You call the list of blocks: call each of them, one after the other, for block in "
         "self.blocks."),
        (_END, "return self.output_head(x)",
         "The last norm is missing: the head reads final_norm(x), and not x itself."),
        (_END, "return self.final_norm(self.output_head(x))",
         "You call final_norm after the head: it belongs before it, where the width is still C."),
        (_END, "return self.final_norm(x)",
         "This is the last page of the stream: output_head, which makes scores of it, is missing."),
        (_END, "return self.final_norm(x) @ self.token_embedding.weight.T",
         "You use the token embedding as the head, as though the two were tied: call output_head, "
         "which may have a matrix of its own."),
        (_END, f"{_END}.softmax(dim=-1)",
         "These are probabilities: a model returns scores, and softmax comes later, in the loss or "
         "when a token is drawn."),
        (_END, f"{_END}[:, -1]",
         "You return the scores after the last token only: training needs those of every "
         "position."),
        (_END, f"{_END}[:, -1:]",
         "Only the last position is left: training needs the scores of every position, (B, T, V)."),
        (_END, f"{_END}.argmax(dim=-1)",
         "These are the tokens with the best scores: return the scores themselves."),
    ],
    hints=(
        "Follow the map from the entrance to the exit, and write one line per part. The two "
        "embeddings are layers: call them, the one with ids, the other with positions.",
        """
        1. positions 0 to T - 1
        2. x: the embedding of the ids plus the embedding of the positions; then dropout
        3. for every block in turn: x becomes what the block makes of x
        4. the norm, then the head
        """,
        """
        positions = torch.arange(ids.shape[1], device=ids.device)             # (T)
        x = self.dropout(self.token_embedding(ids) + self.position_embedding(positions))
        for block in self.blocks:
            ...                               # the page goes through the block
        return self.output_head(self.final_norm(x))
        """,
    ),
    **_MODEL,
)

_FROM_ONE = "torch.arange(1, ids.shape[1] + 1, device=ids.device)     # (T)"

POSITIONS = Exercise(
    "05.positions",
    goal=("Find the bug: with trained weights in it, the first word is right by luck, the longer "
          "the story the worse it gets, and when the context is full an error comes."),
    bug=(_ARANGE, _FROM_ONE),
    kept=False,
    edits=[
        (_ARANGE, _FROM_ONE,
         "The bug is still in there: say which rows of its table position_embedding has, and which "
         "are asked for in forward."),
        (_ARANGE, "torch.arange(1, ids.shape[1] + 1).clamp("
         'max=self.config["context_length"] - 1)',
         "Now no error comes, but each token still gets the row of another place: look why there "
         "is a place too many."),
        (_ARANGE, 'torch.arange(1, ids.shape[1] + 1) % self.config["context_length"]',
         "Now no error comes, but each token still gets the row of another place: look where "
         "counting must begin."),
        (_ARANGE, "torch.arange(1, ids.shape[1])",
         "Now there is a place less than there are tokens: it was not the end that was wrong."),
        (_ARANGE, "torch.arange(ids.shape[1] + 1)",
         "It begins right now, but goes on to one place more than there are tokens."),
        ("self.token_embedding(ids) + self.position_embedding(positions)",
         "self.token_embedding(ids)",
         "Without positions no error comes, but the model does not know the order of the words "
         "any more: the line above is to be mended."),
        ('nn.Embedding(config["context_length"], config["emb_dim"])',
         'nn.Embedding(config["context_length"] + 1, config["emb_dim"])',
         "Another row would end the error, but trained weights would not fit: leave the table as "
         "it is."),
    ],
    hints=(
        "Take a story of three tokens, and say for each line of forward what is in it. With which "
        "numbers is the second table asked?",
        """
        1. a table of N rows has rows 0 to N - 1
        2. so the places of T tokens are 0 to T - 1
        3. and that is what torch.arange gives if it is told nothing but T
        """,
        """
        positions = torch.arange(..., device=ids.device)                      # 0 to T - 1
        """,
    ),
    **_MODEL,
)

EXERCISES = (PARTS, GPT_MODEL, POSITIONS, INIT_WEIGHTS)
