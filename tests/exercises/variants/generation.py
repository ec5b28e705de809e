"""Answers to the exercises of chapter 7, right and wrong, as learners write them."""

import math
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from collecting import right, wrong_edits
from torch import nn

from gptcourse.gpt import (
    END_OF_TEXT,
    GPT_CONFIG_124M,
    WORD,
    FeedForward,
    GPTModel,
    KVCache,
    LayerNorm,
    MultiHeadAttention,
    Tokenizer,
    TransformerBlock,
    apply_temperature,
    batch,
    evaluate,
    generate,
    init_weights,
    keep_top_k,
    keep_top_p,
    learn_merges,
    load,
    save,
    train,
)


@right("keep_top_p")
def upward(logits, p):
    ordered, order = logits.sort(dim=-1)
    rest = ordered.softmax(-1).cumsum(-1)                 # this one and all that are worse
    out = rest <= 1 - p + 1e-7
    out[..., -1] = False
    return logits.masked_fill(torch.zeros_like(out).scatter(-1, order, out), -math.inf)


@right("keep_top_p")
def moved_by_one(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    ruled_out = ordered.softmax(-1).cumsum(-1) >= p
    ruled_out[..., 1:] = ruled_out[..., :-1].clone()
    ruled_out[..., 0] = False
    return logits.masked_fill(ruled_out.scatter(-1, order, ruled_out.clone()), -float("inf"))


@right("keep_top_p")
def one_by_one(logits, p):
    rows = logits.reshape(-1, logits.shape[-1])
    out = torch.full_like(rows, -math.inf)
    for row, kept in zip(rows, out, strict=True):
        probabilities, total = row.double().softmax(-1), 0.0
        for token in row.argsort(descending=True).tolist():
            if total > 0 and total >= p:
                break
            kept[token] = row[token]
            total += probabilities[token].item()
    return out.reshape(logits.shape)


@right("keep_top_p")
def each_compared_with_each(logits, p):
    shares, places = logits.softmax(dim=-1), torch.arange(logits.shape[-1])
    one, other = shares[..., :, None], shares[..., None, :]
    better = (other > one) | ((other == one) & (places < places[:, None]))
    return logits.masked_fill((better * other).sum(dim=-1) >= max(p - 1e-6, 1e-9), -math.inf)


NOTHING = "torch.full_like(logits, -math.inf)"
SUMS = "probabilities.cumsum(dim=-1)"
CUT, BACK = "masked_fill(before >= p, -math.inf)", "logits.scatter(-1, order, ordered)"
TAIL = f"ordered.{CUT}\n    return {BACK}"
wrong_edits(
    "keep_top_p",
    ("    before[..., 0] = -1                                                      # the best one "
     "stays\n", "", "with p = 0, nothing is left to draw"),
    ("before >= p", "before > p", "rule out where the better ones have p or more, with >="),
    (BACK, "logits.masked_fill(logits < ordered.masked_fill(before >= p, math.inf).amin("
           "dim=-1, keepdim=True), -math.inf)", "by their places, not by their scores"),
    ("", "    ordered, order = logits.softmax(0).sort(dim=-1, descending=True)\n    before = "
         "ordered.cumsum(-1) - ordered\n    return logits.masked_fill(torch.zeros_like(logits)"
         ".bool().scatter(-1, order, before >= p), -math.inf)\n",
     "changes when only the others do"),
    (CUT, f"masked_fill({SUMS} >= p, -math.inf)", "in every row the best token must stay"),
    ("", "    shares = logits.softmax(-1)\n    return torch.where(shares.cumsum(-1) - shares < p, "
         "logits, -math.inf)\n", "sort the scores before you add"),
    ("descending=True, stable=True", "stable=True", "you keep those of rank"),
    (TAIL, f"ordered.{CUT}\n    return ordered", "Each row has the right numbers, but not at"),
    ("", "    return torch.where(logits.softmax(-1) >= p, logits, -math.inf)\n",
     "There is a row in which everything is ruled out"),
    ("", "    shares = logits.softmax(-1)\n    return logits.masked_fill(shares < p * "
         "shares.max(-1, keepdim=True).values, -math.inf)\n", "must keep 1, 2"),
    (CUT, "masked_fill(before >= p, 0)", "only -inf gets none"),
    ("before >= p", "p > before", "Just those tokens are ruled out that should"),
    (BACK, "logits.scatter(-1, order[..., 2:], -math.inf)", "scores["),
    ("", "    best = logits.topk(max(1, int(p * logits.shape[-1])))\n    return "
         f"{NOTHING}.scatter(-1, best.indices, best.values)\n",
     "but must keep 1, 2"),
    ("", "    rows, total = logits.reshape(-1, logits.shape[-1]), 0.0\n"
         "    kept = torch.full_like(rows, -math.inf)\n    for n, row in enumerate(rows):\n"
         "        for token in row.argsort(descending=True):\n            if total >= p:\n"
         "                break\n            kept[n, token] = row[token]\n"
         "            total += row.softmax(dim=-1)[token].item()\n"
         "    return kept.view_as(logits)\n", "treat each row by itself"),
    ("ordered.softmax", "logits.softmax", "of rank 1, 2, 3, but must keep 1, 2"),
    (BACK, "torch.where(order < (before < p).sum(dim=-1, keepdim=True), logits, -math.inf)",
     "bring them back to their own places"),
    ("ordered.softmax(dim=-1)", "ordered.softmax(-1).softmax(-1)", "but must keep"),
    ("ordered.softmax(dim=-1)", "ordered.exp() / ordered.exp().sum()",
     "That is logits as it came in: nothing has"),
    (f"return {BACK}", f"kept = {NOTHING}\n    kept[..., order] = ordered\n    return kept",
     "All places along the last axis but one hold"),
    ("before >= p", "(before >= p) | ((p == 1) & (torch.arange(logits.shape[-1]) == "
                    "logits.shape[-1] - 1))", "with p = 1, some tokens are ruled out"),
    (CUT, f"masked_fill(torch.arange(logits.shape[-1]) >= ({SUMS} < p).sum() + 1, -math.inf)",
     "What comes out for the first of the batch"),
)


@right("KVCache")
class WithLists:
    def __init__(self):
        self.pairs = []

    @property
    def length(self):
        return sum(keys.shape[2] for keys, _ in self.pairs)

    def extend(self, keys, values):
        self.pairs.append((keys, values))
        return [torch.cat(part, dim=-2) for part in zip(*self.pairs, strict=True)]


@right("KVCache")
class RoomSetAside:
    def __init__(self):
        self.room, self.length = None, 0

    def extend(self, keys, values):
        B, H, T, D = keys.shape
        room = keys.new_empty(2, B, H, self.length + T, D)
        if self.room is not None:
            room[:, :, :, : self.length] = self.room
        room[:, :, :, self.length :] = torch.stack([keys, values])
        self.room, self.length = room, self.length + T
        return room[0], room[1]


@right("KVCache")
class FromNothing:
    def __init__(self):
        self.keys = self.values = None
        self.length = 0

    def extend(self, keys, values):
        self.keys = keys if self.keys is None else torch.cat((self.keys, keys), 2)
        self.values = values if self.values is None else torch.cat((self.values, values), 2)
        self.length += keys.size(2)
        return self.keys, self.values


GROW, GROW_TOO = "torch.cat([self.keys, keys], dim=2)", "torch.cat([self.values, values], dim=2)"
BODY = (f"            keys = {GROW}                       # (B, H, S, D)\n"
        f"            values = {GROW_TOO}                 # (B, H, S, D)\n")
KEEP = "        self.keys, self.values, self.length = keys, values, keys.shape[2]\n"
RETURN = "        return keys, values"


def grown(keys, values):
    return f"            keys, values = ({keys}), ({values})\n"


wrong_edits(
    "KVCache",
    (BODY, grown("torch.cat((keys, self.keys), dim=-2)", "torch.cat((values, self.values), -2)"),
     "append them at the end"),
    ("        if self.length > 0:\n" + BODY, "", "Of 7 tokens, 1 are in the cache"),
    (BODY, grown("torch.cat([self.keys, keys], dim=1)", "torch.cat([self.values, values], dim=1)"),
     "look at dim"),
    (BODY, grown(GROW, "values"), "Of 7 tokens, 1 are in the cache"),
    (BODY, grown("keys", GROW_TOO), "Of 7 tokens, 1 are in the cache"),
    (BODY, grown(GROW_TOO, GROW), "should be"),
    (RETURN, "        return keys, keys", "should be"),
    (BODY, grown("self.keys + keys", "self.values + values"), "by torch.cat"),
    (RETURN, "        return torch.stack((keys, values))", "must return 2 things"),
    (RETURN, "        return keys", "must return 2 things"),
    (RETURN, "        return {\"keys\": keys, \"values\": values}", "must return 2 things"),
    (", keys.shape[2]", ", self.length + 1", "the lengths are [1, 2, 3]"),
    ("    def extend(self, keys, values):                                          # (B, H, T, D) "
     "each\n", "    def extend(self, keys, values):\n        keys, values = keys[:, :, [-1]], "
     "values[:, :, [-1]]\n", "Of 7 tokens, 3 are in the cache"),
    (BODY, "            B, H, _, D = keys.shape\n" + grown(
        "torch.cat([self.keys.flatten(), keys.flatten()]).view(B, H, -1, D)",
        "torch.cat([self.values.flatten(), values.flatten()]).view(B, H, -1, D)"),
     "a view or reshape cuts rows anew"),
    (BODY, grown("torch.cat(self.keys, keys, dim=2)", "torch.cat(self.values, values, dim=2)"),
     "in one list"),
    (BODY, grown("torch.cat([self.keys, keys[:, :, 0]], 2)", GROW_TOO),
     "loses an axis, which x[:, :, t : t + 1] keeps"),
    (BODY, grown(GROW, "torch.cat([self.values, keys], dim=2)"), "the new ones must stay"),
    (BODY, grown(GROW, "torch.cat([self.keys, values], dim=2)"),
     "The new tokens are right, but the earlier"),
    (BODY, grown(GROW, "self.values"), "Of 7 tokens, 5 are in the cache"),
    (BODY, grown("torch.stack([self.keys, keys], 2)", "torch.stack([self.values, values], 2)"),
     "cat joins them along an axis that is there"),
    ("self.length = 0", "self.length = None", "a new cache has the length None"),
    ("self.length = keys, values, keys.shape[2]", "self.length = keys, values, keys.shape[1]",
     "length"),
    (", keys.shape[2]", ", keys.shape", "one of them is p.shape[0]"),
    (KEEP, "        KVCache.keys, KVCache.values, self.length = keys, values, keys.shape[2]\n",
     "share their memory"),
)


class Attention(nn.Module):
    """As in the file, but for forward."""

    def __init__(self, config):
        super().__init__()
        C = config["emb_dim"]
        self.dropout = nn.Dropout(config["drop_rate"])
        self.n_heads = config["n_heads"]
        for name in ("query", "key", "value"):
            setattr(self, name, nn.Linear(C, C, bias=config["qkv_bias"]))
        self.output = nn.Linear(C, C)

    def split(self, x, cache):
        q, k, v = (layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
                   for layer in (self.query, self.key, self.value))
        return q, *(cache.extend(k, v) if cache is not None else (k, v))


@right("cached_attention")
class WithTorchsAttention(Attention):
    def forward(self, x, cache=None):
        q, k, v = self.split(x, cache)
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(k.shape[2] - q.shape[2])
        mixed = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=self.dropout.p if self.training else 0.0)
        return self.output(mixed.transpose(1, 2).reshape(x.shape))


