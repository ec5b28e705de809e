"""What ModelWalk shows: the order of its boxes, their numbers, and their sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from gptcourse import figures
from gptcourse.views.base import chance, written
from gptlib.model import GPTModel
from gptlib.trace import Trace

BEFORE = ("tokens", "token embedding", "position embedding")
IN_A_LAYER = ("attention norm", "attention", "after attention",
              "feed-forward norm", "feed-forward", "after feed-forward")
BEHIND = ("final norm", "output head", "next token", "loss")
BOXES = (*BEFORE, *IN_A_LAYER, *BEHIND)

# The parts of a GPT, as `figures.PARTS` has them: their boxes, and the notebooks that build them.
BOXES_OF = {
    "tokenizer": ("tokens",),
    "embedding": ("token embedding", "position embedding"),
    "attention": ("attention",),
    "block": ("attention norm", "after attention", "feed-forward norm", "feed-forward",
              "after feed-forward"),
    "model": ("final norm", "output head"),
    "training": ("loss",),
    "generation": ("next token",),
}
TOKENIZATION = ("01_tokenization", "Chapter 1: Tokenization")
LANGUAGE_MODEL = ("02_language_model", "Chapter 2: A first language model")
FULL_MODEL = ("05_full_model", "Chapter 5: The full model")
CHAPTERS_OF = {
    "tokenizer": (TOKENIZATION,),
    "embedding": (FULL_MODEL,),
    "attention": (("03_attention", "Chapter 3: Attention"),),
    "block": (("04_blocks", "Chapter 4: Blocks"),),
    "model": (FULL_MODEL,),
    "training": (LANGUAGE_MODEL, ("06_training", "Chapter 6: Training")),
    "generation": (LANGUAGE_MODEL, ("07_generation", "Chapter 7: Generation")),
}
# What holds weights can be filled with those of a file.
FILLED_IN = dict.fromkeys(("embedding", "attention", "block", "model"),
                          ("08_pretrained_weights", "Chapter 8: Pretrained weights"))

# What happens in a box, told with the numbers of the token that is followed. The page fills in the
# same sentences, with the numbers that it was sent.
SENTENCES = {
    "tokens":
        "The text is cut into {count} tokens. {token} is token {place}, counted from 0. The model "
        "never sees its letters: all it gets is the id {id}.",
    "token embedding":
        "The id {id} picks row {id} out of a learned table with a row for each of the {vocabulary} "
        "tokens it knows. These {width} numbers stand for {token} from now on. As a vector, they "
        "are {length} long.",
    "position embedding":
        "A second table has a row for every place in a text. Row {place} is added to {token}, "
        "number by number. The sum, {length} long, begins the token's residual stream, to which "
        "every later part adds.",
    "attention norm":
        "Attention reads a copy of the stream that was evened out first. The norm takes away the "
        "mean of the {width} numbers ({mean}), divides by their spread ({spread}), then stretches "
        "and shifts each as it has learned.",
    "attention":
        "Each of the {heads} heads compares a query of {token} with the keys of the tokens up to "
        "it, and takes more where they fit better. Head {head} takes most from {most}.",
    "after attention":
        "What the {heads} heads took is mixed into {width} numbers, {added} long, and added to the "
        "stream of {token}. The stream was {before} long; now it is {length} long.",
    "feed-forward norm":
        "The next part, too, reads an evened-out copy. The norm takes away the mean of the "
        "{width} numbers ({mean}), divides by their spread ({spread}), then stretches and shifts "
        "each as it has learned.",
    "feed-forward":
        "Here every token is on its own. {neurons} neurons read the numbers of {token}; {active} "
        "of them answer with more than 0.5. Neuron {neuron} has the largest answer, {activation}.",
    "after feed-forward":
        "What the neurons answered is mixed into {width} numbers, {added} long, and added to the "
        "stream of {token}. The stream was {before} long; now it is {length} long.",
    "final norm":
        "After {layers} the stream of {token} is complete. One last norm takes away the mean "
        "({mean}), divides by the spread ({spread}), then stretches and shifts each number.",
    "output head":
        "Each of the {vocabulary} tokens has a row of {width} numbers here, too. Multiplied with "
        "those from the norm and summed up, it gives the token's score, its logit. The highest: "
        "{most}.",
    "next token":
        "Softmax turns the scores into probabilities, which sum to 1: {most}. Then one token is "
        "drawn at random, likely ones more often. This time it's {drawn}.",
    "loss":
        "After {token} the text goes on with {next}. The model had given it probability {chance}, "
        "so its surprise, −ln p, is {surprise} nats. The mean over the text is {mean}: that's the "
        "loss. Training moves all weights to lower it.",
    "loss at the end":
        "Here the text ends, so nobody knows whether the model is right. At every token before, "
        "its surprise was −ln p, with p for the token that came next. The mean over the text is "
        "{mean}: that's the loss. Training moves all weights to lower it.",
    "loss of one token":
        "The loss is the model's mean surprise at the tokens that really come next, and training "
        "moves all weights to lower it. This text has one token only: type a longer one.",
}

MOST_SCORES, DRAWS, SEED = 10, 12, 0

# --------------------------------------------------------------------------------------- numbers


@torch.inference_mode()
def numbers_of(model: GPTModel, traced: Trace, places: Sequence[int]) -> dict[str, np.ndarray]:
    """What every box holds for the tokens at `places`, N of them, as arrays by name.

    token, position, start, final_norm (N, C); for every layer the two norms and the two parts
    that are added (L, N, C), the neurons' activations (L, N, 4C), and for every head the
    products q · k and the weights, one row after the other, each up to its own token (L, H, S).
    Then the highest logits, their ids and their probabilities (N, K), tokens drawn (N, M), and
    of all T tokens of the text, how surprising each was that came next (T - 1).
    """
    arrays = {
        "token": _plain(model.token_embedding.weight)[traced.ids[places]],              # (N, C)
        "position": _plain(model.position_embedding.weight)[places],                    # (N, C)
        "start": traced["residual_start"][places],                                      # (N, C)
    }
    layers = [_layer(model, traced, layer, places) for layer in range(len(model.blocks))]
    arrays |= {name: np.stack([layer[name] for layer in layers]) for name in layers[0]}
    end = traced[f"blocks.{len(layers) - 1}.residual_end"][places]                      # (N, C)
    arrays["final_norm"] = _through(model, model.final_norm, end)                       # (N, C)
    arrays |= _chances(traced, places)
    return {name: array.astype(np.int32 if array.dtype.kind == "i" else np.float32)
            for name, array in arrays.items()}


def _plain(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def _through(model: GPTModel, part: torch.nn.Module, rows: np.ndarray) -> np.ndarray:
    """What a part of the model makes of rows (N, C)."""
    return _plain(part(torch.from_numpy(rows).to(model.token_embedding.weight)))


def _layer(model: GPTModel, traced: Trace, layer: int, places: Sequence[int]) -> dict:
    """One block: what it reads, finds and adds."""
    block, name = model.blocks[layer], f"blocks.{layer}"
    before = f"blocks.{layer - 1}.residual_end" if layer else "residual_start"
    start, mid, end = (traced[place][places] for place in (
        before, f"{name}.residual_mid", f"{name}.residual_end"))                        # (N, C)
    queries, keys = (traced[f"{name}.attention.{part}"].astype(np.float64)
                     for part in ("queries", "keys"))                                   # (H, T, D)
    products = queries @ keys.transpose(0, 2, 1)                                        # (H, T, T)
    weights = traced[f"{name}.attention.weights"]                                       # (H, T, T)
    return {
        "attention_norm": _through(model, block.attention_norm, start),
        "products": _rows_up_to(products, places),
        "weights": _rows_up_to(weights, places),
        "attention": mid - start,
        "feed_forward_norm": _through(model, block.feed_forward_norm, mid),
        "activations": traced[f"{name}.feed_forward.activations"][places],              # (N, 4C)
        "feed_forward": end - mid,
    }


def _rows_up_to(square: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """These rows, each up to the diagonal, one after the other.  (H, T, T) -> (H, S)"""
    return np.concatenate([square[:, place, : place + 1] for place in places], axis=-1)


def _chances(traced: Trace, places: Sequence[int]) -> dict:
    """The best scores, the probabilities, and what is drawn by them."""
    logits = torch.from_numpy(traced.logits[places]).double()                           # (N, V)
    chances = logits.softmax(-1)
    best = logits.argsort(dim=-1, descending=True, stable=True)[:, :MOST_SCORES]            # (N, K)
    drawn = [torch.multinomial(row, DRAWS, replacement=True,
                               generator=torch.Generator().manual_seed(SEED + place))
             for row, place in zip(chances, places, strict=True)]
    drawn = torch.stack(drawn)                                                          # (N, M)
    log_chances = torch.from_numpy(traced.logits[:-1]).double().log_softmax(-1)         # (T-1, V)
    following = torch.from_numpy(traced.ids[1:]).long()                                 # (T - 1)
    return {"best": best.numpy(), "logits": logits.gather(1, best).numpy(),
            "chances": chances.gather(1, best).numpy(), "drawn": drawn.numpy(),
            "surprises": -log_chances.gather(1, following[:, None])[:, 0].numpy()}


def stream(walk: dict, row: int, additions: int) -> np.ndarray:
    """A token's residual stream (C) after so many parts have added to it."""
    x = walk["start"][row].astype(np.float64)
    for n in range(additions):
        x = x + walk[("attention", "feed_forward")[n % 2]][n // 2, row]
    return x


def weights_of(walk: dict, name: str, layer: int, head: int, token: int) -> np.ndarray:
    """What one token has for itself and for each token before it, of the products or weights."""
    begin = token * (token + 1) // 2 if len(walk["places"]) > 1 else 0
    return walk[name][layer, head, begin : begin + token + 1]


# ----------------------------------------------------------------------------------------- words


def quoted(label: str) -> str:
    return f"‘{figures.cut(label, 24)}’"


def facts(walk: dict, layer: int, head: int, token: int, draw: int) -> dict[str, dict[str, str]]:
    """The words that the sentence of each box lacks, for one token."""
    row = walk["places"].index(token)
    width, n_layers = walk["start"].shape[-1], walk["weights"].shape[0]
    begin, mid, end = (stream(walk, row, 2 * layer + n) for n in range(3))              # (C)
    last = stream(walk, row, 2 * n_layers)
    active = walk["activations"][layer, row]                                            # (4C)
    ids = walk["ids"]
    common = {"token": quoted(walk["labels"][token]), "place": str(token), "id": str(ids[token]),
              "width": f"{width:,}", "vocabulary": f"{walk['vocabulary']:,}",
              "heads": str(walk["weights"].shape[1])}
    drawn = walk["drawn"][row, draw]
    there = {
        "tokens": {"count": str(len(ids))},
        "token embedding": {"length": _length(walk["token"][row])},
        "position embedding": {"length": _length(walk["start"][row])},
        "attention norm": _evened(begin),
        "attention": {"head": str(head), "most": _looks(walk, layer, head, token)},
        "after attention": {"added": _length(walk["attention"][layer, row]),
                            "before": _length(begin), "length": _length(mid)},
        "feed-forward norm": _evened(mid),
        "feed-forward": {"neurons": f"{len(active):,}", "active": f"{(active > 0.5).sum():,}",
                         "neuron": str(active.argmax()), "activation": written(active.max(), 2)},
        "after feed-forward": {"added": _length(walk["feed_forward"][layer, row]),
                               "before": _length(mid), "length": _length(end)},
        "final norm": {"layers": f"{n_layers} layer{'s' if n_layers > 1 else ''}",
                       **_evened(last)},
        "output head": {"most": _listed(walk, row, "logits", lambda x: written(x, 2))},
        "next token": {
            "most": _listed(walk, row, "chances", lambda p: chance(p, 3)),
            "drawn": quoted(walk["names"][str(drawn)])},
        "loss": _surprise(walk, token),
    }
    return {box: {**common, **words} for box, words in there.items()}


def _length(x: np.ndarray) -> str:
    return written(math.sqrt(np.square(x, dtype=np.float64).sum()), 2)


def _evened(x: np.ndarray) -> dict[str, str]:
    return {"mean": written(x.mean(), 3), "spread": written(x.std(), 3)}


def _looks(walk: dict, layer: int, head: int, token: int) -> str:
    weights = weights_of(walk, "weights", layer, head, token)
    best = np.argsort(-weights, kind="stable")[:3]
    return ", ".join(f"{quoted(walk['labels'][n])} {chance(weights[n], 3)}" for n in best)


def _listed(walk: dict, row: int, name: str, told) -> str:
    pairs = zip(walk["best"][row, :3], walk[name][row, :3], strict=True)
    return ", ".join(f"{quoted(walk['names'][str(n)])} {told(x)}" for n, x in pairs)


def _surprise(walk: dict, token: int) -> dict[str, str]:
    surprises = walk["surprises"].astype(np.float64)                                    # (T - 1)
    if token == len(surprises):
        return {"mean": written(surprises.mean(), 3)} if token else {}
    return {"mean": written(surprises.mean(), 3), "surprise": written(surprises[token], 3),
            "chance": chance(math.exp(-surprises[token]), 3),
            "next": quoted(walk["labels"][token + 1])}


def sentence(walk: dict, box: str, layer: int, head: int, token: int, draw: int) -> str:
    """What happens in a box, with the numbers of the token that is followed."""
    template = box
    if box == "loss" and token == len(walk["surprises"]):
        template = "loss at the end" if token else "loss of one token"
    return SENTENCES[template].format(**facts(walk, layer, head, token, draw)[box])
