"""What chapter 10 asks of the storyteller, and a small model that learns to repeat nonsense."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gptlib.config import GPTConfig
from gptlib.corpus.storybook import ANIMALS, BOYS, GIRLS, TABLES, Story
from gptlib.generation import generate
from gptlib.inside import (
    by_head,
    linear_probe,
    patch_effect,
    replace_heads,
    residual_stream,
    stream_names,
)
from gptlib.model import GPTModel
from gptlib.optimizer import muon, share_of_peak
from gptlib.tap import patch
from gptlib.tokenizer import BPETokenizer

# How a story says again, near its end, what only its beginning tells.
SAID_AGAIN = {
    "animal": "as every {kind}", "number": "The {goods} were {count}",
    "color": "The {thing} was {color}", "friend": "{hero} and {friend}",
    "hero": "That night {hero}",
}


class Questions(NamedTuple):
    """Beginnings of stories, each up to the word that says a fact again."""

    facts: list[str]    # which fact it is, for each of them
    texts: list[str]
    ids: Tensor         # (N, T), filled up with end tokens, which no token before them sees
    places: Tensor      # (N) of the last token before the answer
    answers: Tensor     # (N) the id of that word
    others: Tensor      # (N) the row of a question for the same fact with another answer

    def about(self, fact: str) -> Questions:
        """The questions for one fact."""
        rows = [n for n, one in enumerate(self.facts) if one == fact]
        texts, others = [self.texts[n] for n in rows], self.others[rows] - rows[0]
        return Questions([fact] * len(rows), texts, self.ids[rows], self.places[rows],
                         self.answers[rows], others)


def questions(stories: Sequence[Story], tokenizer: BPETokenizer, each: int,
              sentences: Mapping[str, str] = SAID_AGAIN) -> Questions:
    """The first `each` questions for every fact, of stories that say it again in that sentence."""
    asked: list[tuple] = []
    for fact, sentence in sentences.items():
        found = []
        for story in stories:
            said = sentence.format_map(defaultdict(str, story.facts))
            before, word = said.rsplit(" ", 1)
            if word and said in story.text:
                told = story.text[: story.text.index(said) + len(before)]
                found.append((fact, told, tokenizer.encode(" " + word)[0]))
        asked += found[:each]
    facts, texts, answers = zip(*asked, strict=True)
    rows = [torch.tensor([tokenizer.end_token, *tokenizer.encode(text)]) for text in texts]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.end_token)
    return Questions(list(facts), list(texts), ids, torch.tensor([len(row) - 1 for row in rows]),
                     torch.tensor(answers), _others(facts, answers))


def _others(facts: Sequence[str], answers: Sequence[int]) -> Tensor:
    """For each question the next one for the same fact, in a ring, with another answer."""
    count, others = len(facts), []
    for n in range(count):
        others.append(next(m % count for m in range(n + 1, n + count)
                           if facts[m % count] == facts[n] and answers[m % count] != answers[n]))
    return torch.tensor(others)


@torch.no_grad()
def chances_of_answers(
    model: GPTModel, asked: Questions, changes: Mapping[str, Callable] | None = None
) -> Tensor:
    """The chances of every token where the answers are due, under these changes.  -> (N, V)"""
    with patch(model, changes or {}):
        last = _at(model.hidden_states(asked.ids), asked.places)             # (N, C)
    return model.output_head(last).softmax(dim=-1)


def surprises_of_answers(
    model: GPTModel, asked: Questions, changes: Mapping[str, Callable] | None = None
) -> Tensor:
    """What each answer costs the model under these changes, in nats.  -> (N)"""
    return -_at(chances_of_answers(model, asked, changes), asked.answers).log()


def chances_of_others(
    model: GPTModel, asked: Questions, changes: Mapping[str, Callable] | None = None
) -> Tensor:
    """The chance, under these changes, that a story says the word of its other row.  -> (N)"""
    return _at(chances_of_answers(model, asked, changes), asked.answers[asked.others])


def substitutes(model: GPTModel, asked: Questions) -> dict[str, Tensor]:
    """What the heads of layer 0 could hand over at the last token before an answer, in place of
    what they found; at all others it's what they found.  -> (H, N, T, D) for each way"""
    found = by_head(model, asked.ids, "head_outputs")[0]                     # (H, N, T, D)
    real = torch.arange(found.shape[2]) <= asked.places[:, None]             # without the filling
    mean = found[:, real].mean(dim=1)[:, None]                               # (H, 1, D)
    return {"zeros": at_the_last_token(found, asked, torch.tensor(0.0)),
            "its mean": at_the_last_token(found, asked, mean),
            "another story's": from_another_row(found, asked, asked.others)}


