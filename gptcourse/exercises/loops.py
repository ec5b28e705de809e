"""Judging a loop that hands out one thing after the other: a training its losses, a writer tokens.

A training is overheard while it runs, so that where it ends up wrong, the first thing on the way
that was not as it should be can be told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from gptcourse.exercises.answers import IdsAnswer, described, number
from gptcourse.exercises.exercise import TODO, Property, Todo
from gptcourse.exercises.listening import first_of
from gptcourse.exercises.resemblance import Trial


def handed_out(result: Any, most: int) -> Any:
    """All that a loop hands out, as a list; the result itself where it is no loop."""
    if result is None or isinstance(result, (Todo, int, float, str, Tensor)):
        return result
    things = list(islice(result, most))                    # it may never end
    return TODO if any(isinstance(thing, Todo) for thing in things) else things


def one_by_one(name: str, line: str, make_model: Callable[[], nn.Module],
               begin: Callable[[Callable, nn.Module], Iterator], moves: bool = False) -> Property:
    """Each thing comes at once, by the `line` that hands it out; where the loop `moves` the
    model's weights, they have moved by then."""

    def broken(loop: Callable) -> str | None:
        calls, model = [], make_model()
        model.register_forward_pre_hook(lambda *_: calls.append(1))
        before, run = in_a_row(model), begin(loop, model)
        if not hasattr(run, "__next__"):
            return (f"all is right, but comes together, after the last one: write `{line}` inside "
                    "of the loop, so that each can be seen at once.")
        next(run)
        if len(calls) > 1:
            return (f"when the first one comes, the model has been called {len(calls)} times: "
                    f"write `{line}` inside of the loop, so that each comes at once.")
        if moves and torch.equal(before, in_a_row(model)):
            return "when the first loss comes, no step has been taken: yield each after its own."
        return None

    return Property(name, broken, of_class=True)


def in_a_row(model: nn.Module) -> Tensor:
    """All weights, as they are now."""
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


# ----------------------------------------------------------------------------------------- writing


def run_generation(generate: Callable) -> Callable:
    """A trial: all tokens, as a list; the last argument is the seed of the generator."""

    @wraps(generate)
    def answer(model, ids, n_tokens, *settings):
        *settings, seed = settings
        torch.manual_seed(seed + 1)                        # for whoever draws from torch's own
        tokens = generate(model, ids, n_tokens, *settings, torch.Generator().manual_seed(seed))
        return handed_out(tokens, 2 * n_tokens + 20)

    return answer


class WrittenAnswer(IdsAnswer):
    """The ids that a model wrote, one by one."""

    def malformed(self, answer: Any, expected: list[int]) -> str | None:
        if not isinstance(answer, (list, tuple)):
            return (f"you return {described(answer)}, but must hand out one token after the other: "
                    "write `yield token` inside of the loop.")
        return super().malformed(answer, expected)


NO_TOKEN = ("        yield token\n", "",
            "It never yields: `yield token` belongs into the loop, after the look at `stop`.")

# ---------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Step:
    """What an optimizer was about to do, each time it was asked to step."""

    rate: float
    weights: Tensor                # all of them in a row
    gradient: Tensor               # all of it in a row, 0 where there is none
    optimizer: str                 # its name
    settings: str                  # "betas=(0.9, 0.99) and weight_decay=0.1"


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

    @property
    def plain(self) -> bool:
        """Whether it takes the plain steps of chapter 2, and not those of chapter 6."""
        return self.steps[0].optimizer == "SGD"


def run_training(train: Callable) -> Callable:
    """A trial: the whole run, overheard; the last argument is the seed of the generator."""

    @wraps(train)
    def answer(model, ids, steps, *settings):
        *settings, seed = settings
        torch.manual_seed(seed + 1)                        # for whoever draws from torch's own
        before, read, modes, taken = in_a_row(model), [], [], []

        def overhear(_model, given, named):
            read.append(first_of(given, named).clone())
            modes.append(model.training)

        hooks = [model.register_forward_pre_hook(overhear, with_kwargs=True),
                 register_optimizer_step_pre_hook(
                     lambda optimizer, *_: taken.append(_step(optimizer, model)))]
        try:
            result = train(model, ids, steps, *settings, torch.Generator().manual_seed(seed))
            losses = handed_out(result, 3 * steps + 3)
        finally:
            for hook in hooks:
                hook.remove()
        if not isinstance(losses, list):
            return losses
        weights = in_a_row(model)
        return Trained(losses, weights, not torch.equal(weights, before), model.training, read,
                       modes, taken)

    return answer


