"""Exercises of chapter 5: how weights begin, what a model is made of, and the way through it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from gptcourse import gpt
from gptcourse.exercises.answers import Kind, TensorAnswer, described, number
from gptcourse.exercises.classes import facts_of_a_layer, fits, run_filled
from gptcourse.exercises.early import EARLY
from gptcourse.exercises.exercise import TODO, Exercise, Property, says_todo
from gptcourse.exercises.listening import first_misread, overheard
from gptcourse.exercises.properties import normal


def small_config(V, N, C, H, L, **more):
    return {"vocab_size": V, "context_length": N, "emb_dim": C, "n_heads": H, "n_layers": L,
            "drop_rate": 0.0, "qkv_bias": True, **more}


# -------------------------------------------------------------------------------- init_weights


@dataclass(frozen=True)
class Beginning(Kind):
    """Of each parameter of a model, by name: the mean of its numbers, and how far they spread."""

    name: str = "model"

    def malformed(self, answer: Any, expected: Mapping) -> str | None:
        if not isinstance(answer, Mapping):
            return f"you return {described(answer)}: nothing is returned, but the model changed."
        for name in answer.keys() ^ expected.keys():
            return f"{name} is gone, or new: keep each parameter, and change only its numbers."
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
        if _close(wanted, 0.02):
            return ""
        causes = {
            1: "It is as large as the others, though it writes to the residual stream: "
               "divide its 0.02 by the root of 2L.",
            1 / math.sqrt(L): "You divide by the root of L, but each of the L blocks writes twice: "
                              "2L.",
            1 / (2 * L): "You divide by 2L: divide by its root.",
        }
        return next((f" {words}" for ratio, words in causes.items()
                     if _close(got, 0.02 * ratio) and not _close(wanted, 0.02 * ratio)), "")

    def alike(self, answer: Any, other: Any) -> bool:
        return not self.malformed(answer, other) and not self.difference(answer, other)


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


def _beginning(model):
    return {name: (x.mean().item(), x.std(correction=0).item())
            for name, x in model.named_parameters()}


def changed(init_weights):
    """A trial: how the model begins, whatever was returned, with chance set to a fixed one."""

    def answer(model):
        if says_todo(init_weights):
            return TODO
        torch.manual_seed(5)
        result = init_weights(model)
        return _beginning(result if isinstance(result, nn.Module) else model)

    return answer


def _to_begin(generator):
    """Several depths, one of them with tied weights; all but the norms is far off."""
    for V, N, C, H, L, tied in ((40, 30, 32, 8, 3, False), (50, 24, 40, 5, 1, True),
                                (30, 40, 32, 4, 2, False)):
        model = gpt.GPTModel(small_config(V, N, C, H, L, tie_weights=tied))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if not name.endswith(("scale", "shift")):
                    parameter.copy_(0.5 * normal(generator, *parameter.shape))
        yield (model,)


_RESIDUAL = '("attention.output.weight", "feed_forward.contract.weight")'
_SCALED = "nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * len(model.blocks)))"

INIT_WEIGHTS = Exercise(
    "05.init_weights",
    goal=("Fill every matrix with random numbers of standard deviation 0.02, smaller ones in those "
          "that write to the residual stream, and every bias with 0."),
    returns=Beginning(),
    cases=_to_begin,
    use=changed,
    changes_inputs=True,
    blanks=[("", "    TODO\n")],
    edits=[
        (f"if name.endswith({_RESIDUAL}):\n            {_SCALED}\n        elif", "if",
         "All matrices begin alike: the two in each block that write to the stream, "
         "attention.output and feed_forward.contract, are drawn smaller, and only once: look for "
         "an if that should be elif, or for == where a name only ends so."),
    ],
    hints=(
        "model.named_parameters() gives pairs: a name such as blocks.0.attention.output.weight, "
        "and the parameter. Its name and its number of axes tell you which of three groups it "
        "belongs to.",
        """
        for each name and parameter of the model:
        1. does the name end with one of the two matrices that write to the residual stream?
           random numbers with std 0.02 divided by the root of 2L; L is len(model.blocks)
        2. if not, is it a matrix, with two axes? random numbers with std 0.02
        3. if not, does its name end with bias? zeros
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

DEEP, SHORT = small_config(7, 9, 6, 3, 3), small_config(13, 8, 4, 2, 2, qkv_bias=False)
TIED, FULL = small_config(11, 4, 8, 4, 2, tie_weights=True), small_config(9, 6, 4, 1, 1)


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
    blocks = {f"blocks[{n}]": block for n, block in enumerate(model.blocks)}
    reads = {
        "token_embedding": (lambda written: ids, "ids"),
        "position_embedding": (lambda written: torch.arange(ids.shape[1]),
                               f"the places 0 to {ids.shape[1] - 1}"),
        "blocks[0]": (lambda written: written["token_embedding"] + written["position_embedding"],
                      "the sum of the two embeddings"),
    }
    stream = [*blocks, "final_norm", "output_head"]
    for before, name in pairwise(stream):
        reads[name] = lambda written, before=before: written[before], f"what {before} returns"
    parts = {name: getattr(model, name) for name in reads if name not in blocks}
    return first_misread(model, ids, {**parts, **blocks}, reads,
                         (lambda written: written["output_head"], "what output_head returns"))


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
    config = small_config(40, 30, 32, 4, 2)
    beginning, wanted = (_beginning(kind(config)) for kind in (cls, gpt.GPTModel))
    problem = Beginning().difference(beginning, wanted)
    return problem and (f"the weights do not begin as init_weights makes them: {problem} Call "
                        "init_weights(self) at the end of __init__, and write it first.")


@torch.no_grad()
def drops_at_the_entrance(cls):
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


