"""What chapters measure: how tokens spell a word, what counting comes to, models in which one thing
is other than it should be, where in a text a model is surprised, how sure a count or a clock is."""

from __future__ import annotations

import copy
import math
import random
import re
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from types import FunctionType, MethodType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gptcourse.views.gradients import NO_NORM, PRE_NORM, GradientFlow, stack_of_blocks
from gptlib.attention import KVCache, attention, causal_mask, merge_heads, split_heads
from gptlib.blocks import TransformerBlock
from gptlib.corpus import storybook
from gptlib.generation import apply_temperature, generate
from gptlib.model import GPTModel
from gptlib.tap import record
from gptlib.tokenizer import BPETokenizer
from gptlib.training import next_token_loss


def spellings(word: str, tokens: Sequence[str]) -> Counter[str]:
    """The ways in which a text, cut into tokens, spells a word, and how often each occurs: the
    tokens that share a character with the word, with bars between them."""
    starts = list(accumulate(map(len, tokens), initial=0))
    ways = Counter()
    for found in re.finditer(re.escape(word), "".join(tokens)):
        first = bisect_right(starts, found.start()) - 1      # the token that holds its first letter
        ways["|".join(tokens[first : bisect_left(starts, found.end())])] += 1
    return ways


def counted_table(ids: Tensor, vocab_size: int) -> nn.Embedding:
    """A language model that looks at one token: as scores, the logarithm of how often each token
    came after it in a text, ids (N)."""
    counts = torch.zeros(vocab_size, vocab_size)                             # (V, V)
    counts.index_put_((ids[:-1], ids[1:]), torch.ones(len(ids) - 1), accumulate=True)
    counts[counts.sum(dim=1) == 0] = 1                   # after an unread token, anything may come
    return nn.Embedding(vocab_size, vocab_size, _weight=counts.log()).requires_grad_(False)


class Counted(NamedTuple):
    """What counting comes to, with a context of so many tokens."""

    rows: int              # the contexts that occur
    loss: float            # nats per token, on the text that was counted
    new_loss: float        # and on a new one
    strange: float         # share of the new text's contexts that were never counted


def counting(ids: Sequence[int], new_ids: Sequence[int], context: int, vocab_size: int,
             spare: float = 0.001) -> Counted:
    """Count which token follows which `context` tokens; `spare` of a tally goes to every token, so
    that no chance is 0."""
    def cut(row: Sequence[int], size: int) -> list[tuple[int, ...]]:
        return list(zip(*(row[n:] for n in range(size)), strict=False))

    times = Counter(cut(ids, context + 1))
    rows = Counter()
    for sequence, count in times.items():
        rows[sequence[:-1]] += count

    def loss(row: Sequence[int]) -> float:
        sequences = cut(row, context + 1)
        return -sum(math.log((times[one] + spare) / (rows[one[:-1]] + spare * vocab_size))
                    for one in sequences) / len(sequences)

    contexts = cut(new_ids, context)
    strange = sum(one not in rows for one in contexts) / len(contexts)
    return Counted(len(rows), loss(ids), loss(new_ids), strange)


def perfect_surprises(text: str, tokenizer: BPETokenizer) -> Tensor:
    """What each token of a story costs a reader who knows the grammar and sees where words end, in
    nats.  -> (T)"""
    ends = accumulate(map(len, tokenizer.tokens(tokenizer.encode(text))), initial=0)
    seen = (text[: end + (not text[end : end + 1].isalpha())] if end else "" for end in ends)
    return torch.tensor([storybook.nats_of_beginning(part) for part in seen]).diff()


def misfit_chances(model: GPTModel, tokenizer: BPETokenizer, text: str,
                   temperature: float) -> Tensor:
    """For each place in a story, how likely the model is to draw a token with which no story can
    go on there.  -> (T)"""
    ids, tokens = tokenizer.encode(text), tokenizer.tokens(range(tokenizer.vocab_size))
    with torch.inference_mode():
        logits = model(torch.tensor([[tokenizer.end_token, *ids[:-1]]]))[0]  # (T, V)
    fits = []
    for place in range(len(ids)):
        words = tuple(storybook.next_words(tokenizer.decode(ids[:place])))
        fits.append([any(word.startswith(token) for word in words) for token in tokens])
    chances = apply_temperature(logits, temperature).softmax(dim=-1)         # (T, V)
    return (chances * ~torch.tensor(fits)).sum(dim=-1)


