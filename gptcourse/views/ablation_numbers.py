"""What AblationBench computes: parts of a model are replaced, and its loss and its story change."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gptlib.corpus import storybook
from gptlib.corpus.grammar import ReadingError
from gptlib.data import IGNORED
from gptlib.generation import next_token
from gptlib.inside import other_rows
from gptlib.model import GPTModel
from gptlib.tap import patch, record
from gptlib.tokenizer import BPETokenizer

ZEROS, MEAN, ANOTHER = INSTEAD = ("zeros", "mean", "another story")
STORIES, SEED = 8, 0                   # on which the loss is measured; as many as 150 ms allow
LONGEST = 128                          # tokens of a story, its beginning included

Off = Mapping[str, tuple[Tensor, Tensor]]        # by tap: where it is off, and what stands in


class Stories(NamedTuple):
    """New stories, each in a row of its own, and what a perfect reader pays for them."""

    inputs: Tensor                     # (B, T)
    targets: Tensor                    # (B, T), IGNORED where another story follows
    floors: Tensor                     # (B), in nats

    @property
    def lengths(self) -> Tensor:       # (B)
        return (self.targets != IGNORED).sum(dim=1)


def new_stories(tokenizer: BPETokenizer, longest: int) -> Stories:
    """Stories that no model of this course has learned from, cut after `longest` tokens.

    The rest of a row is filled with the story of the next, so that every place has its token.
    """
    told = list(storybook.stories(STORIES, SEED, "validation"))
    ids = [[*tokenizer.encode(story.text), tokenizer.end_token] for story in told]
    rows, targets, floors = [], [], []
    for n, story in enumerate(told):
        filled = list(chain(*ids[n:], *ids[:n]))[:longest]
        length = min(len(ids[n]), longest)
        rows.append([tokenizer.end_token, *filled[:-1]])
        targets.append(filled[:length] + [IGNORED] * (longest - length))
        floors.append(story.nats if length == len(ids[n]) else storybook.nats_of_beginning(
            tokenizer.decode_bytes(filled).decode()))
    return Stories(torch.tensor(rows), torch.tensor(targets), torch.tensor(floors))


def stand_in(seen: Tensor, instead: str) -> Tensor:
    """What takes the place of a part, from what `seen` (B, ..., T, N) has of several stories.

    -> (1, ..., T, N) of their mean, or (B, ..., T, N) where each gets what another one has.
    """
    if instead == MEAN:
        return seen.mean(dim=(0, -2), keepdim=True).expand_as(seen[:1])
    return seen[other_rows(len(seen), torch.Generator().manual_seed(SEED))]


def put_in(where: Tensor, source: Tensor, place: int) -> Callable[[Tensor], Tensor]:
    """A change for `patch`, to be used once along a text: `source`, place by place, where `where`
    is true. A model that tells with a cache comes by with one place after the other."""
    def change(x: Tensor) -> Tensor:                                     # (B, ..., new, N)
        nonlocal place
        start, place = place, place + x.shape[-2]
        return torch.where(where, source[: len(x), ..., start:place, :], x)
    return change


def changes(off: Off, place: int = 0) -> dict[str, Callable]:
    """What `patch` takes, for a text that is read from this place on."""
    return {name: put_in(where, source, place) for name, (where, source) in off.items()}


def nats_of(model: GPTModel, stories: Stories, off: Off) -> Tensor:
    """How surprised the model is by each story.  -> (B) nats"""
    T = int(stories.lengths.max())
    targets = stories.targets[:, :T].to(model.device)
    with patch(model, changes(off)):
        logits = model(stories.inputs[:, :T].to(model.device))           # (B, T, V)
    nats = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none",
                           ignore_index=IGNORED)
    return nats.view_as(targets).sum(dim=1).double().cpu()


def tell(model: GPTModel, start: Sequence[int], end: int, longest: int, seed: int, off: Off,
         guess: Sequence[int] = ()) -> list[int]:
    """What the model goes on to tell after the ids `start`, as `gptlib.tell_stories` does.

    A `guess` of that saves time and changes nothing: it is read at once, and token by token only
    from where another one is drawn (Leviathan et al., 2023, "Fast Inference from Transformers via
    Speculative Decoding", where a small model guesses).
    """
    generator, cache, told = torch.Generator().manual_seed(seed), model.new_cache(), []

    def scores_after(ids: Sequence[int], place: int) -> Tensor:          # -> (new, V)
        with patch(model, changes(off, place)):
            return model(torch.tensor([ids], device=model.device), cache)[0]

    scores = scores_after([*start, *guess], 0)[len(start) - 1 :]
    while len(start) + len(told) < longest:
        drawn = int(next_token(scores[:1], generator=generator))
        if drawn == end:
            break
        right, scores = [drawn] == guess[len(told) : len(told) + 1], scores[1:]
        told.append(drawn)
        if not right:
            place = len(start) + len(told) - 1
            for layer in cache:
                layer.length = place                     # what lies beyond was a wrong guess
            guess, scores = (), scores_after([drawn], place)
    return told


def seen_by(model: GPTModel, stories: Stories, name: str) -> Tensor:
    """What flows through a tap while the model reads the stories.  -> (B, ..., T, N)"""
    with record(model, name) as activations:
        model.hidden_states(stories.inputs.to(model.device))
    return activations[name]


def above_floor(nats: Tensor, stories: Stories) -> tuple[float, float]:
    """The loss above the floor in nats per token, and twice its standard error.

    A story's floor is that of its own words, so what is left differs little from story to story.
    """
    excess, lengths = nats - stories.floors, stories.lengths             # (B)
    mean = excess.sum() / lengths.sum()
    apart = (excess - mean * lengths).square().sum() * len(nats) / (len(nats) - 1)
    return float(mean), float(2 * apart.sqrt() / lengths.sum())


def neurons_of(text: str) -> dict[int, list[int]]:
    """The neurons that are named in a text, by layer: "layer 1: 17, 40; layer 0: 3".

    Raises a ValueError where it is written otherwise.
    """
    named: dict[int, list[int]] = {}
    for part in filter(None, (part.strip() for part in re.split(r"[;\n]", text))):
        found = re.fullmatch(r"(?:layer)?\s*(\d{1,6})\s*:\s*(\d{1,9}(?:[\s,]+\d{1,9})*),?", part,
                             re.ASCII)
        if not found:
            raise ValueError(
                f"neurons says {part[:40]!r}, but neurons are named by their layer and their "
                "numbers: write “layer 1: 17, 40”, and “;” before another layer.")
        named.setdefault(int(found[1]), []).extend(map(int, re.split(r"[\s,]+", found[2])))
    return {layer: sorted(set(numbers)) for layer, numbers in sorted(named.items())}


def first_mistake(text: str) -> tuple[str, int] | None:
    """What the judge of the stories' world says of a text, and from which character on."""
    try:
        storybook.parse(text)
    except ReadingError as mistake:
        return str(mistake), mistake.at
    return None


def words_of(text: str) -> list[str]:
    """A text cut before each word; together they are the text."""
    return re.findall(r"\s*\S+(?:\s+$)?|\s+$", text)


def compared(before: Sequence[str], after: Sequence[str]) -> tuple[list[bool], list[bool]]:
    """Which words of either text have no counterpart in the other."""
    former, latter = ([word.strip() for word in words] for words in (before, after))
    same = difflib.SequenceMatcher(None, former, latter, autojunk=False).get_matching_blocks()
    kept, there = ({start + n for start, size in places for n in range(size)}
                   for places in (((block.a, block.size) for block in same),
                                  ((block.b, block.size) for block in same)))
    return ([n not in kept for n in range(len(former))],
            [n not in there for n in range(len(latter))])