@right("cached_attention")
class WithAddedMask(Attention):
    def forward(self, x, cache=None):
        q, k, v = self.split(x, cache)
        past = k.shape[2] - x.shape[1]
        scores = torch.einsum("bhtd,bhsd->bhts", q, k) / q.shape[-1] ** 0.5
        later = torch.arange(k.shape[2]) > torch.arange(x.shape[1])[:, None] + past
        weights = self.dropout((scores + torch.where(later, -1e9, 0.0)).softmax(-1))
        return self.output(torch.einsum("bhts,bhsd->bthd", weights, v).flatten(2))


EXTEND, MASK = "keys, values = cache.extend(keys, values)", "causal_mask(S)[-T:]"
wrong_edits(
    "cached_attention",
    (EXTEND, "keys, values = cache.extend(values, keys)", "without a cache, it is right"),
    (f"        if cache is not None:\n            {EXTEND}                        # (B, H, S, D)\n",
     "", "extend it in every call"),
    ("if cache is not None:", "if cache is not None and cache.length > 0:", "in every call"),
    ("if cache is not None:", "if cache is None:", "it came in as None"),
    ("T, S = queries.shape[2], keys.shape[2]", "T, S = x.shape[1], x.shape[1]", "S keys"),
    (MASK, "causal_mask(S)[T:]", "Two shapes do not fit together"),
    (MASK, "torch.ones(T, S).tril().bool()", "the first T rows"),
    (MASK, "torch.ones(T, S, dtype=torch.bool).triu(S - T)", "wrong without a cache, too"),
    ("cache.extend(keys, values)", "cache.extend(x, x)", "Two shapes do not fit together"),
    ("return self.output(mixed)", "return self.output(mixed), cache", "tuple"),
)


