"""Exercises of chapter 5. Below each solution stand the mistakes that are known, with what a
learner is told about them; then the trials, then the exercise with its hints."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptcourse.exercises.answers import NumberAnswer, TensorAnswer, described
from gptcourse.exercises.exercise import Exercise, Property
from gptcourse.exercises.properties import gradient_reaches, normal, overheard, shaken
from gptcourse.exercises.resemblance import Trial
from gptlib.attention import causal_mask
from gptlib.blocks import LayerNorm, TransformerBlock
from gptlib.config import GPTConfig
from gptlib.model import GPTModel
from gptlib.model import count_parameters as library_count_parameters


def _config(V, N, C, H, L, **more):
    return GPTConfig(vocab_size=V, context_length=N, emb_dim=C, n_heads=H, n_layers=L,
                     drop_rate=0.0, qkv_bias=True, **more)


# --------------------------------------------------------------------------------------- embed


def embed(ids, token_table, position_table):
    """The first page of the stream: each token's row, plus the row of the place where it stands.

    ids (B, T), token_table (V, C), position_table (N, C) -> (B, T, C); T is at most N
    """
    positions = torch.arange(ids.shape[1])                # (T)
    return token_table[ids] + position_table[positions]


def _no_positions(ids, token_table, position_table):
    """The positions are missing: a token would enter with the same vector wherever it stands."""
    return token_table[ids]


def _counted_from_one(ids, token_table, position_table):
    """You count the positions from 1, so every token gets the row of the place after it: the first
    one stands at position 0."""
    return token_table[ids] + position_table[1 : ids.shape[1] + 1]


def _only_positions(ids, token_table, position_table):
    """The tokens are missing: only where they stand is left, not which they are."""
    return position_table[: ids.shape[1]] + 0 * token_table[ids]


def _positions_by_id(ids, token_table, position_table):
    """You look up the positions with the ids: a position is where a token stands, 0, 1, 2, and so
    on, whatever its id is."""
    return token_table[ids] + position_table[ids]


def _tables_swapped(ids, token_table, position_table):
    """The two tables are swapped: ids belong to token_table, positions to position_table."""
    return position_table[ids] + token_table[: ids.shape[1]]


def _first_position_for_all(ids, token_table, position_table):
    """Every token gets the row of position 0: each needs the row of its own place."""
    return token_table[ids] + position_table[0]


def _last_position_for_all(ids, token_table, position_table):
    """Every token gets the row of the last place: each needs the row of its own place."""
    return token_table[ids] + position_table[ids.shape[1] - 1]


def _length_for_all(ids, token_table, position_table):
    """Every token gets the same row, number T: each needs the row of its own place, from
    torch.arange."""
    return token_table[ids] + position_table[ids.shape[1]]


def _counted_backward(ids, token_table, position_table):
    """You count the positions from the end: the first token stands at position 0."""
    return token_table[ids] + position_table[: ids.shape[1]].flip(0)


def _last_rows(ids, token_table, position_table):
    """You take the last rows of position_table: a text begins at position 0, so take its first
    ones."""
    return token_table[ids] + position_table[-ids.shape[1] :]


def _counted_through_the_batch(ids, token_table, position_table):
    """You go on counting from one text of the batch to the next: each of them begins at position
    0."""
    B, T = ids.shape
    return token_table[ids] + position_table[torch.arange(B * T).view(B, T)]


def _place_in_batch(ids, token_table, position_table):
    """You add the row that belongs to the text's number in the batch: a position is the place of a
    token within its own text."""
    return token_table[ids] + position_table[: ids.shape[0], None]


def _as_many_places_as_texts(ids, token_table, position_table):
    """You take a row for each text of the batch: take one for each token, ids.shape[1]."""
    return token_table[ids] + position_table[: ids.shape[0]]


def _places_of_all_texts(ids, token_table, position_table):
    """You count the tokens of all texts together: each text begins at position 0 again, so take
    torch.arange(ids.shape[1])."""
    return token_table[ids] + position_table[: ids.numel()]


def _one_place_less(ids, token_table, position_table):
    """You take one place less than there are tokens: torch.arange(T) ends with T - 1 already."""
    return token_table[ids] + position_table[: ids.shape[1] - 1]


def _numbers_of_places(ids, token_table, position_table):
    """You add the number of the place itself: add its row from position_table."""
    return token_table[ids] + torch.arange(ids.shape[1])[:, None]


def _all_places(ids, token_table, position_table):
    """You add the rows of all places in the context: take the first T of position_table only."""
    return token_table[ids] + position_table


def _side_by_side(ids, token_table, position_table):
    """You put the two rows side by side: add them, so that the width stays C."""
    rows = token_table[ids]
    return torch.cat([rows, position_table[: ids.shape[1]].expand_as(rows)], dim=-1)


def _multiplied(ids, token_table, position_table):
    """You multiply the two rows: add them."""
    return token_table[ids] * position_table[: ids.shape[1]]


def _subtracted(ids, token_table, position_table):
    """You subtract the row of the place: add it."""
    return token_table[ids] - position_table[: ids.shape[1]]


def _averaged(ids, token_table, position_table):
    """You take the mean of the two rows: just add them."""
    return (token_table[ids] + position_table[: ids.shape[1]]) / 2


def _tokens_scaled(ids, token_table, position_table):
    """You multiply the token's row by the root of C, as in the paper of 2017: GPT-2 adds the rows
    as they are."""
    return token_table[ids] * token_table.shape[1] ** 0.5 + position_table[: ids.shape[1]]


def _one_hot_too_short(ids, token_table, position_table):
    """The rows of one_hot are only as long as the largest id here asks for: tell it the size of the
    vocabulary, F.one_hot(ids, len(token_table)), or look up token_table[ids]."""
    return F.one_hot(ids).to(token_table) @ token_table + position_table[: ids.shape[1]]


def _places_as_a_column(ids, token_table, position_table):
    """You give the positions a second axis, and with it their rows a third: as they are, the rows
    (T, C) are added to every text."""
    return token_table[ids] + position_table[torch.arange(ids.shape[1])[:, None]]


def _columns_of_places(ids, token_table, position_table):
    """You take columns of position_table: a place has a row, so it is position_table[:T]."""
    return token_table[ids] + position_table[:, : ids.shape[1]]


def _to_embed(generator):
    """In the first trials both tables have rows for all ids, so wrong lookups succeed, too."""
    for B, T, V, N, C in ((2, 4, 7, 9, 5), (3, 4, 8, 13, 5), (2, 6, 19, 8, 3), (4, 1, 5, 2, 6)):
        ids = torch.randint(V, (B, T), generator=generator)
        yield ids, normal(generator, V, C), normal(generator, N, C)


_SOME_IDS = torch.tensor([[2, 0, 3, 2]], device="cpu")
_REACHES_TABLES = gradient_reaches(
    ("token_table", "position_table"),
    lambda generator: (normal(generator, 4, 3), normal(generator, 5, 3)),
    lambda *tables: embed(_SOME_IDS, *tables),
)


def _gradient_misses_tables(answer):
    return _REACHES_TABLES.broken(lambda *tables: answer(_SOME_IDS, *tables))


EMBED = Exercise(
    "05.embed",
    goal="Turn ids into vectors that say which token it is, and where it stands.",
    solution=embed,
    reference=embed,                           # a test holds it and the library's model together
    returns=TensorAnswer("x", ("B", "T", "C")),
    cases=lambda generator: list(_to_embed(generator)),
    mistakes=[_no_positions, _counted_from_one, _only_positions, _positions_by_id, _tables_swapped,
              _first_position_for_all, _last_position_for_all, _length_for_all, _counted_backward,
              _last_rows, _counted_through_the_batch, _place_in_batch, _as_many_places_as_texts,
              _numbers_of_places, _all_places, _side_by_side, _multiplied, _subtracted, _averaged,
              _tokens_scaled, _one_place_less, _one_hot_too_short, _places_as_a_column,
              _columns_of_places, _places_of_all_texts],
    hints=(
        "Two lookups and a sum. table[3] is row 3 of a table; what is table[ids], when ids has "
        "shape (B, T)? And which rows belong to the places of T tokens?",
        """
        1. the rows of token_table that belong to ids
        2. the first T rows of position_table: T is the number of columns of ids
        3. their sum; torch repeats the second for every text of the batch
        """,
        """
        positions = torch.arange(ids.shape[1])                # (T)
        return ...                                            # (B, T, C) plus (T, C)
        """,
    ),
    properties=[Property("gradients pass", _gradient_misses_tables)],
    batched={"ids": 1},
)


# --------------------------------------------------------------------------------- gpt_forward


def gpt_forward(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """Token ids in, a score for every possible next token out, at every position.

    ids (B, T), a list of blocks, and four layers, each called like a function.  -> (B, T, V)
    """
    positions = torch.arange(ids.shape[1])                # (T)
    x = token_embedding(ids) + position_embedding(positions)
    for block in blocks:
        x = block(x)                                      # (B, T, C)
    return output_head(final_norm(x))


def _no_final_norm(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """The last norm is missing: the head reads final_norm(x), and not x itself."""
    positions = torch.arange(ids.shape[1])
    x = token_embedding(ids) + position_embedding(positions)
    for block in blocks:
        x = block(x)
    return output_head(x)


def _forward(parts, positions=None, first=lambda x: x, step=lambda x, block: block(x), take=None):
    """A forward pass with one thing changed."""
    ids, token_embedding, position_embedding, blocks, final_norm, output_head = parts
    positions = torch.arange(ids.shape[1]) if positions is None else positions
    x = first(token_embedding(ids) + position_embedding(positions))
    for block in blocks if take is None else take(blocks):
        x = step(x, block)
    return output_head(final_norm(x))


def _tokens_only(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """The positions are missing: add position_embedding(positions) at the entrance."""
    x = token_embedding(ids)
    for block in blocks:
        x = block(x)
    return output_head(final_norm(x))


def _neither_places_nor_norm(ids, token_embedding, position_embedding, blocks, final_norm,
                             output_head):
    """Both the positions at the entrance and the last norm are missing."""
    x = token_embedding(ids)
    for block in blocks:
        x = block(x)
    return output_head(x)


def _places_from_one(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You count the positions from 1: the first token stands at position 0."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, torch.arange(1, ids.shape[1] + 1))


def _places_by_id(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You give the ids to position_embedding: it needs the places, 0, 1, 2, and so on."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, ids)


def _places_in_every_block(ids, token_embedding, position_embedding, blocks, final_norm,
                           output_head):
    """You add the positions before every block: once, at the entrance, is enough."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    places = position_embedding(torch.arange(ids.shape[1]))
    return _forward(parts, first=lambda x: x - places, step=lambda x, block: block(x + places))


