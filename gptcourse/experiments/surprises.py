"""What each token of a text costs: a perfect reader, a counted table, a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gptlib.corpus import storybook
from gptlib.tokenizer import BPETokenizer


def perfect_surprises(text: str, tokenizer: BPETokenizer) -> Tensor:
    """What each token of a story costs a reader who knows the grammar and sees where words end, in
    nats; the end token behind it costs nothing.  -> (T + 1)"""
    ends = accumulate(map(len, tokenizer.tokens(tokenizer.encode(text))), initial=0)
    seen = (text[: end + (not text[end : end + 1].isalpha())] if end else "" for end in ends)
    nats = [storybook.nats_of_beginning(part) for part in seen]
    return torch.tensor([*nats, nats[-1]]).diff()


def surprises_of_words(
    model: nn.Module, tokenizer: BPETokenizer, text: str
) -> tuple[list[str], Tensor, Tensor]:
    """The words of a story, what each costs a model, and what it costs the perfect reader, in nats:
    the sum of its tokens.  -> (n) each"""
    tokens, words = tokenizer.tokens(tokenizer.encode(text)), text.split(" ")
    word_of = torch.tensor([token.startswith(" ") for token in tokens]).cumsum(0)        # (T)
    models = story_surprises(model, [text], tokenizer)[:-1]                              # (T)
    readers = perfect_surprises(text, tokenizer)[:-1]                                    # (T)
    both = (torch.zeros(len(words)).index_add(0, word_of, costs)                         # (n)
            for costs in (models, readers))
    return words, *both


def chances_of_words(
    model: nn.Module, tokenizer: BPETokenizer, text: str
) -> tuple[list[str], Tensor, Tensor]:
    """The words with which a story may go on after `text`, the model's chance of each, and the
    true one.  -> (n) each"""
    truth = {word.rstrip(",."): chance for word, chance in storybook.next_words(text).items()}
    before = len(tokenizer.encode(text))
    costs = [story_surprises(model, [text + word], tokenizer)[before:-1].sum() for word in truth]
    return [*truth], torch.stack(costs).neg().exp(), torch.tensor([*truth.values()])


@torch.no_grad()
def likely_tokens(
    model: nn.Module, tokenizer: BPETokenizer, text: str, n: int = 4
) -> tuple[list[str], Tensor]:
    """The `n` tokens that the model finds likeliest after a text, and their chances.  -> (n)"""
    ids = torch.tensor([[tokenizer.end_token, *tokenizer.encode(text)]])                 # (B, T)
    chances, best = model(ids)[0, -1].softmax(dim=-1).topk(n)                            # (n)
    return tokenizer.tokens(best.tolist()), chances


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
    perfect = torch.cat([perfect_surprises(text, tokenizer) for text in texts])
    by_table = story_surprises(counted, texts, tokenizer)
    dice, easy = perfect > 0.01, by_table < 0.5
    return perfect, {"neighbor": ~dice & easy, "memory": ~dice & ~easy, "dice": dice}


def floor_of_windows(texts: Sequence[str], tokenizer: BPETokenizer, context_length: int) -> float:
    """What a token costs the perfect reader in windows of so many, in nats: each begins where one
    of these stories does, and where that is over, the next one follows."""
    stories = [perfect_surprises(text, tokenizer) for text in texts]
    row, starts = torch.cat(stories), accumulate(map(len, stories), initial=0)
    windows = [row[start : start + context_length] for start in starts]
    return torch.stack([one for one in windows if len(one) == context_length]).mean().item()


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
