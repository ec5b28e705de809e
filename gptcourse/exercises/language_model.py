"""Exercises of chapter 2: surprise, windows of a text, and the first loops that learn and write."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Generator, nn

from gptcourse import gpt
from gptcourse.exercises.answers import SeveralAnswers, TensorAnswer
from gptcourse.exercises.early import FIRST
from gptcourse.exercises.exercise import Exercise, Property
from gptcourse.exercises.loops import (
    LOSS_BY_THE_MODEL,
    NO_LOSS,
    NO_TOKEN,
    TrainedAnswer,
    WrittenAnswer,
    one_by_one,
    run_generation,
    run_training,
)
from gptcourse.exercises.properties import gradient_reaches, normal

# ----------------------------------------------------------------------------- next_token_loss


def _scores(generator, B, T, V):
    return 2 * normal(generator, B, T, V), torch.randint(V, (B, T), generator=generator)


def _scores_and_targets(generator):
    """Sizes all different; some targets are improbable; a text of one token."""
    for sizes in ((2, 3, 5), (3, 5, 4), (4, 2, 7), (1, 6, 3), (5, 1, 8)):
        yield _scores(generator, *sizes)


def _fails_for_large_scores(answer):
    logits = torch.tensor([[[300.0, 0.0, -200.0], [1000.0, -50.0, 1000.5]]])
    targets = torch.tensor([[1, 2]])
    expected = gpt.next_token_loss(logits, targets).item()
    got = float(answer(logits.clone(), targets.clone()))
    if math.isclose(got, expected, rel_tol=1e-4):
        return None
    return (f"the numbers are right, but for scores of several hundred it gives {got:.4g} instead "
            f"of {expected:.4g}: exp() grows beyond every number there, or softmax gives a 0 that "
            "has no logarithm. log_softmax takes both steps at once, safely.")


def _what_the_gradient_says(answer, logits, targets):
    """Which scores the loss wants higher: at each position just that of its target, by as much as
    it wants the others of the position lower."""
    logits = logits.clone().requires_grad_()
    loss, with_others = (answer(logits, x) for x in (targets, (targets + 1) % logits.shape[-1]))
    if loss.shape != () or not loss.requires_grad:
        return None
    pull = torch.autograd.grad(-loss, logits, materialize_grads=True)[0]     # (B, T, V)
    if loss == with_others or not (loss.isfinite() and pull.isfinite().all() and pull.any()):
        return None                                  # which is told elsewhere
    wanted, counted = pull.argmax(dim=-1), (pull != 0).any(dim=-1)           # (B, T)
    for words, one, other, seen in (
        ("You move the targets on by one, but they are the next tokens already",
         wanted[:, :-1], targets[:, 1:], counted[:, :-1]),
        ("You compare each position with the target before it",
         wanted[:, 1:], targets[:, :-1], counted[:, 1:]),
    ):
        if seen.any() and seen.all() and torch.equal(one, other):
            return f"{words}: position t of logits belongs to position t of targets."
    if not counted.all():
        return _left_out(counted, targets)
    if (pull.sum(dim=-1).abs() > 1e-3 * pull.abs().amax()).any():
        return ("If all scores at one position grow by the same, the loss changes, as it does not "
                "with a softmax over the vocabulary, dim=-1, which compares each with all others "
                "of its position, and with no more; mind a reshape that cuts rows anew, too.")
    if not torch.equal(wanted, targets):
        text, place = (wanted != targets).nonzero()[0].tolist()
        return (f"Scores and targets do not belong together: at position {place} of text {text}, "
                f"token {wanted[text, place]} is taken for the true one, but it is "
                f"{targets[text, place]}; an axis was moved, or rows were cut anew, in one of the "
                "two.")
    return None


def _left_out(counted, targets):
    """Of which tokens (B, T) the scores make no difference."""
    if counted.sum() == 1 < min(targets.shape):
        return "One single token decides: add up the surprises of all, and divide by their number."
    texts, places = counted.any(dim=1).tolist(), counted.any(dim=0).tolist()
    axes = ((texts, "text of the batch"), (places, "token of each text"))
    for counting, words in (
        (True, "Only the {} counts: all of them do. If you have a loop, let no `return` stand "
               "within it, and add up all that it finds."),
        (False, "The {} is left out: each counts, the first and the last one, too."),
    ):
        for some, what in axes:
            for which, place in (("first", 0), ("last", -1)):
                if some.count(counting) == 1 and some[place] == counting:
                    return words.format(f"{which} {what}")
    text, place = (~counted).nonzero()[0].tolist()
    return (f"Position {place} of text {text}, with target {targets[text, place]}, makes no "
            "difference to it: every token counts, whatever its id.")


_LOGS = "logits.log_softmax(dim=-1)"

NEXT_TOKEN_LOSS = Exercise(
    "02.next_token_loss",
    goal="Measure how much a text surprises a model.",
    returns=TensorAnswer("loss", ()),
    cases=_scores_and_targets,
    edits=[
        (_LOGS, "logits.softmax(dim=-1).log_softmax(dim=-1)",
         "The softmax is applied twice: torch's cross_entropy and log_softmax take raw scores and "
         "do it themselves."),
        (_LOGS, "-logits.softmax(dim=-1)",
         "The logarithm is missing: this is the mean probability of the true tokens."),
        (_LOGS, "logits.softmax(dim=-1)",
         "The logarithm is missing: this is minus the mean probability of the true tokens."),
        (_LOGS, "logits.softmax(dim=-1) - 1",
         "This is 1 minus the probability: surprise is minus its logarithm, which adds up over a "
         "text."),
        ("", "    return -logits.softmax(dim=-1).gather(-1, targets[..., None]).mean().log()",
         "You average the probabilities and take the logarithm then: take the logarithm of each, "
         "and average these."),
        (".mean()", ".sum()",
         "These are the surprises of all tokens added up: take their mean, so that the loss does "
         "not depend on the size of the batch."),
        (".gather(-1, targets[..., None])", "[..., targets]",
         "You look up all targets at every position: each position has one of its own, and gather "
         "picks just that."),
        ("targets[..., None]", "targets[:, None]",
         "The new axis of targets stands in the middle, so that the first position of a text is "
         "asked for all its targets: it belongs at the end, targets[..., None]."),
        (_LOGS, "logits - logits.amax(dim=-1, keepdim=True)",
         "You subtract the largest score of each row: subtract the logarithm of the sum of all "
         "exponentials, which is logsumexp."),
        (_LOGS, "logits - logits.exp().mean(dim=-1, keepdim=True).log()",
         "You average the exponentials of a row: a softmax divides by their sum."),
        (_LOGS, "-1 / logits.softmax(dim=-1)",
         "This is 1 divided by the probability: surprise is the logarithm of that."),
    ],
    symptoms=[_what_the_gradient_says],
    hints=(
        "In step 1 a softmax made probabilities of a row of scores, in step 2 you took minus the "
        "logarithm of one entry per row. Here are B times T rows, and the target of each says "
        "which entry counts.",
        """
        1. the logarithm of the softmax, over the vocabulary: log_softmax takes both at once
        2. from each row the entry of its target: x.gather(-1, places) takes one from each row of
           x, and wants as many axes in places as x has; targets[..., None] has one more
        3. minus the mean over all of them
        """,
        """
        log_probabilities = logits.log_softmax(dim=-1)        # (B, T, V)
        true_ones = log_probabilities.gather(-1, targets[..., None])
        return ...                                            # one number, above 0
        """,
    ),
    properties=[
        Property("safe for large scores", _fails_for_large_scores),
        gradient_reaches(("logits",), lambda generator: _scores(generator, 2, 3, 5),
                         gpt.next_token_loss),
    ],
)

# ------------------------------------------------------------------------------------- copycat

_LOOP = """    surprises = []
    for t in range(1, targets.shape[1]):
        log_probabilities = logits[:, t].log_softmax(dim=-1)                 # (B, V)
        true_next = targets[:, t - 1, None]                                  # (B, 1)
        surprises.append(-log_probabilities.gather(-1, true_next))           # (B, 1)
    return torch.cat(surprises).mean()