@torch.no_grad()
def story_surprises(model: nn.Module, texts: Sequence[str], tokenizer: BPETokenizer) -> Tensor:
    """What each token of some stories costs a model that reads every story from its beginning, and
    at last the token that ends it, in nats.  -> (N), one story after the other"""
    end = tokenizer.end_token
    stories = [torch.tensor([end, *tokenizer.encode(text), end]) for text in texts]
    rows = nn.utils.rnn.pad_sequence(stories, batch_first=True, padding_value=end)   # (n, T + 1)
    costs = []
    for some in rows.split(16):
        logs = model(some[:, :-1]).log_softmax(dim=-1)                       # (B, T, V)
        costs.append(-logs.gather(-1, some[:, 1:, None])[..., 0])            # (B, T)
    lengths = torch.tensor([len(story) - 1 for story in stories])            # (n)
    return torch.cat(costs)[torch.arange(rows.shape[1] - 1) < lengths[:, None]]


def kinds_of_tokens(
    texts: Sequence[str], tokenizer: BPETokenizer, counted: nn.Embedding
) -> tuple[Tensor, dict[str, Tensor]]:
    """What each token of some stories costs the perfect reader, in the order of `story_surprises`,
    and of which kind it is: "neighbor", the last token gives it away to a counted table; "memory",
    only the story so far does; "dice", nothing does.  -> (N), and for each kind (N) bool"""
    ending = torch.zeros(1)                                  # that a story is over costs nothing
    perfect = torch.cat([part for text in texts
                         for part in (perfect_surprises(text, tokenizer), ending)])
    by_table = story_surprises(counted, texts, tokenizer)
    dice, easy = perfect > 0.01, by_table < 0.5
    return perfect, {"neighbor": ~dice & easy, "memory": ~dice & ~easy, "dice": dice}


def along_gradient(
    model: nn.Module, inputs: Tensor, targets: Tensor, distances: Sequence[float]
) -> tuple[list[float], float]:
    """The loss on a batch (B, T), after a walk of each of these distances from the model's weights
    straight against the gradient; and what the slope promises for a distance of 1."""
    loss = next_token_loss(model(inputs), targets)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    losses = []
    for distance in distances:
        walker = copy.deepcopy(model)
        with torch.no_grad():
            for weight, gradient in zip(walker.parameters(), gradients, strict=True):
                weight -= distance * gradient / norm
            losses.append(next_token_loss(walker(inputs), targets).item())
    return losses, norm.item()


def stories_told(model: GPTModel, tokenizer: BPETokenizer, opening: str, many: int, seed: int = 0,
                 **sampling) -> list[str]:
    """So many stories that begin with `opening`, told side by side, each up to its end or the
    context's; `sampling` goes to `gptlib.next_token`."""
    prompt, end = [tokenizer.end_token, *tokenizer.encode(opening)], tokenizer.end_token
    chance = torch.Generator().manual_seed(seed)
    steps = generate(model, [prompt] * many, model.config.context_length - len(prompt),
                     stop_token=end, generator=chance, **sampling)
    rows = zip(*steps, strict=True)
    return [opening + tokenizer.decode([token for token in row if token is not None])
            for row in rows]


def plots_told(model: GPTModel, tokenizer: BPETokenizer, opening: str, many: int, seed: int = 0,
               **sampling) -> list[str]:
    """The plots of those among so many stories that have no mistake; arguments as for
    `stories_told`."""
    texts = stories_told(model, tokenizer, opening, many, seed, **sampling)
    mistakes = storybook.judge(texts).mistakes
    return [storybook.parse(text).facts["plot"]
            for text, mistake in zip(texts, mistakes, strict=True) if mistake is None]


class Estimate(NamedTuple):
    """A number measured on a sample, and the range in which the true one lies, 19 times of 20."""

    low: float
    value: float
    high: float


def share(count: int, many: int, z: float = 1.96) -> Estimate:
    """The share of `count` among so many, with Wilson's interval (1927), which is also right where
    all or none are counted."""
    p, squared = count / many, z * z / many
    middle = (p + squared / 2) / (1 + squared)
    reach = math.sqrt(p * (1 - p) * squared + squared * squared / 4) / (1 + squared)
    return Estimate(min(p, middle - reach), p, max(p, middle + reach))


