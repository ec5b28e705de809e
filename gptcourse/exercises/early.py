"""Definitions that grow: how gpt.py's source is edited into the form of an earlier chapter.

The cache comes in chapter 7. Until then no layer knows of it, and `generate` reads everything anew.
In chapter 2, `train` and `generate` have the first and plainest of their forms.
"""

from typing import NamedTuple

# Lines of `generate` that make way for plainer ones.
SLIDE = ('        if len(ids) > model.config["context_length"]:     '
         "# the window slides: each token moves\n"
         '            new, cache = ids[-model.config["context_length"] :], [KVCache() for _ in '
         "model.blocks]\n")
_NEW = "    ids, new, cache = list(ids), list(ids), [KVCache() for _ in model.blocks]\n"
_LOGITS = "        logits = model(torch.tensor([new]), cache)[0, -1]                    # (V)\n"
_APPEND = ("        ids.append(token)\n        new = [token]\n", "        ids.append(token)\n")

EARLY = {
    "MultiHeadAttention": [
        ("def forward(self, x, cache=None):     ", "def forward(self, x):                 "),
        ("        if cache is not None:\n"
         "            keys, values = cache.extend(keys, values)                        "
         "# (B, H, S, D)\n", ""),
        ("        T, S = queries.shape[2], keys.shape[2]\n"
         "        mask = causal_mask(S)[-T:].to(x.device)                              "
         "# (T, S)\n",
         "        mask = causal_mask(x.shape[1]).to(x.device)                          # (T, T)\n"),
        ("mask))       # (B, H, T, S)", "mask))       # (B, H, T, T)"),
    ],
    "TransformerBlock": [
        ("def forward(self, x, cache=None):     ", "def forward(self, x):                 "),
        ("self.attention_norm(x), cache))", "self.attention_norm(x)))"),
    ],
    "GPTModel": [
        ("def forward(self, ids, cache=None):     ", "def forward(self, ids):                 "),
        ("        past = cache[0].length if cache else 0\n"
         "        positions = torch.arange(past, past + ids.shape[1], device=ids.device)    "
         "# (T)\n",
         "        positions = torch.arange(ids.shape[1], device=ids.device)            # (T)\n"),
        ("        for layer, block in enumerate(self.blocks):\n"
         "            x = block(x, cache[layer] if cache else None)                    "
         "# (B, T, C)\n",
         "        for block in self.blocks:\n"
         "            x = block(x)                                                     "
         "# (B, T, C)\n"),
    ],
    "generate": [
        (_NEW, "    ids = list(ids)\n"),
        (SLIDE + _LOGITS,
         '        latest = ids[-model.config["context_length"] :]                      # (T)\n'
         "        logits = model(torch.tensor([latest]))[0, -1]                        # (V)\n"),
        _APPEND,
    ],
}

# Who calls whom with the cache: a caller that hands it on needs a callee that takes it.
CALLERS = (("TransformerBlock", "MultiHeadAttention"), ("GPTModel", "TransformerBlock"),
           ("generate", "GPTModel"))


class First(NamedTuple):
    """How a definition begins, under a name of its own: it takes other arguments then."""

    of: str                            # its name in gpt.py
    grown: str                         # an argument that only the later form has
    edits: list[tuple[str, str]]


FIRST = {
    "first_train": First("train", "peak", [
        ("steps, batch_size=16, peak=3e-3, warmup_steps=20, generator=None,\n"
         "          draw=batch):", "steps, batch_size, context_length, rate, generator=None):"),
        (", in batches that `draw` draws; yields each loss.", "; yields the loss of each."),
        ("    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), "
         "weight_decay=0.1)\n"
         "    for step in range(steps):\n"
         "        for group in optimizer.param_groups:\n"
         '            group["lr"] = learning_rate(step, steps, warmup_steps, peak)\n',
         "    optimizer = torch.optim.SGD(model.parameters(), lr=rate)\n"
         "    for _ in range(steps):\n"),
        ('draw(ids, batch_size, model.config["context_length"], generator)\n'
         "        model.train()\n",
         "batch(ids, batch_size, context_length, generator)\n"),
        ("        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n", ""),
        ("        model.eval()\n", ""),
    ]),
    "first_generate": First("generate", "temperature", [
        ("n_tokens, temperature=1.0, top_k=None, top_p=None, stop=None,\n"
         "             generator=None):", "n_tokens, stop=None, generator=None):"),
        ("    model.eval()\n" + _NEW, "    ids = list(ids)\n"),
        (SLIDE + _LOGITS +
         "        logits = apply_temperature(logits, temperature)\n"
         "        if top_k is not None:\n"
         "            logits = keep_top_k(logits, top_k)\n"
         "        if top_p is not None:\n"
         "            logits = keep_top_p(logits, top_p)\n",
         "        logits = model(torch.tensor([ids]))[0, -1]                           # (V)\n"),
        _APPEND,
    ]),
}

# An argument that only the later form has, by the exercise that asks for the earlier one.
GROWN = {name: first.grown for name, first in FIRST.items()} | dict.fromkeys(
    ("MultiHeadAttention", "TransformerBlock", "GPTModel"), "cache")