"""
_MENDED_LOOP = _LOOP.replace("range(1, ", "range(").replace("t - 1, None]", "t, None]    ")

COPYCAT = NEXT_TOKEN_LOSS.with_bug(
    "02.copycat",
    definition="copycat_loss",
    goal="Find the bug: the loss sinks far below the floor, and what the model writes is one word, "
         "over and over.",
    bug=("", _LOOP,
         "The bug is still in there: write down which token each row of scores has read, and with "
         "which one it is compared."),
    mended=_MENDED_LOOP,
    hints=(
        "Take the window 3 1 4 1, whose targets are 1 4 1 5. Which tokens has the model read when "
        "it gives row 2 of its scores, counting from 0? With which target does the loop compare "
        "that row?",
        """
        1. row t of the scores belongs to the token inputs[:, t], and says what follows it
        2. what follows it is targets[:, t]: the targets are moved on already
        3. that holds for every t, from 0 on
        """,
        """
        for t in range(targets.shape[1]):
            log_probabilities = logits[:, t].log_softmax(dim=-1)
            true_next = ...                           # of row t, with an axis more
            surprises.append(-log_probabilities.gather(-1, true_next))
        """,
    ),
)

# --------------------------------------------------------------------------------------- batch

def distances(definition: Callable) -> Callable:
    """A trial: by how much each token exceeds its window's first input, which is the same wherever
    the windows begin: in the texts of the trials, each token is 10 more than the one before it."""

    def answer(ids, batch_size, context_length, seed=1):
        result = definition(ids, batch_size, context_length, Generator().manual_seed(seed))
        if _WINDOWS.malformed(result, result) or result[0].dim() != 2:
            return result
        first = result[0][:, :1]
        return tuple(part - (first if part.dim() == 2 else first[:, 0]) for part in result)

    return answer


def _place_in_words(name: str) -> Callable:
    def words(index, got, wanted):
        row, place = index
        if got % 10:
            return (f"{name}[{row}, {place}] is not in ids: inputs and targets are tokens of the "
                    "text, as they are.")
        return (f"{name}[{row}, {place}] stands {_after(got // 10)} the first input of its row, "
                f"but must stand {_after(wanted // 10)} it.")

    return words


def _after(distance: int) -> str:
    tokens = "1 token" if abs(distance) == 1 else f"{abs(distance)} tokens"
    return f"{tokens} {'before' if distance < 0 else 'after'}"


def _texts(_generator):
    """One of exactly T + 1 tokens; T = 1; a batch of one."""
    for N, B, T in ((40, 3, 4), (9, 5, 8), (300, 2, 7), (30, 4, 1), (12, 1, 5)):
        yield 10 * torch.arange(N) + 3, B, T


def _starts(definition, n_tokens, batch_size, context_length, generator):
    """Where the windows begin in a text of which token n is n + 7."""
    inputs, _ = definition(torch.arange(7, 7 + n_tokens), batch_size, context_length, generator)
    return [first - 7 for first in inputs[:, 0].tolist()]


def _from_everywhere(definition):
    """400 windows of 4 tokens from a text in which five places are possible."""
    starts = {*_starts(definition, 9, 400, 4, Generator().manual_seed(1))}
    if starts == {*range(5)}:
        return None
    return (f"in a text of 9 tokens, windows of 4 may begin at places 0 to 4, for the last target "
            f"is token 8; but of 400, yours all begin at {sorted(starts)}: any place from 0 to "
            "N - T - 1 must be possible.")


def _each_its_own_place(definition):
    starts = _starts(definition, 5000, 20, 6, Generator().manual_seed(2))
    if len({*starts}) == 1:
        return ("all windows of a batch begin at the same place: draw a place for each, "
                "batch_size of them.")
    if len({after - before for before, after in pairwise(starts)}) == 1:
        return ("one window begins where, or soon after, the one before it does: draw a place for "
                "each, batch_size of them.")
    return None


def _by_the_generator(definition):
    """The generator alone decides; without one, chance does."""

    def drawn(seed, others, generator=True):
        torch.manual_seed(others)
        np.random.seed(others)
        return _starts(definition, 5000, 4, 6, Generator().manual_seed(seed) if generator else None)

    if drawn(1, 5) != drawn(1, 6):
        return ("with the same generator, two calls draw different places: hand it on, as in "
                "torch.randint(..., generator=generator).")
    if drawn(1, 5) == drawn(2, 5):
        return ("whatever the generator, the same windows come: hand it on, as in "
                "torch.randint(..., generator=generator), and set no seed.")
    generator = Generator().manual_seed(3)
    if len({tuple(_starts(definition, 5000, 4, 6, generator)) for _ in range(3)}) == 1:
        return ("every call with one generator draws the same windows: go on with it as it is, and "
                "set no seed.")
    if drawn(0, 5, generator=False) == drawn(0, 6, generator=False):
        return "without a generator, the same windows come every time: they must be drawn."
    return None


_WINDOWS = SeveralAnswers(tuple(
    TensorAnswer(name, ("B", "T"), dtype="whole", words=_place_in_words(name))
    for name in ("inputs", "targets")))

BATCH = Exercise(
    "02.batch",
    goal="Draw windows from random places of a text: the examples that a model learns from.",
    returns=_WINDOWS,
    cases=_texts,
    use=distances,
    edits=[
        ("windows[:, :-1], windows[:, 1:]", "windows[:-1], windows[1:]",
         "You leave out a whole window: the tokens run along the second axis, [:, :-1]."),
        ("torch.randint(len(ids) - context_length, (batch_size,), generator=generator)",
         "range(batch_size)",
         "The windows begin at places 0, 1, 2 and so on: draw a place for each, anywhere in the "
         "text."),
        ("len(ids) - context_length,", "len(ids) - context_length + 1,",
         "A window may begin too close to the end, where its last target is missing: randint "
         "leaves out its upper end, so that end is N - T."),
        ("len(ids) - context_length,", "len(ids) - context_length - 1,",
         "The last window is never drawn: randint leaves out its upper end, so that end is N - T; "
         "a text of just T + 1 tokens has one window."),
        ("(batch_size,)", "batch_size",
         "randint takes the shape of what it draws, with brackets and a comma: (batch_size,)."),
    ],
    hints=(
        "Take ten tokens and windows of four. At which places may a window begin, if each of its "
        "tokens needs the one that follows as its target? Where does the last one begin?",
        """
        1. draw batch_size places from 0 to N - T - 1, with torch.randint and the generator
        2. from each, cut T + 1 tokens, and stack them: (B, T + 1)
        3. inputs: all but the last token of each; targets: all but the first
        """,
        """
        starts = torch.randint(len(ids) - context_length, (batch_size,), generator=generator)
        windows = torch.stack([ids[start : start + context_length + 1] for start in starts])
        return windows[:, :-1], ...           # likewise, moved on by one
        """,
    ),
    properties=[
        Property("each from a place of its own", _each_its_own_place, of_class=True),
        Property("windows from everywhere", _from_everywhere, of_class=True),
        Property("drawn by the generator alone", _by_the_generator, of_class=True),
    ],
)

# --------------------------------------------------------------------------------- first_train


def _table(V: int, generator: Generator) -> nn.Embedding:
    """A model of one token: a row of scores for each."""
    return nn.Embedding(V, V, _weight=normal(generator, V, V)).double()


def _a_table():
    return _table(7, Generator().manual_seed(1))


def _to_learn_from(generator):
    """Several sizes; a single step; T = 1."""
    for V, N, steps, batch_size, T, rate in ((7, 60, 5, 3, 4, 2.0), (5, 33, 3, 2, 6, 0.5),
                                             (9, 40, 1, 4, 3, 3.0), (6, 25, 4, 5, 1, 1.5)):
        ids = torch.randint(V, (N,), generator=generator)
        yield _table(V, generator), ids, steps, batch_size, T, rate, N


FIRST_TRAIN = Exercise(
    "02.first_train",
    definition="train",
    goal="The loop by which every language model learns: draw a batch, measure the loss, step "
         "downhill, again.",
    returns=TrainedAnswer(),
    cases=_to_learn_from,
    use=run_training,
    changes_inputs=True,
    earlier_form=FIRST["first_train"].edits,
    edits=[
        NO_LOSS,
        LOSS_BY_THE_MODEL,
    ],
    hints=(
        "You have seen every line of it in this chapter, one at a time. Which of them happen once, "
        "before the loop, and which in every step?",
        """
        1. once: torch.optim.SGD of the model's parameters, with lr=rate
        2. in each of so many steps: a batch, and the loss of the model's scores for it
        3. forget the last gradient (zero_grad), compute the new one (backward), step
        4. yield the loss, as a plain number
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        for _ in range(steps):
            inputs, targets = batch(ids, batch_size, context_length, generator)
            loss = next_token_loss(model(inputs), targets)
            ...                                       # three lines: forget, backward, step
            yield loss.item()
        """,
    ),
    properties=[one_by_one(
        "a loss comes with each step", "yield loss.item()", _a_table,
        lambda train, table: train(table, torch.arange(50) % 7, 4, 2, 3, 0.5, Generator()),
        moves=True)],
)

# ------------------------------------------------------------------------------ first_generate


def _to_write_on(generator):
    """One token and several; to a stop, to none; a stop that comes at once; nothing to write."""
    for V, ids, n_tokens, stop, seed in (
        (7, [3], 9, None, 1), (11, [1, 5, 2], 12, None, 2), (5, [4, 0], 40, 3, 3),
        (9, [8, 8, 1, 7], 30, 2, 4), (300, [7], 6, None, 5), (4, [2, 1, 0, 3, 2], 0, None, 6),
    ):
        yield _table(V, generator).float().requires_grad_(False), ids, n_tokens, stop, seed


def _draws_in_words(answer, model, ids, n_tokens, stop, generator):
    """Where the first wrong token comes, and what may be the matter with it."""
    got = answer(model, [*ids], n_tokens, stop, generator)
    seed = Generator().manual_seed(generator)
    right = list(FIRST_GENERATE.solution(model, ids, n_tokens, stop, seed))
    wrong = [n for n, pair in enumerate(zip(got, right, strict=False)) if pair[0] != pair[1]]
    if not wrong:
        return None
    if wrong[0]:
        return (f"Before token {wrong[0]} all is right, then they go astray: each is drawn from "
                "the row of the token that was drawn before it, so append what you draw.")
    return ("Even the first token differs: take the scores at the last position, their softmax, "
            "and one draw of torch.multinomial, with generator=generator.")


_UNTIL = "        if token == stop:\n            return\n"

FIRST_GENERATE = Exercise(
    "02.first_generate",
    definition="generate",
    goal="Let the model write: draw a token, append it, again.",
    returns=WrittenAnswer(),
    cases=_to_write_on,
    use=run_generation,
    earlier_form=FIRST["first_generate"].edits,
    edits=[
        NO_TOKEN,
        ("[0, -1]   ", "[0, 0]   ",
         "You take the scores at the first position: those at the last one say what comes next."),
        ("torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)", "logits.argmax()",
         "You always take the best token: draw one, torch.multinomial of the probabilities."),
        (_UNTIL + "        yield token\n", "        yield token\n" + _UNTIL,
         "`stop` itself is handed out: look whether it came before you yield."),
        ("            return\n", "            continue\n",
         "`stop` is left out, but the text goes on after it: where token == stop, return."),
        ("torch.tensor([ids])", "torch.tensor(ids)",
         "The model reads a batch, (B, T): a single text needs one more pair of brackets, "
         "torch.tensor([ids])."),
    ],
    symptoms=[_draws_in_words],
    hints=(
        "You know how to draw from one row of probabilities. Which row of the model's scores is "
        "the one to draw from, and what makes probabilities of it? And why is it another row in "
        "the next round?",
        """
        1. a copy of ids, so that the caller's list stays as it is
        2. in each of n_tokens rounds: the model's scores for the batch [ids], at the last position
        3. their softmax, and one draw of torch.multinomial with the generator, as a plain number
        4. return if it is `stop`; else yield it, and append it
        """,
        """
        ids = list(ids)
        for _ in range(n_tokens):
            logits = model(torch.tensor([ids]))[0, -1]
            token = ...                               # softmax, one draw, .item()
            if token == stop:
                return
            yield token
            ids.append(token)
        """,
    ),
    properties=[one_by_one(
        "each token as it comes", "yield token", _a_table,
        lambda generate, table: generate(table.float(), [1, 2], 5, None, Generator()))],
)

EXERCISES = (FIRST_GENERATE, NEXT_TOKEN_LOSS, BATCH, FIRST_TRAIN, COPYCAT)
