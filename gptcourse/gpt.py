"""A GPT from scratch, in one file: the tokenizer, the model, its training, its talking.

    python gpt.py stories.txt                  learns from the text, then writes one like it;
                                               what it has learned is kept in stories.pt
    python gpt.py stories.pt "Do you know"     takes that up again, and goes on from there

Sizes in the comments: B batch, T tokens, C emb_dim, H heads, D = C / H, V vocab_size, L layers.
"""

import json
import math
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import regex
import torch
from torch import nn

# ---- 01 Tokenization: text becomes a row of whole numbers, and the row becomes text again --------

END_OF_TEXT = "<|endoftext|>"
WORD = regex.compile(
    r"'(?:s|t|re|ve|m|ll|d)"      # the end of a contraction: it's, don't, we're
    r"| ?\p{L}+"                  # letters, with the space before them
    r"| ?\p{N}+"                  # digits, likewise
    r"| ?[^\s\p{L}\p{N}]+"        # other characters, likewise
    r"|\s+(?!\S)|\s+"             # white space, but for a last one that a word takes along
)

def count_pairs(ids):
    """How often each pair of neighbors occurs.  [1, 2, 1, 2] -> {(1, 2): 2, (2, 1): 1}"""
    return Counter(pairwise(ids))

def merge(ids, pair, new_id):
    """Replace each occurrence of `pair`, from left to right.  [1, 1, 1], (1, 1), 9 -> [9, 1]"""
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged

def learn_merges(words, n_merges):
    """The most frequent pairs, each merged before the next is found.  {b" cat": 3, ...}, 9 -> 9"""
    spellings, merges = {word: list(word) for word in words}, []
    while len(merges) < n_merges:
        counts = Counter()
        for word, times in words.items():
            for pair, count in count_pairs(spellings[word]).items():
                counts[pair] += times * count
        if not counts:
            break                                         # every word is a single token by now
        best = min(counts, key=lambda pair: (-counts[pair], pair))    # of equals, the smaller ids
        spellings = {word: merge(ids, best, 256 + len(merges)) for word, ids in spellings.items()}
        merges.append(best)
    return merges

class Tokenizer:
    """Text to token ids and back. The 256 bytes come first, then the merges, then the end token."""

    def __init__(self, merges, byte_order=range(256)):
        self.id_of_byte = {byte: token for token, byte in enumerate(byte_order)}
        self.id_of_pair = {tuple(pair): 256 + n for n, pair in enumerate(merges)}
        self.vocabulary = [bytes([byte]) for byte in byte_order]             # id -> bytes
        for left, right in merges:
            self.vocabulary.append(self.vocabulary[left] + self.vocabulary[right])
        self.vocabulary.append(END_OF_TEXT.encode())
        self.end_token = len(self.vocabulary) - 1

    def encode_word(self, word):
        """Start with its bytes; of all pairs in the word, merge the one that was learned first."""
        ids = [self.id_of_byte[byte] for byte in word.encode()]
        while len(ids) > 1:
            pair = min(pairwise(ids), key=lambda pair: self.id_of_pair.get(pair, math.inf))
            if pair not in self.id_of_pair:
                break
            ids = merge(ids, pair, self.id_of_pair[pair])
        return ids

    def encode(self, text):
        words = WORD.findall(text)
        spellings = {word: self.encode_word(word) for word in set(words)}    # each word just once
        return [token for word in words for token in spellings[word]]

    def decode(self, ids):
        return b"".join(self.vocabulary[token] for token in ids).decode(errors="replace")


# ---- 02 A first language model: which token comes next, and how surprising is it? ----------------

def next_token_loss(logits, targets):
    """The mean surprise at the true next tokens, in nats.  (B, T, V), (B, T) -> scalar"""
    log_probabilities = logits.log_softmax(dim=-1)                           # (B, T, V)
    return -log_probabilities.gather(-1, targets[..., None]).mean()

def batch(ids, batch_size, context_length, generator=None):
    """Windows from random places, and the same moved on by one token.  (N) -> (B, T), (B, T)"""
    starts = torch.randint(len(ids) - context_length, (batch_size,), generator=generator)
    windows = torch.stack([ids[start : start + context_length + 1] for start in starts])
    return windows[:, :-1], windows[:, 1:]


