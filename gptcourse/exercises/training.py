"""Exercises of chapter 6: how far each step goes, the loop of training, and its measure."""

from __future__ import annotations

import copy
import math

import torch
from torch import Generator

from gptcourse import gpt
from gptcourse.exercises.answers import NumberAnswer, number
from gptcourse.exercises.classes import filled
from gptcourse.exercises.exercise import Exercise, Property
from gptcourse.exercises.loops import (
    LOSS_BY_THE_MODEL,
    NO_LOSS,
    TrainedAnswer,
    one_by_one,
    run_training,
)
from gptcourse.exercises.resemblance import Trial

# ------------------------------------------------------------------------------- learning_rate


class RateAnswer(NumberAnswer):
    """A point of the schedule."""

    def trace(self, trials: list[Trial]) -> str | None:
        """Which part of the curve is wrong, and what it should be."""
        wrong = {_part_of_curve(**trial.arguments): trial for trial in reversed(trials)}
        if "warm-up" in wrong:
            return ("The warm-up must climb in warmup_steps equal shares of the peak, of which "
                    "step 0 has one, and each step one more.")
        if {*wrong} == {"between"}:
            return ("The warm-up, the peak and the last step are right, but on the way down the "
                    "rate must follow half a cosine wave, (1 + cos(pi * progress)) / 2.")
        if "peak" not in wrong:
            return ("The warm-up and the peak are right, but at its last step, steps - 1, the rate "
                    f"must arrive at a tenth of the peak{_instead(wrong['last'])}.")
        if "last" not in wrong:
            return ("The warm-up and the last step are right, but at step warmup_steps the rate "
                    f"must still be at its peak{_instead(wrong['peak'])}.")
        return ("The warm-up is right, but then the rate must run from the peak, at step "
                "warmup_steps, to a tenth of it, at step steps - 1.")


