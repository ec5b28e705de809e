"""Answers to the exercises of chapter 3, as learners write them."""

import math

import torch
import torch.nn.functional as F
from collecting import right, wrong_edits
from torch import nn

# --------------------------------------------------------------------------------- causal_mask


@right("causal_mask")
def compare_positions(n_tokens):
    positions = torch.arange(n_tokens)
    return positions[:, None] >= positions[None, :]


@right("causal_mask")
def two_loops(n_tokens):
    mask = torch.zeros(n_tokens, n_tokens, dtype=torch.bool)
    for query in range(n_tokens):
        for key in range(query + 1):
            mask[query, key] = True
    return mask


@right("causal_mask")
def not_the_upper_triangle(n_tokens):
    return torch.triu(torch.ones(n_tokens, n_tokens), diagonal=1) == 0


MASK = "torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()"


def placed(condition):
    """A mask by the places of query (a column) and key (a row)."""
    return "", (f"    key = torch.arange(n_tokens)\n    query = key[:, None]\n"
                f"    return {condition}")


def filled_in(rows, end=""):
    return "", ("    mask = torch.zeros(n_tokens, n_tokens, dtype=torch.bool)\n"
                f"    for row in range({rows}):\n        mask[row, : row + 1] = True\n"
                f"    {end}return mask")


wrong_edits(
    "causal_mask",
    (*placed("query <= key"), "Rows and columns have changed places"),
    (*placed("query > key"), "a part of the past is hidden, too"),
    (*placed("query < key"), "True and False have changed places"),
    (MASK, "torch.tril(torch.ones(n_tokens, n_tokens))", "must be torch.bool"),
    (MASK, f"{MASK}.numpy()", "a NumPy array"),
    (f"return {MASK}", MASK, "forget `return`"),
    (MASK, "torch.ones(1, n_tokens, n_tokens, dtype=torch.bool).tril()", "is (1, 4, 4)"),
    (MASK, "torch.ones(4, 4, dtype=torch.bool).tril()", "the same when n_tokens changes"),
    (*placed("(query == key) | (query == key + 1)"), "Each token sees the last 2 only"),
    (MASK, "torch.full((n_tokens, n_tokens), -math.inf).triu(1)", "must be torch.bool"),
    (*filled_in("1, n_tokens"), "All is right but the first place"),
    (*filled_in("n_tokens - 1"), "All is right but the last place"),
    (*filled_in("n_tokens", "    "), "of the past is hidden"),
    (*placed("(query - key).abs() <= 1"), "of the future is allowed, and a part of the past"),
    (*placed("(key <= query) | (key < 3)"), "All of the past is allowed"),
    (MASK, "torch.ones(n_tokens, n_tokens).tril().bool", "call it, with brackets"),
    (MASK, "torch.ones(n_tokens + 1, n_tokens + 1, dtype=torch.bool).tril()",
     "One place too many along axis 0 and axis 1"),
    (MASK, "(torch.arange(n_tokens) < 1).expand(n_tokens, n_tokens)", "hold the same numbers"),
)

# --------------------------------------------------------------------------- attention_weights


@right("attention_weights")
def einsum_and_additive_mask(queries, keys, mask):
    scores = torch.einsum("...td,...sd->...ts", queries, keys) / queries.shape[-1] ** 0.5
    return F.softmax(scores + (1.0 - mask.float()) * -1e9, dim=-1)


@right("attention_weights")
def exp_by_hand(queries, keys, mask):
    scores = queries @ keys.mT * queries.size(-1) ** -0.5
    shares = scores.exp() * mask
    return shares / shares.sum(-1, keepdim=True)


@right("attention_weights")
def in_double_precision(queries, keys, mask):
    scores = queries.double() @ keys.double().transpose(-1, -2) / math.sqrt(keys.shape[-1])
    scores[~mask.expand_as(scores)] = -torch.inf
    return torch.softmax(scores, -1)


@right("attention_weights")
def row_by_row(queries, keys, mask):
    rows = []
    for t in range(queries.shape[-2]):
        scores = (queries[..., t : t + 1, :] * keys).sum(-1) / math.sqrt(queries.shape[-1])
        rows.append(torch.where(mask[t], scores, -math.inf).softmax(-1))
    return torch.stack(rows, dim=-2)


@right("attention_weights")
def from_the_fused_kernel(queries, keys, mask):
    everyone = torch.eye(keys.shape[-2]).expand(*keys.shape[:-2], -1, -1)
    return F.scaled_dot_product_attention(queries, keys, everyone, attn_mask=mask)