# ---- 03 Attention: every token gathers what it needs from the tokens before it -------------------

def causal_mask(n_tokens):
    """True where a query (row) may look at a key (column).  -> (T, T) bool"""
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()

def attention_weights(queries, keys, mask):
    """How much each query takes from each key.  (..., T, D), (..., S, D), (T, S) -> (..., T, S)"""
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1)              # each row sums to 1

def split_heads(x, n_heads):
    """Cut each token's vector into one piece per head.  (B, T, C) -> (B, H, T, D)"""
    B, T, C = x.shape
    return x.view(B, T, n_heads, C // n_heads).transpose(1, 2)

class MultiHeadAttention(nn.Module):
    """H attention heads side by side, each on its own D numbers of every token."""

    def __init__(self, config):
        super().__init__()
        C = config["emb_dim"]
        self.n_heads = config["n_heads"]
        self.query = nn.Linear(C, C, bias=config["qkv_bias"])
        self.key = nn.Linear(C, C, bias=config["qkv_bias"])
        self.value = nn.Linear(C, C, bias=config["qkv_bias"])
        self.output = nn.Linear(C, C)
        self.dropout = nn.Dropout(config["drop_rate"])

    def forward(self, x, cache=None):                                        # (B, T, C)
        queries = split_heads(self.query(x), self.n_heads)                   # (B, H, T, D)
        keys = split_heads(self.key(x), self.n_heads)                        # (B, H, T, D)
        values = split_heads(self.value(x), self.n_heads)                    # (B, H, T, D)
        if cache is not None:
            keys, values = cache.extend(keys, values)                        # (B, H, S, D)
        T, S = queries.shape[2], keys.shape[2]
        mask = causal_mask(S)[-T:].to(x.device)                              # (T, S)
        weights = self.dropout(attention_weights(queries, keys, mask))       # (B, H, T, S)
        mixed = (weights @ values).transpose(1, 2).flatten(2)                # (B, T, C)
        return self.output(mixed)                                            # (B, T, C)


# ---- 04 Blocks: attention moves information, the feed-forward network works on it ----------------

class LayerNorm(nn.Module):
    """Each vector brought to mean 0 and variance 1, then stretched and moved as learned."""

    def __init__(self, emb_dim):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(emb_dim))
        self.shift = nn.Parameter(torch.zeros(emb_dim))

    def forward(self, x):                                                    # (..., C)
        mean = x.mean(dim=-1, keepdim=True)                                  # (..., 1)
        variance = x.var(dim=-1, keepdim=True, unbiased=False)               # (..., 1)
        return self.scale * (x - mean) / torch.sqrt(variance + 1e-5) + self.shift

class GELU(nn.Module):
    """A gate that opens softly: near 0 far below zero, near x far above it."""

    def forward(self, x):
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

class FeedForward(nn.Module):
    """Widen each token's vector four times, apply GELU, and bring it back to its width."""

    def __init__(self, config):
        super().__init__()
        self.expand = nn.Linear(config["emb_dim"], 4 * config["emb_dim"])
        self.gelu = GELU()
        self.contract = nn.Linear(4 * config["emb_dim"], config["emb_dim"])

    def forward(self, x):                                                    # (B, T, C)
        return self.contract(self.gelu(self.expand(x)))                      # (B, T, C)

class TransformerBlock(nn.Module):
    """Two additions to the residual stream, each computed from a normalized copy of it."""

    def __init__(self, config):
        super().__init__()
        self.attention_norm = LayerNorm(config["emb_dim"])
        self.attention = MultiHeadAttention(config)
        self.feed_forward_norm = LayerNorm(config["emb_dim"])
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config["drop_rate"])

    def forward(self, x, cache=None):                                        # (B, T, C)
        x = x + self.dropout(self.attention(self.attention_norm(x), cache))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


# ---- 05 The full model: embeddings, a stack of blocks, a score for every possible next token -----

GPT_CONFIG_124M = {
    "vocab_size": 50257, "context_length": 1024, "emb_dim": 768, "n_heads": 12, "n_layers": 12,
    "drop_rate": 0.1, "qkv_bias": False,
}