def _part_of_curve(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return "warm-up"
    return {warmup_steps: "peak", steps - 1: "last"}.get(step, "between")


def _instead(trial):
    peak, (got, wanted) = trial.arguments["peak"], map(number, (trial.answer, trial.expected))
    return f" (for peak = {number(peak)} at {wanted}, and not at {got})"


LEARNING_RATE = Exercise(
    "06.learning_rate",
    goal="Rise in a straight line, then sink along half a wave: how far each step goes.",
    returns=RateAnswer("learning rate", atol=1e-9),
    cases=lambda generator: [
        (0, 10, 4, 2.0), (1, 10, 4, 2.0), (3, 10, 4, 2.0), (4, 10, 4, 2.0), (5, 10, 4, 2.0),
        (8, 10, 4, 2.0), (9, 10, 4, 2.0), (0, 7, 0, 0.003), (3, 7, 0, 0.003), (6, 7, 0, 0.003),
        (0, 100, 1, 0.01), (1, 100, 1, 0.01), (70, 300, 20, 0.02), (299, 300, 20, 0.02),
    ],
    edits=[
        ("math.cos(math.pi * progress)", "math.cos(progress)",
         "The factor pi is missing: progress runs from 0 to 1, and half a wave from 0 to pi."),
    ],
    hints=(
        "Two cases: during the warm-up, and after it. With warmup_steps = 4, which shares of the "
        "peak do steps 0, 1, 2 and 3 have? For the rest: cos(0) is 1, and cos(pi) is -1.",
        """
        1. in the warm-up, that is where step < warmup_steps: step + 1 of warmup_steps shares of
           the peak
        2. after it, progress: 0 at step warmup_steps, 1 at the last step, which is steps - 1
        3. (1 + cos(pi * progress)) / 2 runs from 1 to 0; bring it to between 1 and 0.1
        4. times peak
        """,
        """
        if step < warmup_steps:
            return peak * (step + 1) / warmup_steps
        progress = ...                        # 0 at step warmup_steps, 1 at step steps - 1
        return peak * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)
        """,
    ),
)

# --------------------------------------------------------------------------------------- train

TINY = {"vocab_size": 11, "emb_dim": 8, "n_heads": 2, "n_layers": 1, "drop_rate": 0.0,
        "qkv_bias": False}


def tiny_model(**config):
    """Too small for anything but a trial, in double precision, ready to be used."""
    return filled(gpt.GPTModel({**TINY, **config})).double().eval()


def _to_train(generator: Generator):
    """Several sizes; long gradients and short ones; a single step; no warm-up; T = 1."""
    for T, N, steps, batch_size, peak, warmup_steps, factor in (
        (5, 40, 5, 3, 0.05, 2, 6), (4, 23, 3, 2, 0.02, 0, 1), (3, 30, 1, 4, 0.03, 1, 3),
        (1, 12, 4, 5, 0.01, 3, 0.2),
    ):
        model = tiny_model(context_length=T)
        model.output_head.weight.data.mul_(factor)
        ids = torch.randint(11, (N,), generator=generator)
        yield model, ids, steps, batch_size, peak, warmup_steps, N


def _begun(train, model):
    """A run of a model, before its first step."""
    torch.manual_seed(1)
    return train(model, torch.arange(50) % 11, 4, 2, 0.01, 1, torch.Generator().manual_seed(1))


def _draws_for_itself(train):
    """Whether another `draw` than `batch` goes unheard; it says what it was given."""
    model, given, ids = tiny_model(context_length=4), [], torch.arange(50) % 11

    def draw(*arguments):
        given.append(arguments)
        return gpt.batch(*arguments)

    dice = torch.Generator().manual_seed(1)
    steps = len(list(train(model, ids, 2, 3, 0.01, 1, dice, draw)))
    if len(given) != steps:
        return (f"whoever hands over another `draw` is not heard: in {steps} steps it is called "
                f"{len(given)} times. Call draw(...) where you call batch(...).")
    if any(one[1:] != (3, 4, dice) or one[0] is not ids for one in given):
        return ("`draw` is called with other arguments than `batch`: it takes the ids, the batch "
                "size, the context length and the generator, in this order.")
    return None


def _stays_in_evaluation(train):
    model, modes = tiny_model(context_length=4), []
    model.register_forward_pre_hook(lambda *_: modes.append(model.training))
    for _ in _begun(train, model):
        model.eval()
    return None if all(modes) else (
        "the first step trains in training mode, the second does not, once evaluate or generate "
        "was called between the two: call model.train() in every step, not once before the loop.")


TRAIN = Exercise(
    "06.train",
    goal="The loop: set the rate, draw a batch, compute the loss, step; hand out each loss, and "
         "leave the model in evaluation mode.",
    returns=TrainedAnswer(),
    cases=_to_train,
    use=run_training,
    changes_inputs=True,
    edits=[NO_LOSS, LOSS_BY_THE_MODEL],
    hints=(
        "In each step these things happen, in this order: set the rate, draw a batch, compute the "
        "loss, forget the last gradient, backward, clip, step. The optimizer is made once, before.",
        """
        1. AdamW of all parameters, betas=(0.9, 0.99), weight_decay=0.1
        2. in each of so many steps, for every group in optimizer.param_groups, the learning rate
        3. a batch, model.train(), the loss of the model's scores against the targets
        4. optimizer.zero_grad(), loss.backward(), clip_grad_norm_ to 1.0, optimizer.step()
        5. model.eval(), and yield the loss as a number
        """,
        """
        optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.1)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, warmup_steps, peak)
            inputs, targets = draw(ids, batch_size, model.config["context_length"], generator)
            model.train()
            loss = next_token_loss(model(inputs), targets)
            ...                                       # forget, backward, clip, step
            model.eval()
            yield loss.item()
        """,
    ),
    properties=[Property("the windows come from draw", _draws_for_itself, of_class=True),
                one_by_one("a loss comes with each step", "yield loss.item()",
                           lambda: tiny_model(context_length=4), _begun, moves=True),
                Property("evaluation may come between", _stays_in_evaluation, of_class=True)],
)

_MADE_ONCE = (
    "    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.1)\n"
    "    for step in range(steps):\n"
)
_MADE, _EACH_STEP = _MADE_ONCE.splitlines(keepends=True)

UNSETTLED = TRAIN.with_bug(
    "06.unsettled",
    goal="Find the bug: this loop learns far more slowly than yours, although no step is shorter. "
         "Why?",
    bug=(_MADE_ONCE, f"{_EACH_STEP}    {_MADE}",
         "The bug is still in there. Each line does what it should, but one of them stands in the "
         "wrong place: print len(optimizer.state) before each optimizer.step(). It counts the "
         "weights that have averages already."),
    hints=(
        "AdamW divides one average by the root of another. By the table of step 1, what is that "
        "fraction in the very first step, whatever the slope? And if every step were the first?",
        """
        1. len(optimizer.state), printed before each step, is 0 every time: no averages are kept
        2. so every weight moves by the whole rate, wherever its newest slope points
        3. which line throws the averages away?
        """,
        """
        optimizer = ...                               # what has to last stands before the loop
        for step in range(steps):
            for group in optimizer.param_groups:
                ...
        """,
    ),
)

# ------------------------------------------------------------------------------------ evaluate


def _windows(generator: Generator, n: int, T: int):
    """inputs and targets, (n, T) each."""
    ids = torch.randint(11, (n, T + 1), generator=generator)
    return ids[:, :-1], ids[:, 1:]


def _to_evaluate(generator: Generator):
    """Batches of one window, an incomplete last batch, a single window, T = 1."""
    for T, n, batch_size in ((4, 7, 3), (3, 3, 2), (5, 1, 4), (1, 8, 5), (2, 6, 1)):
        yield tiny_model(context_length=T, drop_rate=0.5), *_windows(generator, n, T), batch_size


def _drops_while_measuring(answer):
    model = tiny_model(context_length=4, drop_rate=0.5).train()
    windows = _windows(Generator().manual_seed(0), 7, 4)
    wanted = gpt.evaluate(copy.deepcopy(model), *windows)
    if math.isclose(float(answer(model, *windows, 16)), wanted, rel_tol=1e-4):
        return None
    return ("a model that is in training mode drops numbers while it is measured: call "
            "model.eval() first.")


def _measured(answer):
    """What a model gave out while it was measured, on 7 windows in batches of 3."""
    model, recorded = tiny_model(context_length=4), []
    model.register_forward_hook(lambda _model, _given, out: recorded.append(out))
    answer(model, *_windows(Generator().manual_seed(0), 7, 4), 3)
    return recorded


def _keeps_the_way_back(answer):
    return None if not any(out.requires_grad for out in _measured(answer)) else (
        "the way back to the weights is recorded, for nobody: keep @torch.no_grad() above the "
        "first line.")


def _reads_all_at_once(answer):
    most = max(map(len, _measured(answer)))
    return None if most <= 3 else (
        f"with batch_size=3 the model is given {most} windows at a time. Of many windows, the "
        "scores alone would fill the memory: let it read batch_size of them, then the next.")


_ADD = ("        total += len(some) * next_token_loss(model(some), theirs).item()     # some (B, T)"
        "\n")
_DIVIDE = "    return total / len(inputs)"

EVALUATE = Exercise(
    "06.evaluate",
    goal="Measure the mean loss over many windows; the model reads batch_size of them at a time.",
    returns=NumberAnswer("mean loss"),
    cases=_to_evaluate,
    edits=[
        ("len(some) * ", "",
         "The mean losses of the batches are added up as if each had one window: multiply each by "
         "the number of its windows, len(some), before you divide by all of them."),
        (_ADD + _DIVIDE, f"{_ADD.replace('len(some) * ', '')}    return total / "
                         "len(inputs.split(batch_size))",
         "You average the mean losses of the batches, but the last one is smaller: weight each by "
         "the number of its windows."),
        ("model(some), theirs", "model(theirs), some",
         "Inputs and targets are swapped: the model reads the inputs and is to predict the "
         "targets."),
        (_DIVIDE, f"    {_DIVIDE}",
         "Only the first batch counts: let no `return` stand inside of the loop."),
        (" / len(inputs)", "",
         "This is the sum over all windows: divide it by their number."),
        ("total +=", "total =",
         "Only the last batch is left: add to the total, with +=."),
    ],
    hints=(
        "Nothing is learned here, so of train's lines only those are needed that get to a loss. "
        "How do you get from the mean losses of the parts to what all windows have paid?",
        """
        1. model.eval()
        2. inputs.split(batch_size) and targets.split(batch_size) are cut at the same places
        3. for each pair of parts: the mean loss, times the number of its windows
        4. the sum divided by the number of all windows
        """,
        """
        model.eval()
        total = 0.0
        for some, theirs in zip(inputs.split(batch_size), targets.split(batch_size)):
            total += ...                      # the last part may have fewer windows
        return total / len(inputs)
        """,
    ),
    properties=[Property("no dropout", _drops_while_measuring),
                Property("no gradients", _keeps_the_way_back),
                Property("a few windows at a time", _reads_all_at_once)],
)

EXERCISES = (LEARNING_RATE, TRAIN, UNSETTLED, EVALUATE)