def effective_number(kinds: Sequence[str], resamples: int = 1000) -> Estimate:
    """Among how many kinds they choose, in effect: e to the power of their entropy, with the range
    in which it lies for samples drawn from these, with replacement (Efron's bootstrap, 1979)."""
    def number(sample: Sequence[str]) -> float:
        counts = Counter(sample).values()
        return math.exp(-sum(n / len(sample) * math.log(n / len(sample)) for n in counts))

    chance, value = random.Random(0), number(kinds)
    others = sorted(number(chance.choices(kinds, k=len(kinds))) for _ in range(resamples))
    tail = resamples // 40
    return Estimate(min(value, others[tail]), value, max(value, others[-1 - tail]))


class OneLayer(nn.Module):
    """A language model of a single attention layer: a vector for each token and each place, what
    the layer gathers, and a score for each token that may come next."""

    def __init__(self, attention: nn.Module, emb_dim: int, vocab_size: int, context_length: int):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, emb_dim)
        self.places = nn.Embedding(context_length, emb_dim)
        self.attention = attention
        self.scores = nn.Linear(emb_dim, vocab_size)
        self.size = math.sqrt(emb_dim)
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=1 / self.size)

    def forward(self, ids: Tensor) -> Tensor:                                # (B, T)
        # Small numbers made large, as in the first transformer (Vaswani and others, 2017, section
        # 3.4): what a plain step downhill does to a vector is C times as much then.
        x = self.size * (self.tokens(ids) + self.places.weight[: ids.shape[1]])
        return self.scores(x + self.attention(x))                            # (B, T, V)


def with_attention(layer: nn.Module, attention: Callable) -> nn.Module:
    """A copy of an attention layer, the library's or a learner's, whose heads gather by
    `attention(queries, keys, values, mask)`, without dropout.

    That gets (B, H, T, D) three times and the causal mask (T, T) bool, and returns (B, H, T, D).
    """
    def forward(layer: nn.Module, x: Tensor, _cache: None = None) -> Tensor:     # (B, T, C)
        queries, keys, values = (split_heads(project(x), layer.n_heads)
                                 for project in (layer.query, layer.key, layer.value))
        mask = causal_mask(x.shape[1], device=x.device)                      # (T, T)
        return layer.output(merge_heads(attention(queries, keys, values, mask)))

    changed = copy.deepcopy(layer)
    changed.forward = MethodType(forward, changed)
    return changed


def rearranged(model: GPTModel, arrange: Callable) -> GPTModel:
    """A copy of the model whose blocks put each part and its norm together by
    `arrange(x, norm, part)`, (B, T, C) -> (B, T, C); its weights are those of the model."""
    def forward(block: TransformerBlock, x: Tensor, cache: KVCache | None = None) -> Tensor:
        def attention(x: Tensor) -> Tensor:
            return block.attention(x, cache)

        x = block.residual_mid(arrange(x, block.attention_norm, attention))
        return block.residual_end(arrange(x, block.feed_forward_norm, block.feed_forward))

    changed = copy.deepcopy(model)
    for block in changed.blocks:
        block.forward = MethodType(forward, block)
    return changed