@torch.no_grad()
def init_weights(model):
    """Small random matrices, zero biases; what writes to the residual stream smaller by √(2L)."""
    for name, parameter in model.named_parameters():
        if name.endswith(("attention.output.weight", "feed_forward.contract.weight")):
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * len(model.blocks)))
        elif parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)

class GPTModel(nn.Module):
    """Token ids in, a score for every possible next token out, at every position."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config["vocab_size"], config["emb_dim"])
        self.position_embedding = nn.Embedding(config["context_length"], config["emb_dim"])
        self.dropout = nn.Dropout(config["drop_rate"])
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config["n_layers"]))
        self.final_norm = LayerNorm(config["emb_dim"])
        self.output_head = nn.Linear(config["emb_dim"], config["vocab_size"], bias=False)
        if config.get("tie_weights"):
            self.output_head.weight = self.token_embedding.weight
        init_weights(self)

    def forward(self, ids, cache=None):                                      # (B, T)
        past = cache[0].length if cache else 0
        positions = torch.arange(past, past + ids.shape[1], device=ids.device)    # (T)
        x = self.token_embedding(ids) + self.position_embedding(positions)   # (B, T, C)
        x = self.dropout(x)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache[layer] if cache else None)                    # (B, T, C)
        return self.output_head(self.final_norm(x))                          # (B, T, V)


# ---- 06 Training: predict, measure the surprise, move every weight a little, repeat --------------

def learning_rate(step, steps, warmup_steps, peak):
    """A straight climb to the peak, then half a cosine wave, down to a tenth at the last step."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)      # 0 to 1
    return peak * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)