def at_the_last_token(found: Tensor, asked: Questions, value: Tensor) -> Tensor:
    """What heads found, (H, N, T, D), with a value (H, N, D) at the last one before each answer."""
    changed = found.clone()
    changed[:, range(len(asked.places)), asked.places] = value
    return changed


def from_another_row(found: Tensor, asked: Questions, rows: Tensor) -> Tensor:
    """What heads found, (H, N, T, D), but at the last token before the answer what they found in
    another row at its own last token.  rows (N)"""
    return at_the_last_token(found, asked, found[:, rows, asked.places[rows]])


def colors_of_toys(
    model: GPTModel, tokenizer: BPETokenizer, stories: Sequence[Story]
) -> tuple[Tensor, Tensor]:
    """Each head of layer 0 hands over what it found about a thing of the house, where the color of
    a toy is due, in 40 stories: the chance of any color of the house, and of that thing's. (H) both
    """
    asked = questions(stories, tokenizer, 40, {"toy": "The {thing} was {color}",
                                               "house": "The {other_thing} was {other_color}"})
    house = tokenizer.encode("".join(f" {color}" for color in TABLES["household_color"]))
    found, things = by_head(model, asked.ids, "head_outputs")[0], torch.arange(80).roll(40)
    any_of_them, that_one = [], []
    for head, value in enumerate(from_another_row(found, asked, things)):
        chances = chances_of_answers(model, asked, replace_heads({(0, head): value}))[:40]
        any_of_them.append(chances[:, house].sum(dim=1).mean())
        that_one.append(_at(chances, asked.answers[40:]).mean())
    return torch.stack(any_of_them), torch.stack(that_one)


def most_likely_end(model: GPTModel, tokenizer: BPETokenizer, text: str) -> str:
    """The text up to its end, with the most likely token at each place."""
    ids = [tokenizer.end_token, *tokenizer.encode(text)]
    steps = generate(model, [ids], model.config.context_length - len(ids), temperature=0,
                     stop_token=tokenizer.end_token)
    return text + tokenizer.decode([token for [token] in steps if token is not None])


# Kinds of places in a story, by the words that are right there.
KINDS = {
    "animal or voice": {animal.forms[form] for animal in ANIMALS for form in ("plain", "sound")},
    "color": {str(color) for table in ("toy_color", "household_color") for color in TABLES[table]},
    "name, he, she": {"he", "she", "He", "She", *map(str, GIRLS + BOYS)},
}


def kinds_of_mistakes(mistakes: Iterable[str | None]) -> dict[str, int]:
    """How many of the judge's mistakes are of each kind: with the right word and a wrong sign after
    it, at a place for an animal, a color or a name, or anything else."""
    found = Counter(map(_kind_of_mistake, filter(None, mistakes)))
    return {kind: found[kind] for kind in (*KINDS, "punctuation", "another word")}


def _kind_of_mistake(mistake: str) -> str:
    said, _, wanted = mistake.partition("but should say")
    words = re.findall(r"'(\w+)", re.sub(r"\(.*?\)", "", wanted))           # without the reasons
    wrong = re.search(r"the text says '(\w+)", said)
    if wrong and wrong[1] in words:
        return "punctuation"
    return next((kind for kind, table in KINDS.items() if table & set(words)), "another word")


def retold(asked: Questions) -> tuple[Questions, Tensor]:
    """The same stories when what is asked for was told otherwise: the first time, each has the word
    of its other row. And where that stands, (N)."""
    told = (asked.ids == asked.answers[:, None]).int().argmax(dim=1)         # (N)
    ids = asked.ids.clone()
    ids[range(len(ids)), told] = asked.answers[asked.others]
    return asked._replace(ids=ids), told


def lead_of_answers(
    model: GPTModel, asked: Questions, changes: Mapping[str, Callable] | None = None
) -> Tensor:
    """How far the score of each answer is above that of its other row's, under these changes: the
    logarithm of how many times as likely it is.  -> (N)"""
    logs = chances_of_answers(model, asked, changes).log()
    return _at(logs, asked.answers) - _at(logs, asked.answers[asked.others])