def silenced(model: nn.Module, *names: str) -> nn.Module:
    """A copy of the model, or of a block, in which the parts of these names, such as
    "blocks.0.attention", give zeros: so they add nothing to the stream."""
    def zeros(part: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        return torch.zeros_like(output)

    changed = copy.deepcopy(model)
    for name in names:
        changed.get_submodule(name).register_forward_hook(zeros)
    return changed


def gradients_at_the_bottom(depths: Iterable[int], shortcuts: bool, norms: bool) -> list[float]:
    """The size of the gradient that comes down through stacks of so many random blocks, as a
    multiple of what enters at the top; the norms, if any, stand before the parts."""
    stack, norm = stack_of_blocks(), PRE_NORM if norms else NO_NORM
    return [float(GradientFlow.compute(stack, depth, shortcuts, norm)["gradient"][0])
            for depth in depths]


def without_positions(model: GPTModel) -> GPTModel:
    """A copy of the model whose position table is 0, and stays 0 in training."""
    changed = copy.deepcopy(model)
    nn.init.zeros_(changed.position_embedding.weight)
    changed.position_embedding.requires_grad_(False)
    return changed


def newborn_stream(config: Mapping, ids: Tensor, smaller: bool = True) -> float:
    """How large the numbers in a new model's residual stream are after its last block (root mean
    square); unless `smaller`, the matrices that write to the stream begin as large as all others.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPTModel(config).eval()
    for block in () if smaller else model.blocks:
        for writer in (block.attention.output, block.feed_forward.contract):
            writer.weight.data *= math.sqrt(2 * len(model.blocks))
    top = f"blocks.{len(model.blocks) - 1}.residual_end"
    with torch.inference_mode(), record(model, top) as inside:
        model(ids)
    return inside[top].square().mean().sqrt().item()


@torch.inference_mode()
def surprise_by_place(model: nn.Module, tokenizer: BPETokenizer, texts: Iterable[str],
                      n_places: int) -> Tensor:
    """The mean surprise at the first token of a text, at the second and so on, in nats; every text
    has so many.  -> (n_places)"""
    surprises = []
    for text in texts:
        ids = torch.tensor([tokenizer.end_token, *tokenizer.encode(text)])   # (T + 1)
        logits = model(ids[None, :n_places])                                 # (1, n_places, V)
        surprises.append(cross_entropy(logits[0], ids[1 : n_places + 1], reduction="none"))
    return torch.stack(surprises).mean(dim=0)


class ForgetfulCache:
    """A cache that counts all tokens, but keeps the keys and values of the latest only."""

    def __init__(self, keep: int):
        self.keep, self.length = keep, 0

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """What was kept and what is new, (B, H, S, D) each; the latest of it is kept."""
        new = keys.shape[2]
        if self.length > 0:
            keys = torch.cat([self.keys, keys], dim=2)
            values = torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys[:, :, -self.keep :], values[:, :, -self.keep :]
        self.length += new
        return keys, values


def forgetful(model: GPTModel, keep: int) -> GPTModel:
    """A copy of the model whose caches keep the latest `keep` tokens."""
    changed = copy.deepcopy(model)
    changed.new_cache = lambda: [ForgetfulCache(keep) for _ in changed.blocks]
    return changed


def padded_scores(model: GPTModel, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """The scores of a batch, ids (B, T), in which `mask` (B, T, T) bool says who may look at whom
    and `positions` (B, T) where each token stands.  -> (B, T, V)"""
    def attend(queries: Tensor, keys: Tensor, values: Tensor, _causal: Tensor) -> Tensor:
        return attention(queries, keys, values, mask[:, None])

    changed = copy.deepcopy(model)
    for block in changed.blocks:
        block.attention = with_attention(block.attention, attend)
    with torch.inference_mode():
        x = changed.token_embedding(ids) + changed.position_embedding(positions)
        for block in changed.blocks:
            x = block(x)                                                     # (B, T, C)
        return changed.output_head(changed.final_norm(x))


def milliseconds_of_a_token(model: nn.Module, new_cache: Callable, lengths: Sequence[int],
                            tries: int = 5) -> tuple[list[float], list[float]]:
    """How long the model computes the scores after texts of these lengths, in milliseconds, the
    best of several tries: when it reads all of a text, and when a cache has all but the last."""
    def best(work: Callable) -> float:
        seconds = []
        for _ in range(tries):
            prepared = work()
            started = time.process_time()
            prepared()
            seconds.append(time.process_time() - started)
        return 1000 * min(seconds)

    without, with_cache = [], []
    with torch.inference_mode():
        for length in lengths:
            ids = torch.zeros(1, length, dtype=torch.int64)

            def whole(ids=ids):
                return lambda: model(ids)

            def last_only(ids=ids):
                cache = new_cache()
                model(ids[:, :-1], cache)
                return lambda: model(ids[:, -1:], cache)

            without.append(best(whole))
            with_cache.append(best(last_only))
    return without, with_cache


def train_on(model: GPTModel, batches: Iterable[tuple[Tensor, Tensor]], rate: float,
             warmup_steps: int = 20) -> list[float]:
    """Train with AdamW, a step for each (inputs, targets), at a rate that first rises to `rate`.
    Returns the loss of each step."""
    optimizer, losses = torch.optim.AdamW(model.parameters()), []
    for step, (inputs, targets) in enumerate(batches, start=1):
        optimizer.param_groups[0]["lr"] = rate * min(1, step / warmup_steps)
        loss = next_token_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def with_batch(train: FunctionType, batch: Callable) -> FunctionType:
    """A copy of a training loop that draws its windows by this `batch`, whatever stands for that
    name in the file where the loop was written."""
    return FunctionType(train.__code__, {**train.__globals__, "batch": batch}, train.__name__,
                        train.__defaults__, train.__closure__)
