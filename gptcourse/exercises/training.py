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

UNSETTLED = TRAIN.with_bug(
    "06.unsettled",
    goal="Find the bug: this loop learns more slowly than yours, and its loss does not settle at "
         "the end. Why?",
    bug=("learning_rate(step, steps, warmup_steps, peak)",
         "learning_rate(step, warmup_steps, steps, peak)",
         "The bug is still in there: each line does what it should, with the numbers that it is "
         "given. Print group[\"lr\"] in each step of a short run, and look at the last ones."),
    hints=(
        "Print group[\"lr\"] in the steps of a run of 60. What should it be in steps 0, 19 and 59, "
        "by the plan from step 2? And what is it?",
        """
        1. the rate climbs from the first step to the last, as if the warm-up never ended
        2. learning_rate is right, so it must have been told of a warm-up of that length
        3. compare its first line, where it is defined, with the line that calls it
        """,
        """
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, ..., ..., peak)    # of how many steps; the warm-up
        """,
    ),
)

# ------------------------------------------------------------------------------------ evaluate


def _to_evaluate(generator: Generator):
    """Batches of one window, an incomplete last batch, tokens left over, a single window, T = 1."""
    for T, N, batch_size in ((4, 30, 3), (3, 10, 2), (5, 6, 4), (1, 8, 5), (2, 14, 1)):
        ids = torch.randint(11, (N,), generator=generator)
        yield tiny_model(context_length=T, drop_rate=0.5), ids, batch_size


def _drops_while_measuring(answer):
    model = tiny_model(context_length=4, drop_rate=0.5).train()
    wanted = gpt.evaluate(copy.deepcopy(model), torch.arange(30) % 11)
    if math.isclose(float(answer(model, torch.arange(30) % 11, 16)), wanted, rel_tol=1e-4):
        return None
    return ("a model that is in training mode drops numbers while it is measured: call "
            "model.eval() first.")


def _keeps_the_way_back(answer):
    model, recorded = tiny_model(context_length=4), []
    model.register_forward_hook(lambda _model, _given, out: recorded.append(out.requires_grad))
    answer(model, torch.arange(30) % 11, 2)
    return None if not any(recorded) else (
        "the way back to the weights is recorded, for nobody: keep @torch.no_grad() above the "
        "first line.")


_FOLD = "ids.unfold(0, T + 1, T)"
_ADD = "len(part) * next_token_loss(model(part[:, :-1]), part[:, 1:]).item()"

EVALUATE = Exercise(
    "06.evaluate",
    goal="Measure the mean loss over a whole text, window after window; what is left over at its "
         "end does not count.",
    returns=NumberAnswer("mean loss"),
    cases=_to_evaluate,
    edits=[
        ("len(part) * ", "",
         "The mean losses of the batches are added up as if each had one window: multiply each by "
         "the number of its windows, len(part), before you divide by all of them."),
        (f"        total += {_ADD}\n    return total / len(windows)",
         f"        total += {_ADD[12:]}\n    return total / len(windows.split(batch_size))",
         "You average the mean losses of the batches, but the last one is smaller: weight each by "
         "the number of its windows."),
        (_FOLD, "ids.unfold(0, T + 1, T + 1)",
         "The windows do not share a token, so at every seam one token is never predicted: each "
         "window has T + 1 tokens and begins T after the last one."),
        (_FOLD, "ids.unfold(0, T, T + 1)",
         "unfold takes the axis, the size of a window, T + 1, and then the step, T."),
        (_FOLD, "ids.unfold(0, T + 1, 1)",
         "The windows overlap: each begins T tokens after the last one, so that every token is "
         "predicted just once."),
        ("part[:, 1:]", "part[:, :-1]",
         "The scores are compared with the tokens that the model has just read: the targets are "
         "those one further on, part[:, 1:]."),
        ("model(part[:, :-1]), part[:, 1:]", "model(part[:, 1:]), part[:, :-1]",
         "Inputs and targets are swapped: the model reads part[:, :-1] and is to predict "
         "part[:, 1:]."),
        ("model(part[:, :-1]), part[:, 1:]", "model(part)[:, :-1], part[:, 1:]",
         "The model is given all T + 1 tokens of a window, more than its context: it reads "
         "part[:, :-1], all but the last."),
        ("    return total / len(windows)", "        return total / len(windows)",
         "Only the first batch counts: let no `return` stand inside of the loop."),
        (" / len(windows)", "",
         "This is the sum over all windows: divide it by their number."),
        ("total +=", "total =",
         "Only the last batch is left: add to the total, with +=."),
    ],
    hints=(
        "Take ids of 0 to 9 and windows that read T = 3 tokens. To predict token 4, from token 3 "
        "on, which T + 1 tokens do you need? Where does the next window begin?",
        """
        1. ids.unfold(0, size, step) cuts windows: of T + 1 tokens, one every T tokens
        2. model.eval()
        3. for each part, that is batch_size windows: the mean loss, times the number of windows
        4. the sum divided by the number of all windows
        """,
        """
        T = model.config["context_length"]
        windows = ids.unfold(0, T + 1, T)
        model.eval()
        total = 0.0
        for part in windows.split(batch_size):
            total += ...                      # a part may have fewer windows than the others
        return total / len(windows)
        """,
    ),
    properties=[Property("no dropout", _drops_while_measuring),
                Property("no gradients", _keeps_the_way_back)],
)

EXERCISES = (LEARNING_RATE, TRAIN, UNSETTLED, EVALUATE)