def effects_of_vectors(
    model: GPTModel, clean: Questions, corrupted: Questions, places: Iterable[Tensor]
) -> Tensor:
    """The mean effect over all stories of one clean vector in the corrupted run, after each part
    and at each of these places (N).  -> (2L + 1, places)"""
    best, worst = lead_of_answers(model, clean), lead_of_answers(model, corrupted)
    stream = residual_stream(model, clean.ids)                               # (2L + 1, N, T, C)
    return torch.stack([torch.stack([
        patch_effect(best, worst, lead_of_answers(model, corrupted, put_in(name, vectors, where)))
        .mean() for where in places])
        for name, vectors in zip(stream_names(model), stream, strict=True)])


def put_in(name: str, stream: Tensor, places: Tensor) -> dict[str, Callable]:
    """Changes for `patch`: at this tap, each text gets the vector of this stream at its own place.
    stream (N, T, C), places (N)"""
    def change(x: Tensor) -> Tensor:
        changed = x.clone()
        changed[range(len(places)), places] = _at(stream, places)
        return changed
    return {name: change}


def _at(x: Tensor, places: Tensor) -> Tensor:
    """Of each row what stands at its own place.  x (N, T, ...), places (N) -> (N, ...)"""
    return x[range(len(places)), places]


def probe_accuracy(features: Tensor, words: Tensor) -> float:
    """How often a linear probe names the word, on the second half of vectors (N, C) and words' ids
    (N), when it has learned from the first half."""
    _, labels = words.unique(return_inverse=True)                            # 0 to K - 1
    half = len(labels) // 2
    scores = linear_probe(features[:half], labels[:half], features[half:])   # (N / 2, K)
    return (scores.argmax(dim=-1) == labels[half:]).float().mean().item()


def probe_accuracies(stream: Tensor, places: Iterable[Tensor], words: Tensor) -> Tensor:
    """`probe_accuracy` for the vectors after each part, at each of these places (N) of the stories.
    stream (2L + 1, N, T, C), words (N) -> (2L + 1, places)"""
    return torch.tensor([[probe_accuracy(_at(vectors, where), words) for where in places]
                         for vectors in stream])


# A narrow model whose feed-forward networks have one neuron, so that attention has to do it.
REPEATER = GPTConfig(vocab_size=64, context_length=64, emb_dim=64, n_heads=4, n_layers=2,
                     drop_rate=0.0, qkv_bias=False, hidden_dim=1)


def repeating_rows(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows of 32 ids, 6 to 16 different ones at random and then the same again and again; and where
    the next token has been there before.  -> (count, 32), (count, 31) bool"""
    periods = torch.randint(6, 17, (count, 1), generator=generator)
    once = torch.rand(count, REPEATER.vocab_size, generator=generator).argsort(dim=1)
    return once.gather(1, torch.arange(32) % periods), torch.arange(1, 32) >= periods


def learning_to_repeat(steps: int = 300, seed: int = 0) -> Iterator[tuple[int, float, GPTModel]]:
    """A two-layer model learns to go on with rows that repeat: after each step its number, the loss
    at tokens that have been there before, and the model."""
    torch.manual_seed(seed)
    model, generator = GPTModel(REPEATER), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter *= 5                # so narrow a model hardly moves from smaller weights
    optimizers = muon(model, 0.03, 0.01, weight_decay=0.0, beta2=0.99)
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    for step in range(steps):
        rows, known = repeating_rows(32, generator)
        losses = cross_entropy(model(rows[:, :-1]).mT, rows[:, 1:], reduction="none")    # (B, T)
        loss = losses[known].mean()
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * share_of_peak(step, steps, 10)
            optimizer.step()
        yield step + 1, loss.item(), model


@torch.no_grad()
def second_time_loss(model: GPTModel, nonsense: Tensor,
                     changes: Mapping[str, Callable] | None = None) -> float:
    """What a token of the second copy costs, of ids (B, 2 · period), in nats."""
    period = nonsense.shape[1] // 2
    with patch(model, changes or {}):
        logits = model(nonsense[:, :-1])[:, period:]                         # (B, period - 1, V)
    return cross_entropy(logits.mT, nonsense[:, period + 1 :]).item()


def highest_and_beside(scores: Tensor, count: int) -> tuple[list, list]:
    """The heads (layer, head) of the highest scores (L, H), and as a control for each of them the
    one of the same layer with the lowest score that isn't a control yet."""
    highest = [divmod(n, scores.shape[1]) for n in scores.flatten().topk(count).indices.tolist()]
    beside = []
    for layer, _ in highest:
        order = [(layer, head) for head in scores[layer].argsort().tolist()]
        beside.append(next(head for head in order if head not in beside))
    return highest, beside