def _step(optimizer: torch.optim.Optimizer, model: nn.Module) -> Step:
    group = optimizer.param_groups[0]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    settings = (f"{key}={group[key]}" for key in ("betas", "momentum", "weight_decay")
                if key in group)
    return Step(group["lr"], in_a_row(model), nn.utils.parameters_to_vector(gradients).clone(),
                type(optimizer).__name__, " and ".join(settings))


@dataclass(frozen=True)
class TrainedAnswer:
    """The losses of a run, the weights to which it leads, and the mode of the model, unless the
    right one, too, leaves it in training mode."""

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
        if expected.training:
            return None
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
            for ask in (_about_reading, _about_steps, _about_modes, _about_optimizer, _about_rates,
                        _about_gradients, _about_losses):
                if found := ask(trial.answer, trial.expected):
                    return found
        return None


def _about_reading(run, right):
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
            draw = "batch" if right.plain else "draw"
            return (f"In step {step} the model reads other windows than {draw} draws: call {draw} "
                    "once for each step, and hand it the generator.")
    return None


def _about_steps(run, right):
    if not run.steps and run.moved and right.plain:
        return ("You move the weights by hand, which is fine, but they don't arrive where plain "
                "steps lead: does each step begin with a fresh gradient, for backward adds to the "
                "one that is there, and go `rate` times against it?")
    if not run.steps and run.moved:
        return ("The weights move, but by no optimizer: make torch.optim."
                f"{right.steps[0].optimizer} once, before the loop, and call its step().")
    if not run.steps:
        return "No optimizer takes a step, so nothing is learned: call optimizer.step()."
    if len(run.steps) != len(right.steps):
        return (f"The optimizer takes {len(run.steps)} steps where {len(right.steps)} are asked "
                "for: one batch is for one step.")
    return None


def _about_modes(run, right):
    if right.training:
        return None
    if not all(run.modes):
        return ("Dropout works in training mode only: call model.train() before the model reads "
                "its batch.")
    if run.training:
        return ("Call model.eval() after the step, so that whoever uses the model between two "
                "steps, or after the last one, finds it without dropout.")
    return None


def _about_optimizer(run, right):
    mine, wanted = run.steps[0], right.steps[0]
    if mine.optimizer != wanted.optimizer:
        return f"The optimizer is {mine.optimizer}, but must be torch.optim.{wanted.optimizer}."
    if mine.settings != wanted.settings:
        return f"{mine.optimizer} has {mine.settings}, but must have {wanted.settings}."
    return None


def _about_rates(run, right):
    rates, wanted = ([step.rate for step in x.steps] for x in (run, right))
    wrong = [n for n, pair in enumerate(zip(rates, wanted, strict=True))
             if not math.isclose(*pair, rel_tol=1e-4)]
    if not wrong:
        return None
    if right.plain:
        return (f"Each step goes {number(rates[0])} times its gradient, but must go "
                f"{number(wanted[0])} times: give the optimizer lr=rate.")
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
            return _about_a_gradient(step, mine.gradient, wanted.gradient, clipped=not right.plain)
    return None


def _about_a_gradient(step, mine, wanted, clipped):
    cosine, length = torch.cosine_similarity(mine, wanted, dim=0), mine.norm()
    if not mine.any():
        return ("optimizer.step() finds no gradient, or only zeros: loss.backward() must come "
                "before it, and zero_grad() not between the two.")
    if clipped and length > 1.001:
        return (f"The gradient is {length:.3g} long when optimizer.step() uses it: after "
                "backward and before step, clip_grad_norm_ cuts all of it to length 1.")
    if cosine < -0.9999:
        return ("The weights move uphill: the optimizer goes against the gradient by itself, so "
                "the loss needs no minus sign.")
    if clipped and cosine > 0.9999:
        return (f"The gradient points the right way, but is {length:.3g} long when "
                f"optimizer.step() uses it, instead of {wanted.norm():.3g}: only where it is "
                "longer than 1, it is cut to 1, all of it by one factor.")
    if step:
        return (f"The gradient is right in step 0, but not in step {step}: backward adds to the "
                "gradient that is there, so forget it first, with optimizer.zero_grad().")
    cut = ", all of it cut by one factor" if clipped else ""
    return ("The gradient is another one than it should be: it must be that of "
            f"next_token_loss(model(inputs), targets){cut}.")


def _about_losses(run, right):
    if torch.allclose(run.weights, right.weights, rtol=1e-3, atol=1e-5):
        return "The weights are right: yield the very loss from which the gradient is computed."
    return None


NO_LOSS = ("        yield loss.item()\n", "",
           "It never yields: `yield loss.item()` is the last line of the loop.")
LOSS_BY_THE_MODEL = ("next_token_loss(model(inputs), targets)", "model(inputs, targets)",
                     "The model takes the inputs only, and returns scores: next_token_loss makes "
                     "the loss of these and the targets.")