_PARTS = """\
        self.config = config
        self.token_embedding = nn.Embedding(config["vocab_size"], config["emb_dim"])
        self.position_embedding = nn.Embedding(config["context_length"], config["emb_dim"])
        self.dropout = nn.Dropout(config["drop_rate"])
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config["n_layers"]))
        self.final_norm = LayerNorm(config["emb_dim"])
        self.output_head = nn.Linear(config["emb_dim"], config["vocab_size"], bias=False)
"""
_WAY = """\
        positions = torch.arange(ids.shape[1], device=ids.device)            # (T)
        x = self.token_embedding(ids) + self.position_embedding(positions)   # (B, T, C)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)                                                     # (B, T, C)
        return self.output_head(self.final_norm(x))                          # (B, T, V)
"""
_BLOCKS = 'nn.ModuleList(TransformerBlock(config) for _ in range(config["n_layers"]))'
_TIE = "self.output_head.weight = self.token_embedding.weight"
_ARANGE = "torch.arange(ids.shape[1], device=ids.device)            # (T)"

GPT_MODEL = Exercise(
    "05.GPTModel",
    earlier_form=EARLY["GPTModel"],
    goal=("Make all the parts of a GPT, and send ids through them: the two embeddings, dropout, "
          "blocks, norm, head."),
    returns=TensorAnswer("logits", ("B", "T", "V"), rtol=1e-3, atol=1e-4),
    cases=_ids,
    use=partial(run_filled, x="ids"),
    structure=fits(gpt.GPTModel, [DEEP, SHORT, TIED]),
    blanks=[(_PARTS, "        TODO\n"), (_WAY, "        return TODO\n")],
    edits=[
        (_BLOCKS, '[TransformerBlock(config) for _ in range(config["n_layers"])]',
         "A plain list hides its layers from the model, which would train without them: "
         "nn.ModuleList shows them."),
        (_BLOCKS, 'nn.ModuleList([TransformerBlock(config)] * config["n_layers"])',
         "[block] * L is the same block L times, with one set of weights: make each anew, in a "
         "loop."),
        (f'        if config.get("tie_weights"):\n            {_TIE}\n', "",
         "With tie_weights in the configuration, the head uses the matrix of the token embedding: "
         f"{_TIE}."),
        ('        if config.get("tie_weights"):\n            self', "        self",
         "You tie the weights always: only if config.get(\"tie_weights\") says so."),
        (_TIE, "self.output_head = self.token_embedding",
         "You put the whole layer in place of the head: an embedding looks up rows and cannot "
         "multiply by them; share only its weight."),
        (_ARANGE, 'torch.arange(self.config["context_length"])',
         "You add the rows of all places in the context: take those of the first T, one for each "
         "token, T = ids.shape[1]."),
    ],
    hints=(
        "The two embeddings are tables: what does a row stand for in each, and how many rows are "
        "there? In forward, follow the shapes from the ids to the scores. Every part is a layer, "
        "so you call it: one embedding with the ids, one with the positions.",
        """
        in __init__:
        1. keep config
        2. token_embedding, V rows of C numbers; position_embedding, a row for each place
        3. dropout; blocks, in an nn.ModuleList; final_norm; output_head, from C to V, no bias
        in forward:
        4. positions 0 to T - 1
        5. x: the embedding of the ids plus the embedding of the positions; then dropout
        6. for every block in turn: x becomes what the block makes of x
        7. the norm, then the head
        """,
        _PARTS + """
        positions = torch.arange(ids.shape[1], device=ids.device)             # (T)
        x = self.dropout(self.token_embedding(ids) + self.position_embedding(positions))
        for block in self.blocks:
            ...                               # x goes through the block
        return self.output_head(self.final_norm(x))
        """,
    ),
    symptoms=[_off_the_path],
    properties=[
        *facts_of_a_layer(_some_ids, gpt.GPTModel),
        Property("drops at the entrance", drops_at_the_entrance, of_class=True),
        Property("tied where asked", _ties_where_asked, of_class=True),
        Property("begins as init_weights says", _begins_small, of_class=True),
        Property("remembers its configuration", _knows_its_config, of_class=True),
    ],
    batched={"ids": 1},
)

# Written in another way than above, and right but for one line: the sums of ones begin with 1.
_ANOTHER_WAY = """\
        places = torch.ones_like(ids).cumsum(dim=1)                          # (B, T)
        x = self.token_embedding(ids)                                        # (B, T, C)
        x = self.dropout(x + self.position_embedding(places))                # (B, T, C)
        for block in self.blocks:
            x = block(x)                                                     # (B, T, C)
        return self.output_head(self.final_norm(x))                          # (B, T, V)
"""

STUMBLING_MODEL = GPT_MODEL.with_bug(
    "05.stumbling_model",
    definition="StumblingModel",
    goal=("Find the bug: with trained weights in it, the model stumbles over the first words of a "
          "story, and then goes on as if nothing had happened."),
    bug=(_WAY, _ANOTHER_WAY,
         "The bug is still in there: which rows does position_embedding have, and which of them "
         "does forward ask for?"),
    hints=(
        "There is one more symptom: a text that fills the whole context raises an IndexError. Take "
        "a text of three tokens, and say what each line of forward makes of it, in numbers.",
        """
        1. a table of N rows has rows 0 to N - 1
        2. so the places of T tokens are 0 to T - 1
        3. the running sum of 1, 1, 1 is 1, 2, 3
        """,
        """
        places = torch.ones_like(ids).cumsum(dim=1) ...       # 0 to T - 1
        """,
    ),
)

EXERCISES = (GPT_MODEL, STUMBLING_MODEL, INIT_WEIGHTS)