PRODUCT = "queries @ keys.transpose(-2, -1)"
SCALED = f"{PRODUCT} / math.sqrt(queries.shape[-1])"
ROOT = "math.sqrt(queries.shape[-1])"
SHARES = "scores.masked_fill(~mask, -math.inf).softmax(dim=-1)"
MASKED = "masked_fill(~mask, -math.inf)"
AFTER = f"scores = {SCALED}\n    return {SHARES}"

wrong_edits(
    "attention_weights",
    (SCALED, f"{PRODUCT} / math.sqrt(queries.mul_(2).shape[-1])", "it changes its input queries"),
    (PRODUCT, "queries.detach() @ keys.transpose(-2, -1)", "no gradient reaches queries"),
    (AFTER, "return (mask / mask.sum(-1, keepdim=True)).expand(*queries.shape[:-2], -1, -1)",
     "All keys get the same share"),
    (ROOT, "math.sqrt(queries.shape[0])", "your scores are divided by 2"),
    (AFTER, "return torch.ones(*queries.shape[:-1], keys.shape[-2])", "hold the same numbers"),
    (PRODUCT, "queries @ queries.transpose(-2, -1)", "do not come from the dot products"),
    (SHARES, f"torch.dropout({SHARES}, 0.4, True)", "Called twice with the same input"),
    (MASKED, "masked_fill(~mask, -1)", "gets a share"),
    (f"return {SHARES}", f"scores.{MASKED}\n    return scores.softmax(dim=-1)",
     "go on with what masked_fill returns"),
    (SCALED + f"\n    return {SHARES}", PRODUCT + "\n    return scores.softmax(-1) * mask",
     "The rows do not sum to 1"),
    (SHARES, "scores.masked_fill(~mask, 0) / scores.masked_fill(~mask, 0).sum(-1, keepdim=True)",
     "which shares never are: softmax"),
    (SHARES, "(scores - 1e9 * mask).softmax(-1)", "The mask is used the wrong way around"),
    (SHARES, "scores.masked_fill(~mask, -math.inf).softmax(-1).round()", "Everything was rounded"),
    (SHARES, f"{SHARES} / {ROOT}", "Every number is"),
)

# --------------------------------------------------------------------------------- split_heads


@right("split_heads")
def reshape_and_permute(x, n_heads):
    return x.reshape(*x.shape[:2], n_heads, -1).permute(0, 2, 1, 3)


@right("split_heads")
def chunks_stacked(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1), dim=1)


@right("split_heads")
def a_loop_over_heads(x, n_heads):
    B, T, C = x.shape
    D = C // n_heads
    heads = torch.empty(B, n_heads, T, D, dtype=torch.float64)
    for head in range(n_heads):
        heads[:, head] = x[:, :, head * D : (head + 1) * D]
    return heads


CUT = "x.view(B, T, n_heads, C // n_heads).transpose(1, 2)"

wrong_edits(
    "split_heads",
    (CUT, "x.unflatten(-1, (n_heads, -1))", "Two axes have changed places"),
    (CUT, "torch.stack([x[:, :, h::n_heads] for h in range(n_heads)], dim=1)",
     "holds number 3 of token 0"),
    (CUT, "x.chunk(n_heads, dim=-1)", "torch.stack joins the 3 tensors"),
    (CUT, "torch.stack([x.chunk(n_heads, dim=-1)[0]] * n_heads, dim=1)", "hold the same numbers"),
    (CUT, f"{CUT} / {CUT}.norm(dim=-1, keepdim=True)", "compute nothing"),
    (CUT, "x.view(B, T, 3, C // 3).transpose(1, 2)", "The result stays the same when n_heads"),
    (CUT, f"{CUT}.reshape(B * n_heads, T, -1)", "cut in another way"),
    (CUT, "x[0].view(1, T, n_heads, C // n_heads).transpose(1, 2)", "Only one text of the batch"),
)

# --------------------------------------------------------------------------- MultiHeadAttention


@right("MultiHeadAttention")
@right("PeekingAttention")
class Fused(nn.Module):
    """torch's own kernel, which drops weights itself; the output is made first."""

    def __init__(self, config):
        super().__init__()
        self.C, self.p = config["emb_dim"], config["drop_rate"]
        self.H = config["n_heads"]
        self.output = nn.Linear(self.C, self.C)
        for name in ("value", "key", "query"):
            setattr(self, name, nn.Linear(self.C, self.C, config["qkv_bias"]))

    def forward(self, x):
        B, T, C = x.shape
        queries, keys, values = (
            part(x).reshape(B, T, self.H, -1).permute(0, 2, 1, 3)
            for part in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, dropout_p=self.p if self.training else 0.0)
        return self.output(mixed.transpose(1, 2).reshape(B, T, C))