def _result_dropped(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """Every block reads the embeddings, and only the last one's result is used: each must read
    what the one before it has written, x = block(x)."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, take=lambda blocks: list(blocks)[-1:])


def _only_the_first_block(ids, token_embedding, position_embedding, blocks, final_norm,
                          output_head):
    """Only the first block is used: x goes through all of them, so let no `return` stand within
    the loop."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, take=lambda blocks: list(blocks)[:1])


def _without_blocks(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """The stream is the same as before the blocks: call every block, and keep what it returns, as
    in x = block(x)."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, take=lambda blocks: [])


def _last_block_missing(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """The last block is left out: x goes through all of them."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, take=lambda blocks: list(blocks)[:-1])


def _from_the_last_block(ids, token_embedding, position_embedding, blocks, final_norm,
                         output_head):
    """The blocks run in the reverse order: begin with the first one."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, take=lambda blocks: list(blocks)[::-1])


def _shortcut_around_blocks(ids, token_embedding, position_embedding, blocks, final_norm,
                            output_head):
    """You add each block's result to x: a block holds its shortcuts itself, so it is
    x = block(x)."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, step=lambda x, block: x + block(x))


def _norm_after_each_block(ids, token_embedding, position_embedding, blocks, final_norm,
                           output_head):
    """You call final_norm after every block: it runs once, after the last, so check the
    indentation."""
    ids_to_x = (ids, token_embedding, position_embedding, blocks, lambda x: x, output_head)
    return _forward(ids_to_x, step=lambda x, block: final_norm(block(x)))


def _norm_after_each_and_last(ids, token_embedding, position_embedding, blocks, final_norm,
                              output_head):
    """You call final_norm after every block and once more at the end: only the last call is
    right."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, step=lambda x, block: final_norm(block(x)))


def _norm_before_each_block(ids, token_embedding, position_embedding, blocks, final_norm,
                            output_head):
    """You call final_norm before every block: each block has norms of its own, and this one
    belongs between the last block and the head."""
    ids_to_x = (ids, token_embedding, position_embedding, blocks, lambda x: x, output_head)
    return _forward(ids_to_x, step=lambda x, block: block(final_norm(x)))


def _norm_at_the_entrance(ids, token_embedding, position_embedding, blocks, final_norm,
                          output_head):
    """You call final_norm before the blocks: it belongs after the last one, before the head."""
    ids_to_x = (ids, token_embedding, position_embedding, blocks, lambda x: x, output_head)
    return _forward(ids_to_x, first=final_norm)


def _norm_at_both_ends(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You call final_norm at the entrance, too: it belongs before the head only."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, first=final_norm)


def _no_head(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """This is the last page of the stream: output_head, which makes scores of it, is missing."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, lambda x: x)
    return _forward(parts)


def _no_norm_no_head(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """This is the stream after the last block: final_norm and output_head are missing."""
    return _forward((ids, token_embedding, position_embedding, blocks, lambda x: x, lambda x: x))


def _token_table_as_head(ids, token_embedding, position_embedding, blocks, final_norm,
                         output_head):
    """You use the token embedding as the head, as though the two were tied: call output_head, which
    may have a matrix of its own."""
    table = token_embedding.weight
    return _forward((ids, token_embedding, position_embedding, blocks, final_norm,
                     lambda x: x @ table.T))


def _probabilities(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """These are probabilities: a model returns scores, and softmax comes later, in the loss or
    when a token is drawn."""
    return gpt_forward(
        ids, token_embedding, position_embedding, blocks, final_norm, output_head).softmax(dim=-1)


def _log_probabilities(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """These are logarithms of probabilities: a model returns scores, as they come out of
    output_head."""
    return gpt_forward(ids, token_embedding, position_embedding, blocks, final_norm,
                       output_head).log_softmax(dim=-1)


def _last_token_only(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You return the scores after the last token only: training needs those of every position."""
    return gpt_forward(
        ids, token_embedding, position_embedding, blocks, final_norm, output_head)[:, -1]


def _last_token_kept(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """Only the last position is left: training needs the scores of every position, (B, T, V)."""
    return gpt_forward(
        ids, token_embedding, position_embedding, blocks, final_norm, output_head)[:, -1:]


def _best_tokens(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """These are the tokens with the best scores: return the scores themselves."""
    return gpt_forward(
        ids, token_embedding, position_embedding, blocks, final_norm, output_head).argmax(dim=-1)


def _norms_everywhere(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You call final_norm before every block, too: each block has norms of its own."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, step=lambda x, block: block(final_norm(x)))


def _norm_after_head(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You call final_norm after the head: it belongs before it, where the width is still C."""
    parts = (ids, token_embedding, position_embedding, blocks, lambda x: x, output_head)
    return final_norm(_forward(parts))


def _first_block_missing(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """The first block is missing: Python counts from 0, so begin with blocks[0]."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, take=lambda blocks: blocks[1:])


def _two_blocks(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You use the first two blocks only: go through all of them, however many there are."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, take=lambda blocks: blocks[:2])


def _last_place_everywhere(ids, token_embedding, position_embedding, blocks, final_norm,
                           output_head):
    """Every token gets the same position: position_embedding needs all of them, from
    torch.arange."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, torch.full((ids.shape[1],), ids.shape[1] - 1))


def _first_place_everywhere(ids, token_embedding, position_embedding, blocks, final_norm,
                            output_head):
    """Every token gets position 0: position_embedding needs all of them, from torch.arange."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, torch.zeros(ids.shape[1], dtype=torch.long))


def _same_block_again(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You use the first block again and again: take the next one each time."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, step=lambda x, block: blocks[0](x))


def _blocks_side_by_side(ids, token_embedding, position_embedding, blocks, final_norm,
                         output_head):
    """You add up what all blocks make of the embeddings: each must read what the one before it has
    written, x = block(x)."""
    parts = (ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    return _forward(parts, first=lambda x: sum(block(x) for block in blocks),
                    take=lambda blocks: [])


def _places_per_text(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You take a place for each text of the batch: take one for each token, ids.shape[1]."""
    return token_embedding(ids) + position_embedding(torch.arange(ids.shape[0]))


def _all_rows_of_places(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You add the rows of all places in the context, the whole weight of position_embedding: call
    it with the first T places."""
    return token_embedding(ids) + position_embedding.weight


def _numbered_blocks(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You call a pair: enumerate gives a number with each block, so go through the blocks
    themselves, without enumerate."""
    return next(enumerate(blocks))(token_embedding(ids))


def _blocks_read_ids(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You give the ids to a block: it reads vectors, those of x, so x = block(x)."""
    return blocks[0](ids)


def _number_as_places(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You give a single number to position_embedding: it needs a tensor of all places, from
    torch.arange."""
    return token_embedding(ids) + position_embedding(ids.shape[1])


def _layers_as_tables(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """The embeddings are layers here: call them, as in token_embedding(ids)."""
    return token_embedding[ids] + position_embedding[torch.arange(ids.shape[1])]


def _blocks_called(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    """You call the list of blocks: call each of them, one after the other, for block in blocks."""
    return blocks(token_embedding(ids) + position_embedding(torch.arange(ids.shape[1])))


def _gpt_parts(generator):
    """Sizes all different, and other numbers of blocks; in the first, ids are valid places."""
    for B, T, V, N, C, H, L in ((2, 4, 7, 9, 6, 3, 3), (3, 5, 13, 8, 4, 2, 2),
                                (1, 1, 11, 4, 8, 4, 2)):
        config = _config(V, N, C, H, L)
        ids = torch.randint(V, (B, T), generator=generator)
        blocks = nn.ModuleList(TransformerBlock(config) for _ in range(L))
        parts = (nn.Embedding(V, C), nn.Embedding(N, C), blocks, LayerNorm(C),
                 nn.Linear(C, V, bias=False))
        yield ids, *(shaken(generator, part) for part in parts)


def _off_the_path(answer, ids, token_embedding, position_embedding, blocks, final_norm,
                  output_head):
    """What the first part reads, on the way of the stream, that it should not."""
    path = {"token_embedding": token_embedding, "position_embedding": position_embedding,
            **{f"blocks[{n}]": block for n, block in enumerate(blocks)},
            "final_norm": final_norm, "output_head": output_head}
    calls = overheard(**path)
    result = answer(ids, token_embedding, position_embedding, blocks, final_norm, output_head)
    stream = {}                                          # what has been written, by whom
    for name, heard in calls.items():
        if not heard:
            return f"{name} is never called: call it like a function."
        if len(heard) > 1:
            return f"{name} is called {len(heard)} times: once is enough."
        (read, stream[name]), = heard
        wanted, words = _on_the_path(ids, stream)
        if read.shape != wanted.shape or not torch.allclose(read.to(wanted), wanted, atol=1e-5):
            return f"{name} reads something other than {words}."
    if result.shape != stream[name].shape or not torch.equal(result, stream[name]):
        return "Something is done with what output_head returns: that is the result already."
    return None


def _on_the_path(ids, stream):
    """What the last part in `stream` should have read, and what that is."""
    *before, name = stream
    if name == "token_embedding":
        return ids, "ids"
    if name == "position_embedding":
        return torch.arange(ids.shape[1]), f"the places 0 to {ids.shape[1] - 1}"
    if name == "blocks[0]":
        return sum(stream[part] for part in before), "the sum of the two embeddings"
    return stream[before[-1]], f"what {before[-1]} returns"


def _logits_look_ahead(answer):
    ids, *parts = next(_gpt_parts(torch.Generator().manual_seed(1)))
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 7
    before, after = answer(ids, *copy.deepcopy(parts)), answer(changed, *copy.deepcopy(parts))
    if torch.allclose(before[:, :-1], after[:, :-1], atol=1e-4):
        return None
    return "another last token changes the scores of earlier positions, which must not see it."


def _gradient_misses_parts(answer):
    parts = next(_gpt_parts(torch.Generator().manual_seed(2)))
    names = list(GPT_FORWARD.parameters)[1:]
    for part in parts[1:]:
        part.requires_grad_(True)
    logits = answer(*parts)
    if logits.requires_grad:
        (logits.square().sum()).backward()
    for name, part in zip(names, parts[1:], strict=True):
        if any(parameter.grad is None for parameter in part.parameters()):
            return (f"the numbers are right, but no gradient reaches {name}, so it could not be "
                    "trained: stay with torch operations, without .detach() and torch.no_grad().")
    return None


GPT_FORWARD = Exercise(
    "05.gpt_forward",
    goal="Send ids through the whole model: entrance, blocks, norm, head.",
    solution=gpt_forward,
    reference=gpt_forward,                     # a test holds it and the library's class together
    returns=TensorAnswer("logits", ("B", "T", "V"), rtol=1e-3, atol=1e-4),
    cases=lambda generator: list(_gpt_parts(generator)),
    mistakes=[_no_final_norm, _tokens_only, _neither_places_nor_norm, _places_from_one,
              _places_by_id, _places_in_every_block, _result_dropped, _only_the_first_block,
              _without_blocks, _last_block_missing, _from_the_last_block, _shortcut_around_blocks,
              _norm_after_each_block, _norm_after_each_and_last, _norm_before_each_block,
              _norm_at_the_entrance, _norm_at_both_ends, _no_head, _no_norm_no_head,
              _token_table_as_head, _probabilities, _log_probabilities, _last_token_only,
              _last_token_kept, _best_tokens, _norms_everywhere, _norm_after_head,
              _same_block_again, _blocks_side_by_side, _places_per_text, _number_as_places,
              _layers_as_tables, _blocks_called, _first_block_missing, _two_blocks,
              _last_place_everywhere, _first_place_everywhere, _all_rows_of_places,
              _numbered_blocks, _blocks_read_ids],
    hints=(
        "Follow the map from the entrance to the exit, and write one line per part. The two "
        "embeddings are layers here: call them, the one with ids, the other with positions.",
        """
        1. positions 0 to T - 1
        2. x: the embedding of the ids plus the embedding of the positions
        3. for every block in turn: x becomes what the block makes of x
        4. the norm, then the head
        """,
        """
        positions = torch.arange(ids.shape[1])                # (T)
        x = token_embedding(ids) + position_embedding(positions)
        for block in blocks:
            ...                               # the page goes through the block
        return output_head(final_norm(x))
        """,
    ),
    properties=[
        Property("no look-ahead", _logits_look_ahead),
        Property("gradients pass", _gradient_misses_parts),
    ],
    symptoms=[_off_the_path],
    batched={"ids": 1},
)


# ---------------------------------------------------------------------------- count_parameters


def count_parameters(model):
    """Number of trainable numbers in a model; a matrix that is used twice counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _tensors(model):
    """You count the tensors: count the numbers in each of them, which is .numel()."""
    return len(list(model.parameters()))


def _shared_twice(model):
    """A matrix that is used in two places counts twice: model.parameters() names each only
    once."""
    return sum(p.numel() for _, p in model.named_parameters(remove_duplicate=False))


def _whole_state(model):
    """You count what is in state_dict(), which holds more than what is trained: buffers, such as a
    mask, and a shared matrix once for each place. Use model.parameters()."""
    return sum(x.numel() for x in model.state_dict().values())


def _with_buffers(model):
    """You count the buffers, too, such as a mask: nothing in them is ever trained."""
    return library_count_parameters(model) + sum(x.numel() for x in model.buffers())


def _rows(model):
    """You count the rows: len() of a matrix is only its first size, .numel() is all its
    numbers."""
    return sum(len(p) for p in model.parameters())


def _columns(model):
    """You count the last size of each tensor only: .numel() is all its numbers."""
    return sum(p.shape[-1] for p in model.parameters())


def _sizes_added(model):
    """You add the sizes of each tensor: a matrix with m rows and n columns has m times n
    numbers."""
    return sum(sum(p.shape) for p in model.parameters())


def _values_added(model):
    """You add up the numbers themselves: count them, with .numel()."""
    return sum(p.sum().item() for p in model.parameters())


def _in_bytes(model):
    """This is the memory in bytes: count the numbers, each of which takes 4 bytes."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


def _matrices_only(model):
    """You count the matrices only: biases, and the scales and shifts of norms, are trained,
    too."""
    return sum(p.numel() for p in model.parameters() if p.dim() > 1)


def _without_biases(model):
    """The biases are missing: they are trained like everything else."""
    return sum(p.numel() for name, p in model.named_parameters() if not name.endswith("bias"))


def _two_sizes_each(model):
    """Not every tensor is a matrix, a bias has only one size: .numel() works for all of them."""
    return sum(p.shape[0] * p.shape[1] for p in model.parameters())


def _first_size_by_last(model):
    """A bias has only one size, so you multiply it by itself: .numel() works for all tensors."""
    return sum(p.shape[0] * p.shape[-1] for p in model.parameters())


def _module_by_module(model):
    """You go through model.modules() and count each part again within every part that holds it:
    model.parameters() walks through all of them already."""
    return sum(p.numel() for module in model.modules() for p in module.parameters())


def _children_by_themselves(model):
    """You add up what the parts hold, so a matrix that two parts share counts twice, and a single
    layer, which has no parts, counts nothing: ask the model as a whole."""
    return sum(p.numel() for part in model.children() for p in part.parameters())


def _without_embeddings(model):
    """The embeddings are missing: they are trained like everything else."""
    tables = [m.weight for m in model.modules() if isinstance(m, nn.Embedding)]
    return library_count_parameters(model) - sum(table.numel() for table in tables)


def _asked_all_at_once(model):
    """The tensors come out of model.parameters() one after the other: go through them, ask each of
    them for its .numel(), and add these up."""
    return model.parameters().numel()


def _numel_of_model(model):
    """A model is no tensor: go through its tensors, model.parameters(), and add up the .numel() of
    each."""
    return torch.numel(model)


def _head_asked_for(model):
    """You ask for output_head, which not every model has: ask the model as a whole, for
    model.parameters() holds all that is trained, and a shared matrix only once."""
    return model.output_head.weight.numel()


def _last_tensor(model):
    """You count the last tensor only: begin the sum before the loop, not anew in each round."""
    return list(model.parameters())[-1].numel()


def _sizes_once(model):
    """A set keeps each number only once, so tensors of equal size are lost: use a list."""
    return sum({p.numel() for p in model.parameters()})


def _blocks_only(model):
    """You look into model.blocks only: tables, last norm and head are trained, too, and other
    models have no blocks. Ask the model as a whole, model.parameters()."""
    return sum(p.numel() for p in model.blocks.parameters())


def _head_never(model):
    """You always leave the head out, as if its matrix were shared: where it is not, it counts, and
    model.parameters() names a shared one only once anyway."""
    head = getattr(model, "output_head", None)
    return library_count_parameters(model) - (0 if head is None else head.weight.numel())


def _equal_shapes_once(model):
    """Tensors of equal shape are not the same tensor: only one that is used twice counts once, and
    model.parameters() sees to that."""
    return sum({tuple(p.shape): p.numel() for p in model.parameters()}.values())


def _equal_heads_once(model):
    """The head is left out where it has a matrix of its own: only one that is shared with the token
    table counts once, and model.parameters() sees to that."""
    parameters = dict(model.named_parameters())
    head, table = (parameters.get(f"{part}.weight") for part in ("output_head", "token_embedding"))
    twin = head is not None and table is not None and head.shape == table.shape
    return library_count_parameters(model) - (head.numel() if twin else 0)


def _equal_numbers_once(model):
    """Tensors with equal numbers are not the same tensor, and fresh norms and biases have them:
    only one that is used twice counts once, and model.parameters() sees to that."""
    kept = []
    for p in model.parameters():
        if not any(torch.equal(p, q) for q in kept):
            kept.append(p)
    return sum(p.numel() for p in kept)


def _shared_not_at_all(model):
    """You subtract the matrix that is used twice, but model.parameters() names it only once
    already, and once is what it counts."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    head, table = (parameters.get(f"{part}.weight") for part in ("output_head", "token_embedding"))
    shared = head is table and table is not None
    return library_count_parameters(model) - (table.numel() if shared else 0)


def _nonzero_numbers(model):
    """You count the numbers that are not 0: fresh biases are 0, and learn like everything else, so
    count all, with .numel()."""
    return sum(torch.count_nonzero(p) for p in model.parameters())


def _own_parameters(model):
    """With recurse=False, or in _parameters, stands only what the model holds itself, and not what
    its parts hold: use model.parameters()."""
    return sum(p.numel() for p in model.parameters(recurse=False))


def _first_tensor(model):
    """You count the first tensor only: let no `return` stand within the loop."""
    return next(model.parameters()).numel()


class CountAnswer(NumberAnswer):
    """How many numbers there are."""

    def trace(self, trials: list[Trial]) -> str | None:
        """Which kind of part is left out, or is all that is counted."""
        answers = [trial.answer for trial in trials]
        if any(self.malformed(trial.answer, trial.expected) for trial in trials):
            return None
        if not all(float(answer).is_integer() for answer in answers):
            return ("This is no whole number: count how many numbers there are, with .numel(), and "
                    "do not add them up, average or divide.")
        for words, belongs in _KINDS.items():
            held = [_numbers_of(trial.arguments["model"], belongs) for trial in trials]
            others = [trial.expected - n for trial, n in zip(trials, held, strict=True)]
            for counted, but in ((others, "All is counted but"), (held, "Nothing is counted but")):
                if answers == counted:
                    return (f"{but} {words}: whatever is trained counts, so ask the model as a "
                            "whole, model.parameters().")
        return None


_KINDS = {
    "the linear layers": lambda name, part: isinstance(part, nn.Linear),
    "the embeddings": lambda name, part: isinstance(part, nn.Embedding),
    "the norms": lambda name, part: isinstance(part, LayerNorm),
    "position_embedding": lambda name, part: name == "position_embedding",
    "token_embedding": lambda name, part: name == "token_embedding",
    "the attention": lambda name, part: ".attention." in name,
    "the feed-forward networks": lambda name, part: ".feed_forward." in name,
}


def _numbers_of(model, belongs):
    """How many numbers the parts hold that belong to one kind, a shared matrix once."""
    held = {id(p): p.numel() for name, part in model.named_modules() if belongs(name, part)
            for p in part.parameters(recurse=False)}
    return sum(held.values())


def _to_count(generator):
    """A layer; a model; one that uses a matrix twice; one with a mask in it; a single number; one
    whose norms are equal, as at the start."""
    with_mask = GPTModel(_config(13, 7, 4, 2, 1))
    with_mask.register_buffer("mask", causal_mask(7))
    models = (nn.Linear(3, 4), GPTModel(_config(11, 5, 6, 3, 2)),
              GPTModel(_config(17, 9, 8, 2, 3, tie_weights=True)), with_mask,
              nn.Linear(1, 1, bias=False))
    for model in models:
        yield (shaken(generator, model).requires_grad_(True),)
    yield (GPTModel(_config(7, 5, 4, 2, 2)),)


COUNT_PARAMETERS = Exercise(
    "05.count_parameters",
    goal="Count what is trained.",
    solution=count_parameters,
    reference=library_count_parameters,
    returns=CountAnswer("count", rtol=0),
    cases=lambda generator: list(_to_count(generator)),
    mistakes=[_tensors, _shared_twice, _whole_state, _with_buffers, _rows, _sizes_added,
              _values_added, _in_bytes, _matrices_only, _without_biases, _two_sizes_each,
              _module_by_module, _children_by_themselves, _without_embeddings, _last_tensor,
              _first_tensor, _sizes_once, _blocks_only, _head_never, _equal_shapes_once,
              _equal_heads_once, _equal_numbers_once, _first_size_by_last, _columns,
              _shared_not_at_all, _nonzero_numbers, _own_parameters, _asked_all_at_once,
              _numel_of_model, _head_asked_for],
    hints=(
        "model.parameters() gives all tensors that are trained, one after the other, each of them "
        "once. How many numbers are in one?",
        """
        1. go through model.parameters()
        2. count the numbers of each, with .numel()
        3. add it all up
        """,
        """
        total = 0
        for parameter in model.parameters():
            ...                               # total grows by the numbers in this one
        return total
        """,
    ),
)


# --------------------------------------------------------------------------------- tie_weights


def tie_weights(model):
    """Let the output head use the matrix of the token embedding, the very same.

    Changes `model.output_head`, and returns the model.
    """
    model.output_head.weight = model.token_embedding.weight
    return model


def _copied(model):
    """The head has a copy of the matrix: after one step of training the two would differ; assign
    the parameter itself, without copying its numbers."""
    model.output_head.weight = torch.nn.Parameter(model.token_embedding.weight.detach().clone())
    return model


def _second_parameter(model):
    """The numbers are shared, but the head still has a parameter of its own: it counts twice, and
    an optimizer would move it twice; assign the parameter itself, without .data and without
    making a new one."""
    model.output_head.weight = nn.Parameter(model.token_embedding.weight.detach())
    return model


def _other_way_round(model):
    """It is tied the other way round: the token embedding has got the head's matrix, but its own
    is to be kept."""
    model.token_embedding.weight = model.output_head.weight
    return model


def _exchanged(model):
    """The two have exchanged their matrices: the head gets that of the token embedding, which
    keeps it, too."""
    head, table = model.output_head, model.token_embedding
    head.weight, table.weight = table.weight, head.weight
    return model


def _as_before(model):
    """The head still has the matrix that it had: assign that of the token embedding to
    model.output_head.weight, with a single =, for a name of your own changes nothing in the
    model."""
    return model


def _transposed(model):
    """The matrix is transposed: both have a row of C numbers for each of V tokens, so it fits as
    it is."""
    model.output_head.weight = nn.Parameter(model.token_embedding.weight.T)
    return model


def _whole_layer(model):
    """You put the whole layer in place of the head: an embedding looks up rows and cannot multiply
    by them; share only its weight."""
    model.output_head = model.token_embedding
    return model


def _layer_as_weight(model):
    """You assign the layer: assign its matrix, model.token_embedding.weight."""
    model.output_head.weight = model.token_embedding
    return model


def _plain_tensor(model):
    """You assign a plain tensor, which .data, .detach(), .clone() or .T make of a parameter: assign
    the parameter itself, model.token_embedding.weight, which fits as it is."""
    model.output_head.weight = model.token_embedding.weight.data
    return model


def _wrong_table(model):
    """The head has got the position embedding: it needs the table of the tokens."""
    model.output_head.weight = model.position_embedding.weight
    return model


def _tied_copy(model):
    """You tie a copy of the model: change the one that is given, and return it."""
    return tie_weights(copy.deepcopy(model))


def _returns_matrix(model):
    """The weights are tied, but what you return is the matrix: return the model."""
    return tie_weights(model).output_head.weight


def _two_new_ones(model):
    """The two are tied, but to a new parameter, so an optimizer that was made before would not
    move it: keep the token embedding's own."""
    shared = nn.Parameter(model.token_embedding.weight.detach().clone())
    model.token_embedding.weight = model.output_head.weight = shared
    return model


def _head_with_bias(model):
    """You make a new layer, which brings a bias of its own, so the scores change: keep the head,
    and give it the matrix."""
    V, C = model.token_embedding.weight.shape
    model.output_head = nn.Linear(C, V)
    return tie_weights(model)


def _frozen(model):
    """The shared matrix is frozen: leave out requires_grad_(False), for it is to learn from both
    of its jobs."""
    tie_weights(model).output_head.weight.requires_grad_(False)
    return model


@dataclass(frozen=True)
class Wiring:
    """How the head and the token embedding of a model hang together, as plain facts."""

    returned: str                  # "the model", "a copy of the model", or what else it is
    head: str                      # the class of the output head, and whether it has a bias
    shared: str                    # "one parameter", "the same numbers", or "nothing"
    kept: bool                     # whether the token embedding has the parameter that it had
    trained: bool                  # whether gradients reach it
    spoiled: str                   # what else has changed that should not, or ""
    head_weight: Tensor
    token_weight: Tensor


class RememberingModel(GPTModel):
    """A model that remembers, through deepcopy, with which parameters and numbers it began."""

    def __init__(self, config):
        super().__init__(config)
        self.began_with = dict(self.named_parameters())

    def remember(self):
        self.numbers = {name: p.detach().clone() for name, p in self.began_with.items()}
        return self


def _wiring(returned, arguments):
    model = arguments[0]
    words = "the model" if returned is model else described(returned)
    if isinstance(returned, GPTModel) and returned is not model:
        words = "a copy of the model"
    head, table, shared = (getattr(model, "output_head", None),
                           getattr(getattr(model, "token_embedding", None), "weight", None),
                           "nothing")
    if table is None or getattr(head, "weight", None) is None:
        return model                           # which has lost one of the two
    if head.weight is table:
        shared = "one parameter"
    elif head.weight.shape == table.shape and head.weight.data_ptr() == table.data_ptr():
        shared = "the same numbers"
    name = type(head).__name__ + (" with a bias" if getattr(head, "bias", None) is not None else "")
    return Wiring(words, name, shared, table is model.began_with["token_embedding.weight"],
                  table.requires_grad, _spoiled(model), head.weight.detach().clone(),
                  table.detach().clone())


def _spoiled(model):
    """The first part that is to stay as it is, and does not."""
    now = dict(model.named_parameters(remove_duplicate=False))
    for name, parameter in model.began_with.items():
        ours = name in ("output_head.weight", "token_embedding.weight")
        if not ours and not (now.get(name) is parameter
                             and torch.equal(parameter, model.numbers[name])):
            return name
    return "" if all(part.training for part in model.modules()) else "the mode, train or eval,"


@dataclass(frozen=True)
class TiedModel:
    """A model whose output head uses the matrix of its token embedding."""

    name: str = "model"

    def malformed(self, answer: Any, expected: Wiring) -> str | None:
        if isinstance(getattr(answer, "output_head", None), Tensor):
            return ("the matrix has taken the place of the whole head, which must stay a layer: "
                    "assign it to the head's weight, model.output_head.weight.")
        if not isinstance(answer, Wiring):
            return "the model has lost its output head or its token embedding: keep both."
        if answer.returned != "the model":
            return f"you return {answer.returned}, but must return the model that was given."
        if answer.head != expected.head:
            return (f"the output head is now of class {answer.head}, but must stay of class "
                    f"{expected.head}.")
        shape, wanted = tuple(answer.head_weight.shape), tuple(expected.head_weight.shape)
        if shape != wanted:
            return f"the head's weight has shape {shape}, but must be {wanted}, that is (V, C)."
        return None

    def difference(self, answer: Wiring, expected: Wiring) -> str | None:
        if not torch.equal(answer.token_weight, expected.token_weight):
            return "the token embedding has other numbers than before, but must keep its own."
        if not torch.equal(answer.head_weight, expected.head_weight):
            return "the head's matrix is not that of the token embedding."
        if answer.shared != "one parameter":
            return "head and token embedding have equal numbers, but are two parameters."
        if not answer.trained:
            return "the shared matrix gets no gradient any more."
        if answer.spoiled:
            return (f"{answer.spoiled} is not what it was: change the weight of output_head only, "
                    "and leave all else as it is.")
        return None if answer.kept else "the token embedding has a new parameter."

    def alike(self, answer: Any, other: Any) -> bool:
        if not (isinstance(answer, Wiring) and isinstance(other, Wiring)):
            return False
        facts = [(w.returned, w.head, w.shared, w.kept, w.trained, w.spoiled)
                 for w in (answer, other)]
        return facts[0] == facts[1] and all(
            torch.equal(getattr(answer, name), getattr(other, name))
            for name in ("head_weight", "token_weight"))

    def tidy(self, answer: GPTModel, arguments: tuple) -> GPTModel:
        return answer


def _to_tie(generator):
    """Models of several sizes, whose two matrices differ."""
    for V, N, C, H in ((11, 5, 6, 3), (13, 7, 4, 2), (3, 1, 2, 1)):
        model = shaken(generator, RememberingModel(_config(V, N, C, H, 1)))
        yield (model.requires_grad_(True).remember(),)


TIE_WEIGHTS = Exercise(
    "05.tie_weights",
    goal="Let one matrix serve at the entrance and at the exit.",
    solution=tie_weights,
    reference=tie_weights,                     # a test holds it and the library's class together
    returns=TiedModel(),
    cases=lambda generator: list(_to_tie(generator)),
    mistakes=[_copied, _second_parameter, _other_way_round, _as_before, _transposed, _whole_layer,
              _layer_as_weight, _plain_tensor, _wrong_table, _tied_copy, _returns_matrix,
              _two_new_ones, _head_with_bias, _frozen, _exchanged],
    hints=(
        "In Python, two names can stand for one object. The token embedding keeps its matrix in "
        "its attribute weight, and so does the head. What does `a.weight = b.weight` do?",
        """
        1. the weight of the output head becomes the weight of the token embedding: no copy, no
           .data, no new nn.Parameter
        2. return the model
        """,
        """
        model.output_head.weight = ...
        return model
        """,
    ),
    changes_inputs=True,
    observe=_wiring,
)

EXERCISES = (EMBED, GPT_FORWARD, COUNT_PARAMETERS, TIE_WEIGHTS)