@right("cached_block")
class InSteps(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.feed_forward, self.attention = FeedForward(config), MultiHeadAttention(config)
        self.feed_forward_norm = LayerNorm(config["emb_dim"])
        self.attention_norm = LayerNorm(config["emb_dim"])
        self.dropout = nn.Dropout(config["drop_rate"])

    def forward(self, x, cache=None):
        found = self.attention(self.attention_norm(x), cache=cache)
        x = x + self.dropout(found)
        thought = self.feed_forward(self.feed_forward_norm(x))
        return x + self.dropout(thought)


wrong_edits(
    "cached_block",
    ("self.attention_norm(x), cache)", "self.attention_norm(x), None)", "nobody gets it"),
    ("self.feed_forward_norm(x))", "self.feed_forward_norm(x), cache)", "more than it takes"),
    ("self.attention_norm(x), cache)", "x, cache)", "wrong without a cache, too"),
    ("return x + self.dropout(self.feed", "return self.dropout(self.feed",
     "wrong without a cache, too"),
)


@right("cached_model")
class InAnotherOrder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList([TransformerBlock(config) for _ in range(config["n_layers"])])
        self.final_norm = LayerNorm(config["emb_dim"])
        self.output_head = nn.Linear(config["emb_dim"], config["vocab_size"], bias=False)
        self.position_embedding = nn.Embedding(config["context_length"], config["emb_dim"])
        self.token_embedding = nn.Embedding(config["vocab_size"], config["emb_dim"])
        self.dropout = nn.Dropout(config["drop_rate"])
        if config.get("tie_weights"):
            self.output_head.weight = self.token_embedding.weight
        init_weights(self)

    def forward(self, ids, cache=None):
        T, past = ids.size(1), 0 if cache is None else cache[-1].length
        x = self.dropout(self.token_embedding(ids) + self.position_embedding.weight[past:past + T])
        for block, own in zip(self.blocks, cache or [None] * len(self.blocks), strict=True):
            x = block(x, own)
        return self.output_head(self.final_norm(x))


wrong_edits(
    "cached_model",
    ("cache[layer] if cache else None", "cache[-1] if cache else None",
     "without a cache, it is right"),
    ("torch.arange(past, past + ids.shape[1], device=ids.device)",
     "torch.arange(ids.shape[1], device=ids.device)", "positions go on where it ends"),
    ("cache[0].length if cache else 0", "cache[0].length - 1 if cache else 0", "index"),
    ("cache[0].length if cache else 0", "len(cache[0]) if cache else 0", "len()"),
    ("cache[layer] if cache else None", "cache[0] if cache else None", "gets cache[layer]"),
    ("block(x, cache[layer] if cache else None)", "block(x, KVCache())", "logits["),
    ("x = self.dropout(x)", "x = x", "25% of what the first block reads must be dropped"),
    ("return self.output_head(self.final_norm(x))", "return self.final_norm(x)",
     "the shape of your logits"),
    ("return self.output_head(self.final_norm(x))",
     "return self.output_head(self.final_norm(x))[:, -1]", "the shape of your logits"),
)


@right("generate")
@torch.no_grad()
def the_model_is_called_by_name(model, ids, n_tokens, temperature=1.0, top_k=None, top_p=None,
                                stop=None, generator=None):
    model.eval()
    size, device = model.config["context_length"], next(model.parameters()).device
    text, cache = list(ids), None
    for _ in range(n_tokens):
        if cache is None or len(text) > size:
            new, cache = text[-size:], [KVCache() for _ in model.blocks]
        logits = model(ids=torch.tensor([new], device=device), cache=cache)[0, -1]
        logits = apply_temperature(logits=logits, temperature=temperature)
        logits = logits if top_k is None else keep_top_k(logits=logits, k=top_k)
        logits = logits if top_p is None else keep_top_p(logits=logits, p=top_p)
        [token] = torch.multinomial(logits.softmax(-1), 1, generator=generator).tolist()
        if token == stop:
            return
        yield token
        text.append(token)
        new = [token]


@right("generate")
@torch.inference_mode()
def with_inference_mode(model, ids, n_tokens, temperature=1.0, top_k=None, top_p=None, stop=None,
                        generator=None):
    model.eval()
    text, length = torch.tensor([ids]), model.config["context_length"]
    caches, unread = [KVCache() for _ in model.blocks], text
    while n_tokens > 0:
        n_tokens -= 1
        if text.shape[1] > length:
            caches, unread = [KVCache() for _ in model.blocks], text[:, -length:]
        scores = apply_temperature(model(unread, cache=caches)[:, -1], temperature)
        scores = scores if top_k is None else keep_top_k(scores, top_k)
        scores = scores if top_p is None else keep_top_p(scores, top_p)
        unread = torch.multinomial(F.softmax(scores, dim=-1), num_samples=1, generator=generator)
        if unread.item() == stop:
            break
        text = torch.cat([text, unread], dim=1)
        yield int(unread)


STOP = "        if token == stop:\n            return\n"
wrong_edits(
    "generate",
    ("        yield token\n", "        return token\n", "whole number"),
    ("token == stop", "token is stop", "should be []"),
    ("logits.softmax(dim=-1), 1", "logits, 1", "which softmax makes of scores"),
    (STOP + "        yield token\n", "        yield token\n" + STOP, "`stop` that goes wrong"),
    ("        ids.append(token)\n", "", "outgrows the context"),
    (", [KVCache() for _ in model.blocks]\n        logits", ", cache\n        logits",
     "with new caches"),
    ("    ids, new, cache = list(ids), list(ids),", "    ids, new, cache = ids, list(ids),",
     "changes its input ids"),
    ("    model.eval()\n", "", "call model.eval()"),
    ("@torch.no_grad()\n", "", "keep @torch.no_grad()"),
    (", 1, generator=generator).item()", ", 1, generator=generator)", ".item()"),
    ("(torch.tensor([new]), cache)", "(torch.tensor([ids[-model.config[\"context_length\"] :]]))",
     "the model reads 4 tokens: with a KVCache for every block"),
    ("(torch.tensor([new]), cache)", "(torch.tensor([new]))", "what the model reads after the"),
    ("(torch.tensor([new]), cache)", "(torch.tensor([new]), [KVCache() for _ in model.blocks])",
     "what the model reads after the prompt"),
    ("[KVCache() for _ in model.blocks]\n    for", "KVCache()\n    for", "KVCache"),
    ("logits = apply_temperature(logits", "apply_temperature(logits", "emperature"),
    ("            logits = keep_top_k(logits, top_k)", "            keep_top_k(logits, top_k)",
     "top_k"),
    ("range(n_tokens)", "range(n_tokens - len(ids))", "the rest is missing"),
    ("range(n_tokens)", "range(n_tokens + 1)", "should be"),
    ("        yield token\n", "        yield ids\n", "must hold a token id"),
    ('ids[-model.config["context_length"] :]', 'ids[: model.config["context_length"]]',
     "longer than the context"),
    ("        yield token\n        ids.append(token)\n        new = [token]\n",
     "        ids.append(token)\n        new = [token]\n    yield from ids\n", "should be"),
)


@right("main")
def with_pieces(*_):
    kept = Path(sys.argv[1]).with_suffix(".pt")
    if sys.argv[1].endswith("txt"):
        pieces = Path(sys.argv[1]).read_text("utf-8").split(END_OF_TEXT)
        counts = Counter()
        for piece in pieces:
            counts.update(word.encode() for word in WORD.findall(piece))
        tokenizer = Tokenizer(learn_merges(counts, 100))
        ids = []
        for piece in pieces:
            ids += [tokenizer.end_token, *tokenizer.encode(piece)]
        split = int(0.8 * len(ids))
        config = GPT_CONFIG_124M | {"vocab_size": len(tokenizer.vocabulary), "emb_dim": 32,
                                    "context_length": 16, "n_heads": 2, "n_layers": 1}
        model, ids = GPTModel(config), torch.tensor(ids)
        for loss in train(model, ids[:split], 300):
            print(loss)
        print("held out:", evaluate(model, *batch(ids[split:], 50, 16)))
        save(kept, tokenizer, model)
    else:
        tokenizer, model = load(kept)
    beginning = " ".join(sys.argv[2:]) or "The"
    tokens = generate(model, tokenizer.encode(beginning), 50, temperature=0.8)
    print(beginning + tokenizer.decode(list(islice(tokens, 50))))


wrong_edits(
    "main",
    ("in enumerate(train(model, seen, steps, peak=peak, draw=draw), start=1)",
     "in enumerate([1.0], start=1)", "0 steps are trained"),
    ("seen, steps, peak", "seen, 5, peak", "5 steps are trained"),
    ("ids[len(ids) * 9 // 10 :]", "ids", "just what comes after"),
    ("ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]",
     "ids[: len(ids) // 10], ids[len(ids) // 10 :]", "its first nine tenths"),
    ("ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]",
     "ids[len(ids) // 10 :], ids[: len(ids) // 10]", "its first nine tenths"),
    ("ids[len(ids) * 9 // 10 :]", "ids[len(ids) * 95 // 100 :]", "just what comes after"),
    ("len(tokenizer.vocabulary)", "50257", "hand it on as vocab_size"),
    ("path, beginning = Path(sys.argv[1])", "path, beginning = Path(sys.argv[0])", "No such file"),
    ("{new_loss:.3f}", "{0:.3f}", "never printed"),
    ("*draw(unseen, 200, 128)", "unseen", "evaluate measures windows"),
    ("*draw(unseen, 200, 128)", "*draw(seen, 200, 128)", "just what comes after"),
    ("*draw(unseen, 200, 128)", "*batch(unseen, 200, 128)", "let both use draw"),
    ("peak=peak, draw=draw", "peak=peak", "let both use draw"),
    ("peak=peak, draw=draw", "peak=peak, draw=__import__('functools').partial(draw)",
     "let both use draw"),
    ('        save(path.with_suffix(".pt"), tokenizer, model)\n', "", "is not kept"),
    ('path.suffix == ".pt"', 'path.suffix == ".bin"', "can't decode byte"),
    ("*tokenizer.encode(beginning)", "", "not what generate goes on from"),
    ("print(beginning + ", "print(", "not printed in front"),
)