@right("MultiHeadAttention")
@right("PeekingAttention")
class HeadByHead(nn.Module):
    """A mask in a buffer that is not saved, a loop over heads, in double precision."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        wide = config["emb_dim"], config["emb_dim"]
        self.query, self.key = (nn.Linear(*wide, bias=config["qkv_bias"]) for _ in range(2))
        self.value, self.output = nn.Linear(*wide, bias=config["qkv_bias"]), nn.Linear(*wide)
        T = config["context_length"]
        self.register_buffer("later", torch.full((T, T), -1e9).triu(1), persistent=False)

    def forward(self, x):
        D = self.config["emb_dim"] // self.config["n_heads"]
        T, heads = x.size(1), []
        for start in range(0, x.size(2), D):
            q, k, v = (part(x)[..., start : start + D].double()
                       for part in (self.query, self.key, self.value))
            scores = torch.einsum("btd,bsd->bts", q, k) * D**-0.5 + self.later[:T, :T]
            heads.append(F.dropout(scores.softmax(-1), self.config["drop_rate"], self.training) @ v)
        return self.output(torch.cat(heads, dim=-1).float())


WEIGHTS = "weights = self.dropout(attention_weights(queries, keys, mask))"
MIX = "(weights @ values).transpose(1, 2).flatten(2)"


def by_hand(shares, scale=" / math.sqrt(queries.shape[-1])"):
    """Weights that are computed on the spot."""
    return WEIGHTS, f"scores = queries @ keys.mT{scale}\n        weights = self.dropout({shares})"


BIASED, PLAIN = 'nn.Linear(C, C, bias=config["qkv_bias"])', "nn.Linear(C, C)"

wrong_edits(
    "MultiHeadAttention",
    # once an exercise of its own: weights times values
    ("weights @ values", "weights @ keys", "but must read weights @ values, merged"),
    ("weights @ values", "weights.mT @ values", "row t of the weights belongs to token t"),
    ("weights @ values", "weights @ weights @ values", "do not come from the dot products"),
    ("weights @ values", "weights @ nn.functional.normalize(values, dim=-1)",
     "The rows do not sum to 1"),
    ("weights @ values", "weights @ values.detach()", "no gradient reaches value.weight"),
    ("weights @ values", "(weights[..., None] * values[..., None, :, :]).mean(-2)",
     "do not sum to 1"),
    (*by_hand("scores.masked_fill(~mask, -math.inf).softmax(-1)", ""), "are divided by 1:"),
    # splitting and merging
    (MIX, "(weights @ values).transpose(2, 3).reshape(x.shape)", "in other places"),
    # the last step, dropout
    ("return self.output(mixed)", "return self.value(mixed)", "value is called 2 times"),
    ("return self.output(mixed)", "return x + self.output(mixed)", "you return x + output(...)"),
    ("return self.output(mixed)", "return self.dropout(self.output(mixed))",
     "something else than the attention weights is dropped"),
    ("return self.output(mixed)", "return self.output(mixed), weights", "not 2 things"),
    ("        return self.output(mixed)", "        self.output(mixed)", "forget `return`"),
    ("self.dropout(attention_weights(queries, keys, mask))",
     "attention_weights(queries, keys, mask)", "in training, nothing is dropped"),
    ("self.dropout(attention_weights(queries, keys, mask))",
     "torch.dropout(attention_weights(queries, keys, mask), 0.1, True)", "twice with the same"),
    # parts
    (f"self.key = {BIASED}", f"self.key = {PLAIN}", "it has key.bias"),
    (f"self.key = {BIASED}", "self.key = nn.Linear(C, C, bias=False)", "it has no key.bias"),
    (f"self.key = {BIASED}", 'self.key = nn.Linear(C, C // self.n_heads, bias=config["qkv_bias"])',
     "key.weight has shape"),
    ("self.output = nn.Linear(C, C)", "self.proj = nn.Linear(C, C)", "so call it output"),
    ("        self.dropout =", '        self.register_buffer("mask", torch.ones(9, 9))\n'
     "        self.dropout =", "persistent=False"),
    ('self.n_heads = config["n_heads"]', "self.n_heads = 2", "With n_heads = 3, you split into 2"),
    ('self.n_heads = config["n_heads"]', "self.n_heads = 1", "With n_heads = 3, you split into 1"),
)

# ----------------------------------------------------------------------------- PeekingAttention

wrong_edits(
    "PeekingAttention",
    (MIX, "(weights @ values).transpose(2, 3).reshape(x.shape)", "in other places"),
)