def train(model, ids, steps, batch_size=16, peak=3e-3, warmup_steps=20, generator=None,
          draw=batch):
    """Take so many steps on a text, ids (N), in batches that `draw` draws; yields each loss."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.1)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, warmup_steps, peak)
        inputs, targets = draw(ids, batch_size, model.config["context_length"], generator)
        model.train()
        loss = next_token_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.eval()
        yield loss.item()

def story_batch(ids, batch_size, context_length, generator=None):
    """As `batch`, but each window begins where a story does, with the end token: the largest id."""
    starts = (ids[:-context_length] == ids.max()).nonzero()[:, 0]
    chosen = starts[torch.randint(len(starts), (batch_size,), generator=generator)]
    windows = torch.stack([ids[start : start + context_length + 1] for start in chosen])
    return windows[:, :-1], windows[:, 1:]

@torch.no_grad()
def evaluate(model, inputs, targets, batch_size=16):
    """The mean loss over any number of windows, (N, T) each, a few at a time."""
    model.eval()
    total = 0.0
    for some, theirs in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
        total += len(some) * next_token_loss(model(some), theirs).item()     # some (B, T)
    return total / len(inputs)

def save(path, tokenizer, model):
    """Write to a file all that it takes to go on another day."""
    torch.save({"merges": list(tokenizer.id_of_pair), "config": model.config,
                "weights": model.state_dict()}, path)

def load(path):
    """What `save` wrote there.  -> tokenizer, model"""
    saved = torch.load(path, weights_only=True, map_location=torch.get_default_device())
    tokenizer, model = Tokenizer(saved["merges"]), GPTModel(saved["config"])
    model.load_state_dict(saved["weights"])
    return tokenizer, model


# ---- 07 Generation: from the scores of all tokens to one token, again and again ------------------

def apply_temperature(logits, temperature):
    """Below 1 the favorites gain, above 1 the outsiders; at 0 the best one has it all."""
    return keep_top_k(logits, 1) if temperature == 0 else logits / temperature

def keep_top_k(logits, k):
    """Keep the k best tokens of each row; the others get -inf.  (..., V) -> (..., V)"""
    order = logits.argsort(dim=-1, descending=True, stable=True)             # (..., V)
    return logits.scatter(-1, order[..., k:], -math.inf)

def keep_top_p(logits, p):
    """Keep the fewest best tokens that together have probability p or more; the others get -inf."""
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)       # (..., V)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities                    # of all better tokens
    before[..., 0] = -1                                                      # the best one stays
    ordered = ordered.masked_fill(before >= p, -math.inf)
    return logits.scatter(-1, order, ordered)

class KVCache:
    """The keys and values of all tokens so far, for one attention layer: they never change."""

    def __init__(self):
        self.length = 0

    def extend(self, keys, values):                                          # (B, H, T, D) each
        if self.length > 0:
            keys = torch.cat([self.keys, keys], dim=2)                       # (B, H, S, D)
            values = torch.cat([self.values, values], dim=2)                 # (B, H, S, D)
        self.keys, self.values, self.length = keys, values, keys.shape[2]
        return keys, values

@torch.no_grad()
def generate(model, ids, n_tokens, temperature=1.0, top_k=None, top_p=None, stop=None,
             generator=None):
    """Draw a token, append it, again. Yields up to n_tokens ids, and none from `stop` on."""
    model.eval()
    ids, new, cache = list(ids), list(ids), [KVCache() for _ in model.blocks]
    for _ in range(n_tokens):
        if len(ids) > model.config["context_length"]:     # the window slides: each token moves
            new, cache = ids[-model.config["context_length"] :], [KVCache() for _ in model.blocks]
        logits = model(torch.tensor([new]), cache)[0, -1]                    # (V)
        logits = apply_temperature(logits, temperature)
        if top_k is not None:
            logits = keep_top_k(logits, top_k)
        if top_p is not None:
            logits = keep_top_p(logits, top_p)
        token = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator).item()
        if token == stop:
            return
        yield token
        ids.append(token)
        new = [token]

def main():
    """Learn from a text and keep what was learned, or take that up again; then write."""
    if len(sys.argv) < 2 or not Path(sys.argv[1]).is_file():
        sys.exit("Name a text to learn from, or what was kept of one and how to begin: "
                 'stories.txt, or stories.pt "Do you know".')
    path, beginning = Path(sys.argv[1]), " ".join(sys.argv[2:])
    if torch.cuda.is_available():
        torch.set_default_device("cuda")
    torch.manual_seed(0)
    if path.suffix == ".pt":
        tokenizer, model = load(path)
    else:
        documents = path.read_text(encoding="utf-8").split(END_OF_TEXT)
        words = Counter(word.encode() for text in documents for word in WORD.findall(text))
        tokenizer = Tokenizer(learn_merges(dict(words.most_common(2000)), n_merges=767))
        ids = torch.tensor([token for text in documents                 # each after an end token
                            for token in [tokenizer.end_token, *tokenizer.encode(text)]])
        seen, unseen = ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]
        if len(unseen) <= 128:
            sys.exit(f"{path} is too short: it has {len(ids)} tokens, but 1,300 are the least.")
        begins = tokenizer.end_token in unseen[:-128]     # where a window may begin
        stories = begins and len(ids) < 128 * len(documents)      # whole ones fit into windows
        layers, steps, peak, draw = (
            (1, 1800, 0.01, story_batch) if stories else (2, 450, 0.006, batch))
        model = GPTModel({**GPT_CONFIG_124M, "vocab_size": len(tokenizer.vocabulary),
                          "emb_dim": 128, "context_length": 128, "n_heads": 4,
                          "n_layers": layers, "drop_rate": 0.0})
        for step, loss in enumerate(train(model, seen, steps, peak=peak, draw=draw), start=1):
            if step % 100 == 0:
                print(f"step {step:4}   loss {loss:.3f}", flush=True)
        new_loss = evaluate(model, *draw(unseen, 200, 128))
        print(f"on text it has never seen: {new_loss:.3f} nats per token\n")
        save(path.with_suffix(".pt"), tokenizer, model)
    end = tokenizer.end_token
    told = generate(model, [end, *tokenizer.encode(beginning)], 200, stop=end)
    print(beginning + tokenizer.decode(told))


# ---- 08 Pretrained weights: the numbers of the published GPT-2, in this very model ---------------

def read_safetensors(path):
    """The tensors of a file, by name. It begins with a header, which says where each one lies."""
    types = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
             "U8": torch.uint8, "BOOL": torch.bool}
    tensors = {}
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()                               # the header's places count from here
        header.pop("__metadata__", None)
        for name, about in header.items():
            first, end = about["data_offsets"]
            file.seek(start + first)
            content = bytearray(file.read(end - first))
            numbers = torch.frombuffer(content, dtype=types[about["dtype"]])
            tensors[name] = numbers.view(about["shape"])
    return tensors

def map_name(name):
    """What GPT-2 calls it.  "blocks.0.feed_forward.expand.bias" -> "h.0.mlp.c_fc.bias" """
    theirs = {
        "token_embedding": "wte", "position_embedding": "wpe", "blocks": "h",
        "attention_norm": "ln_1", "attention": "attn", "query": "c_attn", "key": "c_attn",
        "value": "c_attn", "output": "c_proj", "feed_forward_norm": "ln_2", "feed_forward": "mlp",
        "expand": "c_fc", "contract": "c_proj", "final_norm": "ln_f", "output_head": "lm_head",
        "scale": "weight", "shift": "bias",
    }
    return ".".join(theirs.get(part, part) for part in name.split("."))

def load_gpt2(model, tensors):
    """Fill the model with the tensors of a GPT-2: none may be missing, and none left over."""
    masks = (".attn.bias", ".attn.masked_bias")           # no weights: the model makes its own
    given = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()
             if not name.endswith(masks)}
    given.setdefault("lm_head.weight", given["wte.weight"])                  # the head is tied
    tied = model.output_head.weight is model.token_embedding.weight
    if tied and not torch.equal(given["lm_head.weight"], given["wte.weight"]):
        raise ValueError("This file's head isn't tied: build the model with tie_weights=False.")
    weights = {}
    for name in model.state_dict():
        tensor = given[map_name(name)]
        if ".c_" in map_name(name):                       # stored (in, out), in nn.Linear (out, in)
            tensor = tensor.t()
        for number, part in enumerate(("query", "key", "value")):
            if f".{part}." in name:                       # a third of c_attn
                tensor = tensor.chunk(3)[number]
        weights[name] = tensor
    left_over = given.keys() - map(map_name, weights)
    if left_over:
        raise ValueError(f"The model has no place for {sorted(left_over)}.")
    model.load_state_dict(weights)                        # all names and shapes must fit


# ---- 09 A modern language model: what has changed in the block since GPT-2 -----------------------

class RMSNorm(nn.Module):
    """Each vector divided by the root of its mean square, then stretched as learned."""

    def __init__(self, emb_dim):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(emb_dim))

    def forward(self, x):                                                    # (..., C)
        mean_square = x.square().mean(dim=-1, keepdim=True)                  # (..., 1)
        return self.scale * x / torch.sqrt(mean_square + 1e-5)

def rotate(x, positions, base=10000.0):
    """Turn the numbers i and i + D/2 of each vector by position / base^(2i/D).  -> as x"""
    D = x.shape[-1]                                                          # x (..., T, D)
    rates = base ** (-torch.arange(0, D, 2, device=x.device) / D)            # (D/2): ever slower
    angles = positions[:, None] * rates                                      # (T, D/2)
    first, second = x.chunk(2, dim=-1)                                       # (..., T, D/2) each
    turned_first = first * angles.cos() - second * angles.sin()
    turned_second = second * angles.cos() + first * angles.sin()
    return torch.cat([turned_first, turned_second], dim=-1)

class SwiGLU(nn.Module):
    """A feed-forward network in which one layer opens and shuts the numbers of another."""

    def __init__(self, config):
        super().__init__()
        C, width = config["emb_dim"], config["hidden_dim"]
        self.gate = nn.Linear(C, width, bias=False)
        self.expand = nn.Linear(C, width, bias=False)
        self.contract = nn.Linear(width, C, bias=False)

    def forward(self, x):                                                    # (B, T, C)
        gate = self.gate(x)                                                  # (B, T, hidden_dim)
        opened = gate * torch.sigmoid(gate)                                  # (B, T, hidden_dim)
        return self.contract(opened * self.expand(x))                        # (B, T, C)

def repeat_kv(x, times):
    """Each head of keys or values, for every query head of its group.  -> (B, K · times, S, D)"""
    return x.repeat_interleave(times, dim=1)                                 # x (B, K, S, D)

if __name__ == "__main__":
    main()
