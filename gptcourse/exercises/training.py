"""Exercises of chapter 6: how far each step goes, the loop of training, and its measure."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from gptcourse import gpt
from gptcourse.exercises.answers import NumberAnswer, described, number
from gptcourse.exercises.classes import filled
from gptcourse.exercises.exercise import Exercise, Property, Todo
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


_CLIMB = "peak * (step + 1) / warmup_steps"
_SHARE = "(step - warmup_steps) / max(1, steps - 1 - warmup_steps)"

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
        (_CLIMB, "peak * step / warmup_steps",
         "The warm-up begins at 0, so the first step would learn nothing: steps are counted from "
         "0, so climb with step + 1."),
        (_CLIMB, "peak * (step + 1) / (warmup_steps + 1)",
         "The warm-up climbs too slowly: divide step + 1 by warmup_steps itself, so that its last "
         "step has the peak."),
        (_SHARE, "step / (steps - 1)",
         "The wave counts from the start of the run, so the rate jumps down after the warm-up: "
         "divide the steps since the warm-up by those that were left when it ended."),
        (_SHARE, "(step - warmup_steps) / (steps - warmup_steps)",
         "The last step does not reach the end of the wave: its number is steps - 1, so divide by "
         "steps - 1 - warmup_steps."),
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


@dataclass(frozen=True)
class Step:
    """What an optimizer was about to do, each time it was asked to step."""

    rate: float
    weights: Tensor                # all of them in a row
    gradient: Tensor               # all of it in a row, 0 where there is none
    settings: tuple                # the optimizer's name, its betas and its weight decay


@dataclass(frozen=True)
class Trained:
    """A whole run: what was handed out, what happened on the way, and what is left."""

    losses: list
    weights: Tensor                # of the model at the end, in a row
    moved: bool
    training: bool                 # the mode in which the model is left
    read: list[Tensor]             # the ids of each pass through the model
    modes: list[bool]              # and the mode in which it was made
    steps: list[Step]

    def numbers(self) -> list[Tensor]:
        if not all(isinstance(loss, (int, float)) for loss in self.losses):
            return []
        return [torch.tensor(self.losses, dtype=torch.float32), self.weights,
                torch.tensor([self.training, *self.modes]).double(),
                torch.tensor([step.rate for step in self.steps])]


def run_training(train):
    """A trial: the whole run; `generator` is the seed of one."""

    def answer(model, ids, steps, batch_size, peak, warmup_steps, generator):
        return watched(train, model, ids, steps, batch_size, peak, warmup_steps, generator)

    return answer


def watched(train, model, ids, steps, *settings):
    """What a run does: the last of the settings is the seed of its generator."""
    *settings, seed = settings
    torch.manual_seed(seed + 1)                # for whoever draws from torch's own
    before, read, modes, taken = _in_a_row(model), [], [], []

    def overhear(_model, given):
        read.append(given[0].clone())
        modes.append(model.training)

    def note(optimizer, *_):
        group = optimizer.param_groups[0]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad
                     for p in model.parameters()]
        taken.append(Step(
            group["lr"], _in_a_row(model), nn.utils.parameters_to_vector(gradients).clone(),
            (type(optimizer).__name__, group.get("betas"), group.get("weight_decay"))))

    hooks = [model.register_forward_pre_hook(overhear), register_optimizer_step_pre_hook(note)]
    try:
        result = train(model, ids, steps, *settings, torch.Generator().manual_seed(seed))
        if result is None or isinstance(result, (Todo, float, Tensor)):
            return result
        losses = list(islice(result, 3 * steps + 3))           # it may never end
    finally:
        for hook in hooks:
            hook.remove()
    if any(isinstance(loss, Todo) for loss in losses):
        return losses[0]
    weights = _in_a_row(model)
    return Trained(losses, weights, not torch.equal(weights, before), model.training, read,
                   modes, taken)


def _in_a_row(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


@dataclass(frozen=True)
class TrainedAnswer:
    """The losses of a run, the weights to which it leads, and the mode of the model."""

    name: str = "losses"

    def malformed(self, answer: Any, expected: Trained) -> str | None:
        if not isinstance(answer, Trained):
            return (f"you return {described(answer)}, but must hand out a loss after each step: "
                    "write `yield loss.item()` inside of the loop.")
        for loss in answer.losses:
            if isinstance(loss, Tensor):
                return ("you yield a tensor, with all the way back to the weights attached to it: "
                        "yield a plain number, loss.item().")
            if isinstance(loss, bool) or not isinstance(loss, (int, float)):
                return f"you yield {described(loss)}, but must yield one number for each step."
        if len(answer.losses) != len(expected.losses):
            return (f"you yield {len(answer.losses)} losses, but must yield one for each of "
                    f"{len(expected.losses)} steps, inside of the loop.")
        if not all(map(math.isfinite, answer.losses)):
            return "the loss is no usable number any more."
        return None

    def difference(self, answer: Trained, expected: Trained) -> str | None:
        for step, pair in enumerate(zip(answer.losses, expected.losses, strict=True)):
            if not math.isclose(*pair, rel_tol=1e-4):
                return f"the loss of step {step} is {pair[0]:.5g}, but should be {pair[1]:.5g}."
        if not torch.allclose(answer.weights, expected.weights, rtol=1e-3, atol=1e-5):
            return "the losses are right, but at the end the weights are not where they should be."
        if not all(answer.modes):
            return "the numbers are right, but the model does not train in training mode."
        return "it leaves the model in training mode." if answer.training else None

    def alike(self, answer: Any, other: Any) -> bool:
        pair = [x.numbers() if isinstance(x, Trained) else [] for x in (answer, other)]
        return bool(pair[0] and pair[1]) and all(
            one.shape == two.shape and torch.allclose(one, two.to(one), rtol=1e-4, atol=1e-6)
            for one, two in zip(*pair, strict=True))

    def trace(self, trials: list[Trial]) -> str | None:
        """The first thing in the course of the run that was not as it should be."""
        for trial in trials:
            for ask in self.questions():
                if found := ask(trial.answer, trial.expected):
                    return found
        return None

    def questions(self) -> tuple:
        return (about_steps, about_reading, _about_modes, _about_optimizer, _about_rates,
                _about_gradients, about_losses)


def about_steps(run, right):
    if not run.steps and run.moved:
        return ("The weights move, but by no optimizer: make torch.optim."
                f"{right.steps[0].settings[0]} once, before the loop, and call its step().")
    if not run.steps:
        return "No optimizer takes a step, so nothing is learned: call optimizer.step()."
    if len(run.steps) != len(right.steps):
        return (f"The optimizer takes {len(run.steps)} steps where {len(right.steps)} are asked "
                "for: one batch is for one step.")
    return None


def about_reading(run, right):
    if len(run.read) > len(right.read):
        return (f"The model is called {len(run.read)} times in {len(right.read)} steps: once for "
                "each is enough.")
    for step, (ids, wanted) in enumerate(zip(run.read, right.read, strict=False)):
        if ids.shape != wanted.shape:
            return (f"The model reads ids of shape {tuple(ids.shape)}, but a batch of this run has "
                    f"{tuple(wanted.shape)}, batch_size windows of context_length tokens.")
        if step and torch.equal(ids, run.read[0]):
            return "Each step reads the same batch: draw a new one, inside of the loop."
        if torch.equal(ids[:, :-1], wanted[:, 1:]) and ids.shape[1] > 1:
            return "The model reads the targets, which it is to predict: give it the inputs."
        if not torch.equal(ids, wanted):
            return (f"In step {step} the model reads other windows than batch draws: call batch "
                    "once for each step, and hand it the generator.")
    return None


def _about_modes(run, _right):
    if not all(run.modes):
        return ("Dropout works in training mode only: call model.train() before the model reads "
                "its batch.")
    if run.training:
        return ("Call model.eval() after the step, so that whoever uses the model between two "
                "steps, or after the last one, finds it without dropout.")
    return None


def _about_optimizer(run, right):
    (name, *numbers), (wanted, *given) = (x.steps[0].settings for x in (run, right))
    if name != wanted:
        return f"The optimizer is {name}, but must be torch.optim.AdamW."
    if numbers != given:
        return (f"AdamW has betas={numbers[0]} and weight_decay={numbers[1]}, but must have "
                f"betas={given[0]} and weight_decay={given[1]}.")
    return None


def _about_rates(run, right):
    rates, wanted = ([step.rate for step in x.steps] for x in (run, right))
    wrong = [n for n, pair in enumerate(zip(rates, wanted, strict=True))
             if not math.isclose(*pair, rel_tol=1e-4)]
    if not wrong:
        return None
    if len(rates) > 1 and len({*rates}) == 1:
        return (f"The learning rate is {number(rates[0])} in every step: set group[\"lr\"] = "
                "learning_rate(...) for each group in optimizer.param_groups, in every step.")
    if len(rates) > 2 and all(math.isclose(*pair, rel_tol=1e-4)
                              for pair in zip(rates[1:], wanted, strict=False)):
        return "The learning rate comes a step too late: set it before optimizer.step()."
    return (f"In step {wrong[0]} the learning rate is {number(rates[wrong[0]])}, but should be "
            f"{number(wanted[wrong[0]])}: hand learning_rate the step, steps, warmup_steps and "
            "peak, in this order.")


def _about_gradients(run, right):
    for step, (mine, wanted) in enumerate(zip(run.steps, right.steps, strict=True)):
        if not torch.allclose(mine.weights, wanted.weights, rtol=1e-3, atol=1e-5):
            return ("Every step has the right gradient and rate, but something else changes the "
                    "weights, too: leave that to one optimizer, made once, before the loop.")
        if not torch.allclose(mine.gradient, wanted.gradient, rtol=1e-3, atol=1e-6):
            return _about_a_gradient(step, mine.gradient, wanted.gradient)
    return None


def _about_a_gradient(step, mine, wanted):
    if not mine.any():
        return ("optimizer.step() finds no gradient, or only zeros: loss.backward() must come "
                "before it, and zero_grad() not between the two.")
    if mine.norm() > 1.001:
        return (f"The gradient is {mine.norm():.3g} long when optimizer.step() uses it: after "
                "backward and before step, clip_grad_norm_ cuts all of it to length 1.")
    cosine = torch.cosine_similarity(mine, wanted, dim=0)
    if cosine < -0.9999:
        return ("The weights move uphill: the optimizer goes against the gradient by itself, so "
                "the loss needs no minus sign.")
    if cosine > 0.9999:
        return (f"The gradient points the right way, but is {mine.norm():.3g} long when "
                f"optimizer.step() uses it, instead of {wanted.norm():.3g}: only where it is "
                "longer than 1, it is cut to 1, all of it by one factor.")
    if step:
        return (f"The gradient is right in step 0, but not in step {step}: backward adds to the "
                "gradient that is there, so forget it first, with optimizer.zero_grad().")
    return ("The gradient points another way than it should: it must be that of "
            "next_token_loss(model(inputs), targets), all of it cut by one factor.")


def about_losses(run, right):
    if torch.allclose(run.weights, right.weights, rtol=1e-3, atol=1e-5):
        return "The weights are right: yield the very loss from which the gradient is computed."
    return ("The steps are right, but the weights are not where they lead: change nothing after "
            "the last one.")


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


def _run_of(train, steps, drop_rate=0.0):
    """A model, and a run of it that has not begun."""
    torch.manual_seed(1)
    model = tiny_model(context_length=4, drop_rate=drop_rate)
    return model, train(model, torch.arange(50) % 11, steps, 2, 0.01, 1,
                        torch.Generator().manual_seed(1))


def _comes_all_at_once(train):
    steps = []
    hook = register_optimizer_step_pre_hook(lambda *_: steps.append(1))
    try:
        run = _run_of(train, 4)[1]
        if not hasattr(run, "__next__"):
            return ("all numbers are right, but they come together, after the last step: write "
                    "`yield loss.item()` inside of the loop, so that each can be seen at once.")
        next(run)
    finally:
        hook.remove()
    return None if len(steps) == 1 else (
        f"when the first loss comes, {len(steps)} steps have been taken: yield each after its own.")


def _stays_in_evaluation(train):
    model, run = _run_of(train, 3)
    modes = []
    model.register_forward_pre_hook(lambda *_: modes.append(model.training))
    for _ in run:
        model.eval()
    return None if all(modes) else (
        "the first step trains in training mode, the second does not, once evaluate or generate "
        "was called between the two: call model.train() in every step, not once before the loop.")


TRAIN = Exercise(
    "06.train",
    goal="The loop: set the rate, draw a batch, compute the loss, step; hand out each loss, and "
         "leave the model in evaluation mode.",
    returns=TrainedAnswer(),
    cases=lambda generator: list(_to_train(generator)),
    use=run_training,
    changes_inputs=True,
    edits=[
        ("        yield loss.item()\n", "",
         "It never yields: `yield loss.item()` is the last line of the loop."),
        ("(model(inputs), targets)", "(model(inputs), inputs)",
         "The scores are compared with the inputs, which the model has just read: compare them "
         "with the targets."),
        ("next_token_loss(model(inputs), targets)", "model(inputs, targets)",
         "The model takes the inputs only, and returns scores: next_token_loss makes the loss of "
         "these and the targets."),
    ],
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
            inputs, targets = batch(ids, batch_size, model.config["context_length"], generator)
            model.train()
            loss = next_token_loss(model(inputs), targets)
            ...                                       # forget, backward, clip, step
            model.eval()
            yield loss.item()
        """,
    ),
    properties=[Property("a loss comes with each step", _comes_all_at_once, of_class=True),
                Property("evaluation may come between", _stays_in_evaluation, of_class=True)],
)

UNCLEARED = TRAIN.with_bug(
    "06.uncleared",
    goal="Find the bug: with this loop the first steps are fine, then the loss climbs. Why?",
    bug=("        optimizer.zero_grad()\n", "",
         "The bug is still in there: look at what .grad holds when backward begins, in the first "
         "step and in the second."),
    edits=[
        ("        optimizer.zero_grad()\n        loss.backward()\n",
         "        loss.backward()\n        optimizer.zero_grad()\n",
         "Now the gradient is forgotten before the optimizer has used it: zero_grad() belongs "
         "before backward, or after step."),
    ],
    hints=(
        "Print the length of the gradient right before loss.backward(), in the first step and in "
        "the second. What does backward do with a number that is there already?",
        """
        1. backward adds to .grad, it does not replace what is there
        2. so what the last step has left there must be gone before backward is called
        3. one line does that: a method of the optimizer, which knows all the parameters
        """,
        """
        loss = next_token_loss(model(inputs), targets)
        ...                                           # forget the gradient of the last step
        loss.backward()
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
    cases=lambda generator: list(_to_evaluate(generator)),
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

EXERCISES = (LEARNING_RATE, TRAIN, UNCLEARED, EVALUATE)
