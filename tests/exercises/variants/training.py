"""Answers to the exercises of chapter 6, right and wrong, as learners write them."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from collecting import right, wrong
from torch import nn

from gptlib.training import next_token_loss


@right("cross_entropy")
def torchs_own(logits, targets):
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


@right("cross_entropy")
def vocabulary_second(logits, targets):
    return F.cross_entropy(logits.transpose(1, 2), targets)


@right("cross_entropy")
def with_loops(logits, targets):
    B, T = targets.shape
    total = 0
    for b in range(B):
        for t in range(T):
            row = logits[b, t]
            total = total + row.logsumexp(-1) - row[targets[b, t]]
    return total / (B * T)


@right("cross_entropy")
def by_one_hot(logits, targets):
    truth = F.one_hot(targets, logits.shape[-1]).to(logits)
    return -(truth * F.log_softmax(logits, dim=-1)).sum(-1).mean()


@right("cross_entropy")
def in_double_precision(logits, targets):
    x = logits.double() - logits.double().max(-1, keepdim=True).values
    logs = x - x.exp().sum(-1, keepdim=True).log()
    B, T = targets.shape
    return -logs[torch.arange(B)[:, None], torch.arange(T), targets].mean()


@right("cross_entropy")
def log_softmax_is_at_home_twice(logits, targets):
    return F.nll_loss(logits.log_softmax(-1).log_softmax(-1).flatten(0, 1), targets.flatten())


@wrong("cross_entropy", "safely")
def softmax_then_log(logits, targets):
    probabilities = logits.softmax(dim=-1).gather(-1, targets.unsqueeze(-1))
    return -probabilities.log().mean()


@wrong("cross_entropy", "safely")
def exponentials_by_hand(logits, targets):
    shares = logits.exp() / logits.exp().sum(-1, keepdim=True)
    return -torch.log(shares.gather(-1, targets[..., None])).mean()


@wrong("cross_entropy", "softmax is applied twice")
def softmax_before(logits, targets):
    return F.cross_entropy(logits.softmax(-1).flatten(0, 1), targets.flatten())


@wrong("cross_entropy", "minus sign is missing")
def nobody_negates(logits, targets):
    return logits.log_softmax(-1).gather(2, targets.unsqueeze(2)).squeeze(2).mean()


@wrong("cross_entropy", "must run over the vocabulary")
def over_the_tokens(logits, targets):
    return F.nll_loss(logits.log_softmax(dim=1).flatten(0, 1), targets.flatten())


@wrong("cross_entropy", "targets on by one")
def shifted(logits, targets):
    return next_token_loss(logits[:, :-1], targets[:, 1:])


@wrong("cross_entropy", "added up")
def reduced_by_sum(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


@wrong("cross_entropy", "mean over all of them is missing")
def no_reduction(logits, targets):
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


@wrong("cross_entropy", "over the texts only")
def summed_over_tokens(logits, targets):
    surprises = -logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    return surprises.sum(dim=1).mean()


@wrong("cross_entropy", "divide by the size of the vocabulary, too")
def mean_of_products(logits, targets):
    return -(F.one_hot(targets, logits.shape[-1]) * logits.log_softmax(-1)).mean()


@wrong("cross_entropy", "softmax over the vocabulary is missing")
def no_softmax_at_all(logits, targets):
    return F.nll_loss(logits.flatten(0, 1), targets.flatten())


@wrong("cross_entropy", "is nan")
def logarithm_twice(logits, targets):
    return -logits.log_softmax(-1).log().gather(-1, targets[..., None]).mean()


@wrong("cross_entropy", "leave out .item()")
def as_a_number(logits, targets):
    return next_token_loss(logits, targets).item()


@wrong("cross_entropy", "no gradient reaches logits")
def cut_off(logits, targets):
    return next_token_loss(logits.detach(), targets)


@wrong("cross_entropy", "in bits")
def with_log2(logits, targets):
    return -torch.log2(logits.softmax(-1).gather(-1, targets[..., None])).mean()


@wrong("cross_entropy", "vocabulary on the second axis")
def not_flattened(logits, targets):
    return F.cross_entropy(logits, targets)


@wrong("cross_entropy", "one number, of shape ()")
def keeps_an_axis(logits, targets):
    return next_token_loss(logits, targets).reshape(1)


@wrong("cross_entropy", "but should be")
def another_order(logits, targets):
    return F.cross_entropy(logits.transpose(0, 1).flatten(0, 1), targets.flatten())


@right("perplexity")
def by_tensor(surprises):
    return surprises.mean().exp()


@right("perplexity")
def geometric_mean(surprises):
    return (surprises.double().exp() ** (1 / surprises.numel())).prod()


@wrong("perplexity", "grows beyond every number in a long text")
def product_of_a_long_text(surprises):
    return surprises.double().exp().prod() ** (1 / surprises.numel())


@right("perplexity")
def by_numpy(surprises):
    return np.exp(np.mean(surprises.numpy()))


@right("perplexity")
def by_hand(surprises):
    numbers = surprises.flatten().tolist()
    return math.e ** (sum(numbers) / len(numbers))


@wrong("perplexity", "average the surprises first")
def exponentials_first(surprises):
    return torch.exp(surprises).mean()


@wrong("perplexity", "right for bits")
def base_two(surprises):
    return math.pow(2, surprises.mean().item())


@wrong("perplexity", "exponential is missing")
def the_loss(surprises):
    return surprises.sum() / surprises.numel()


@wrong("perplexity", "take their mean")
def of_the_sum(surprises):
    return math.exp(surprises.sum())


@wrong("perplexity", "leave out the minus sign")
def negative(surprises):
    return math.exp(-surprises.mean())


@wrong("perplexity", "one number is asked for. You take the exponential of each surprise, and "
       "return them all: average the surprises first, then take the exponential once")
def each_by_itself(surprises):
    return surprises.exp()


@wrong("perplexity", "average their surprises")
def inverse_of_mean_probability(surprises):
    return 1 / torch.exp(-surprises).mean().item()


@wrong("perplexity", "divide by the number of rows only")
def first_axis_counts(surprises):
    return math.exp(surprises.sum() / len(surprises))


@wrong("perplexity", "10 to the mean")
def base_ten(surprises):
    return 10 ** surprises.mean().item()


@wrong("perplexity", "TypeError")
def mean_of_a_list(surprises):
    return math.exp(sum(surprises) / len(surprises.tolist()[0]))


@right("train_step")
def model_forgets(model, optimizer, inputs, targets, clip_norm):
    model.train()
    model.zero_grad()
    loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=clip_norm)
    optimizer.step()
    return loss


@right("train_step")
def forgets_at_the_end(model, optimizer, inputs, targets, clip_norm):
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(list(model.parameters()), clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    return float(loss)


@right("train_step")
def clips_by_hand(model, optimizer, inputs, targets, clip_norm):
    loss = next_token_loss(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    length = sum(p.grad.square().sum() for p in model.parameters()).sqrt()
    for p in model.parameters():
        p.grad *= min(1.0, clip_norm / length)
    optimizer.step()
    return loss.detach()


@wrong("train_step", "call optimizer.zero_grad() before it")
def never_forgets(model, optimizer, inputs, targets, clip_norm):
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item()


@wrong("train_step", "is not cut when the optimizer uses it")
def clips_before_backward(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("train_step", "is cut after the step")
def clips_after_step(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    return loss.item()


@wrong("train_step", "zero_grad() after backward throws the gradient away")
def forgets_too_late(model, optimizer, inputs, targets, clip_norm):
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    optimizer.zero_grad()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item()


@wrong("train_step", "backward must be called before it")
def no_backward(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    optimizer.step()
    return loss.item()


@wrong("train_step", "optimizer.step() is missing")
def never_moves(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    return loss.item()


@wrong("train_step", "cut each number of the gradient by itself")
def clamps(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    for p in model.parameters():
        p.grad.clamp_(-clip_norm, clip_norm)
    optimizer.step()
    return loss.item()


@wrong("train_step", "always cut at 1")
def the_chapters_clip(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    optimizer.step()
    return loss.item()


@wrong("train_step", "compare them with the targets")
def against_its_inputs(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), inputs)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item()


@wrong("train_step", "targets on by one")
def shifts_once_more(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs)[:, :-1], targets[:, 1:])
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item()


@wrong("train_step", "forget `return`")
def keeps_the_loss(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()


@wrong("train_step", "at the end")
def backward_on_a_number(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets).item()
    loss.backward()
    optimizer.step()
    return loss


@wrong("train_step", "was not recorded")
def under_no_grad(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    with torch.no_grad():
        loss = next_token_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("train_step", "not by the optimizer that is given")
def an_optimizer_of_its_own(model, optimizer, inputs, targets, clip_norm):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item()


@wrong("train_step", "you return a LastTokenModel, but must return one number.")
def returns_the_model(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    next_token_loss(model(inputs), targets).backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return model


@right("learning_rate")
def as_a_mean(step, steps, warmup_steps, peak):
    if step + 1 <= warmup_steps:
        return (step + 1) / warmup_steps * peak
    low = peak / 10
    angle = math.pi * (step - warmup_steps) / ((steps - warmup_steps - 1) or 1)
    return low + (peak - low) * 0.5 * (1.0 + math.cos(angle))


@right("learning_rate")
def with_torch(step, steps, warmup_steps, peak):
    climb = torch.arange(1, warmup_steps + 1, dtype=torch.float64) / max(1, warmup_steps)
    t = torch.linspace(0, math.pi, steps - warmup_steps, dtype=torch.float64)
    return peak * torch.cat([climb, 0.55 + 0.45 * t.cos()])[step]


@right("learning_rate")
def by_sine(step, steps, warmup_steps, peak):
    share = (step + 1) / warmup_steps if step < warmup_steps else 1
    done = max(0, step - warmup_steps) / max(1, steps - 1 - warmup_steps)
    return peak * share * (1 - 0.9 * math.sin(math.pi / 2 * done) ** 2)


@wrong("learning_rate", "warm-up begins at 0")
def first_step_stands_still(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return step / warmup_steps * peak
    t = (step - warmup_steps) / (steps - 1 - warmup_steps)
    return peak / 10 + 0.9 * peak * 0.5 * (1 + math.cos(math.pi * t))


@wrong("learning_rate", "one step too long")
def up_to_and_including(step, steps, warmup_steps, peak):
    if warmup_steps and step <= warmup_steps:
        return peak * (step + 1) / warmup_steps
    t = (step - warmup_steps) / (steps - 1 - warmup_steps)
    return peak * (0.55 + 0.45 * math.cos(math.pi * t))


@wrong("learning_rate", "in a straight line")
def straight(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    t = (step - warmup_steps) / (steps - 1 - warmup_steps)
    return peak + t * (0.1 * peak - peak)


@wrong("learning_rate", "sinks to 0")
def without_a_floor(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    t = (step - warmup_steps) / (steps - 1 - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * t))


@wrong("learning_rate", "divide the steps since the warm-up")
def since_the_start(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (0.55 + 0.45 * math.cos(math.pi * step / (steps - 1)))


@wrong("learning_rate", "does not reach the end of the wave")
def last_step_forgotten(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (0.55 + 0.45 * math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps)))


@wrong("learning_rate", "multiply it by peak")
def only_the_share(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    t = (step - warmup_steps) / (steps - 1 - warmup_steps)
    return 0.55 + 0.45 * math.cos(math.pi * t)


@wrong("learning_rate", "must climb there")
def waits(step, steps, warmup_steps, peak):
    t = max(0, step - warmup_steps) / (steps - 1 - warmup_steps)
    return peak * (0.55 + 0.45 * math.cos(math.pi * t))


@wrong("learning_rate", "factor pi is missing")
def in_radians(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    t = (step - warmup_steps) / (steps - 1 - warmup_steps)
    return peak * (0.1 + 0.45 * (1 + math.cos(t)))


@wrong("learning_rate", "down and up again")
def once_around(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    t = (step - warmup_steps) / (steps - 1 - warmup_steps)
    return peak * (0.1 + 0.45 * (1 + math.cos(2 * math.pi * t)))


@wrong("learning_rate", "which may be 0")
def always_divides(step, steps, warmup_steps, peak):
    climb = (step + 1) / warmup_steps
    t = (step - warmup_steps) / (steps - 1 - warmup_steps)
    return peak * (climb if climb <= 1 else 0.55 + 0.45 * math.cos(math.pi * t))


@wrong("learning_rate", "it takes radians")
def in_degrees(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    t = (step - warmup_steps) / (steps - 1 - warmup_steps)
    return peak * (0.1 + 0.45 * (1 + math.cos(180 * t)))


@wrong("cross_entropy", "first text of the batch")
def one_text(logits, targets):
    return F.cross_entropy(logits[0], targets[0])


@wrong("learning_rate", "A sine begins")
def with_a_sine(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return (step + 1) * peak / warmup_steps
    part = (step - warmup_steps) / max(1, steps - warmup_steps - 1)
    return 0.1 * peak + 0.9 * peak * (1 + math.sin(part * math.pi)) / 2


@wrong("learning_rate", "wrong way around")
def falls_to_the_peak(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return warmup_steps * peak / (step + 1)
    part = (step - warmup_steps) / max(1, steps - warmup_steps - 1)
    return 0.1 * peak + 0.9 * peak * (1 + math.cos(part * math.pi)) / 2


@wrong("cross_entropy", "Nearly right, from the third digit on it is not")
def never_quite_zero(logits, targets):
    return -(logits.softmax(-1).gather(-1, targets[..., None]) + 1e-5).log().mean()


@wrong("perplexity", "rounded to whole numbers")
def whole_tokens(surprises):
    return round(math.exp(surprises.mean()))


@wrong("perplexity", "first row only")
def as_if_a_batch_of_one(surprises):
    return math.exp(surprises[0].mean())


@right("train_step")
def in_a_closure(model, optimizer, inputs, targets, clip_norm):
    def closure():
        optimizer.zero_grad()
        loss = next_token_loss(model(inputs), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        return loss

    return optimizer.step(closure).item()


def stepping(loss_of=next_token_loss, cut=nn.utils.clip_grad_norm_, after=lambda *_: None):
    """A step with one thing changed."""
    def step(model, optimizer, inputs, targets, clip_norm):
        optimizer.zero_grad()
        loss = loss_of(model(inputs), targets)
        loss.backward()
        cut(list(model.parameters()), clip_norm)
        optimizer.step()
        after(model, optimizer, inputs, targets)
        return loss.item()

    return step


def root_forgotten(parameters, clip_norm):
    length = sum(p.grad.square().sum() for p in parameters)
    for p in parameters:
        p.grad *= min(1.0, clip_norm / length)


for _told, _step in {
    "long when optimizer.step() uses it, instead of": stepping(cut=root_forgotten),
    "all of it is cut by one factor": stepping(
        cut=lambda parameters, most: nn.utils.clip_grad_norm_(parameters[1:], most)),
    "The gradient points the right way": stepping(
        cut=lambda parameters, most: nn.utils.clip_grad_norm_(parameters, most, norm_type=1)),
    "several times": stepping(after=lambda model, optimizer, *_: optimizer.step()),
    "Only the last token of each text": stepping(
        lambda logits, targets: F.cross_entropy(logits[:, -1], targets[:, -1])),
    "leave out the exponential": stepping(lambda *both: next_token_loss(*both).exp()),
    "added up": stepping(lambda logits, targets: F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="sum")),
    "softmax is applied twice": stepping(
        lambda logits, targets: next_token_loss(logits.softmax(-1), targets)),
    "move uphill": stepping(lambda *both: -next_token_loss(*both)),
    "dtype of the weights": stepping(after=lambda model, *_: model.double()),
    "you change the inputs": stepping(after=lambda *given: given[2].zero_()),
    "something else changes the weights": stepping(
        after=lambda model, *_: nn.init.zeros_(next(model.parameters()))),
    "but a second one with the same model": stepping(
        after=lambda model, optimizer, *_: optimizer.param_groups[0].update(lr=0.01)),
}.items():
    wrong("train_step", _told)(_step)


@wrong("train_step", "optimizer.step() before backward")
def steps_first(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    optimizer.step()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    return loss.item()


@wrong("train_step", "not by the optimizer that is given")
def moves_by_hand(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    with torch.no_grad():
        for p in model.parameters():
            p -= optimizer.param_groups[0]["lr"] * p.grad
    return loss.item()


@wrong("train_step", "several times")
def text_by_text(model, optimizer, inputs, targets, clip_norm):
    losses = [stepping()(model, optimizer, *pair, clip_norm)
              for pair in zip(inputs.split(1), targets.split(1), strict=True)]
    return sum(losses) / len(losses)


@wrong("train_step", "or left out in a case like this")
def waits_for_a_short_gradient(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    if torch.cat([p.grad.flatten() for p in model.parameters()]).norm() <= clip_norm:
        optimizer.step()
    return loss.item()


@wrong("train_step", "Neither backward nor optimizer.step() is called")
def only_measures(model, optimizer, inputs, targets, clip_norm):
    return next_token_loss(model(inputs), targets).item()


@wrong("train_step", "the loss must depend on the weights")
def cuts_the_loss(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets).clamp(max=clip_norm)
    loss.backward()
    optimizer.step()
    return loss.item()


def schedule(warm_up, then):
    """The two halves; `then` gets the share of the way down that is behind."""
    def rate(step, steps, warmup_steps, peak):
        if step < warmup_steps:
            return warm_up(step, warmup_steps, peak)
        return then((step - warmup_steps) / max(1, steps - 1 - warmup_steps), peak)

    return rate


def right_climb(step, n, peak):
    return peak * (step + 1) / n


def right_wave(t, peak):
    return peak * (0.55 + 0.45 * math.cos(math.pi * t))


right("learning_rate")(schedule(right_climb, right_wave))
for _told, _halves in {
    "Your warm-up begins at a tenth": (
        lambda step, n, peak: peak * (0.1 + 0.9 * (step + 1) / n), right_wave),
    "The warm-up, the peak and the last step are right": (
        right_climb, lambda t, peak: peak * 0.1**t),
    "arrive at a tenth of the peak": (
        right_climb, lambda t, peak: 0.1 + (peak - 0.1) * (0.5 + 0.5 * math.cos(math.pi * t))),
    "must still be at its peak": (
        right_climb, lambda t, peak: peak * (0.45 + 0.35 * math.cos(math.pi * t))),
    "The warm-up is right, but then": (
        right_climb, lambda t, peak: peak * (0.5 + 0.3 * math.cos(math.pi * t))),
    "it returns None. A way through": (
        right_climb, lambda t, peak: right_wave(t, peak) if t > 0 else None),
}.items():
    wrong("learning_rate", _told)(schedule(*_halves))


@wrong("cross_entropy", "each position has a softmax of its own")
def divided_by_the_sum_of_all(logits, targets):
    shares = logits.exp() / logits.exp().sum()
    return -shares.gather(-1, targets.unsqueeze(-1)).log().mean()


@wrong("train_step", "the gradient is 2 times as long as it should be")
def backward_twice(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward(retain_graph=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item()


@wrong("train_step", "but must return one number: call it")
def item_without_brackets(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item


wrong("learning_rate", "divide by the steps that are left")(
    lambda step, steps, warmup_steps, peak: (
        right_climb(step, warmup_steps, peak) if step < warmup_steps
        else right_wave(step - warmup_steps, peak)))


for _told, _halves in {
    "the warm-up stays at 0 until its last step": (
        lambda step, n, peak: peak * ((step + 1) // n), right_wave),
    "During the warm-up you forget": (lambda step, n, peak: (step + 1) / n, right_wave),
    "The 0.1 is missing": (
        right_climb, lambda t, peak: 0.9 * peak * (1 + math.cos(math.pi * t)) / 2),
    "You swap 0.1 and 0.9": (
        right_climb, lambda t, peak: peak * (0.9 + 0.1 * (1 + math.cos(math.pi * t)) / 2)),
    "only the 0.1 is multiplied by peak": (
        right_climb, lambda t, peak: peak * 0.1 + 0.9 * (1 + math.cos(math.pi * t)) / 2),
    "1 + cos / 2 halves the cosine only": (
        right_climb, lambda t, peak: peak * (0.1 + 0.9 * (1 + math.cos(math.pi * t) / 2))),
    "The warm-up begins at 0, so the first step would learn nothing: steps are counted from 0, so "
    "climb with step + 1. The rate sinks in a straight line": (
        lambda step, n, peak: peak * step / n, lambda t, peak: peak * (1 - 0.9 * t)),
    "(for peak = 2 at 0.2, and not at 0.1)": (
        right_climb, lambda t, peak: 0.1 + (peak - 0.1) * (0.5 + 0.5 * math.cos(math.pi * t))),
    "(for peak = 2 at 2, and not at 1.1)": (
        right_climb, lambda t, peak: peak * (0.1 + 0.9 * (1 + math.cos(math.pi) * t) / 2)),
    "All is right but the warm-up: it climbs in": (
        lambda step, n, peak: peak * 2 ** (step + 1 - n), right_wave),
}.items():
    wrong("learning_rate", _told)(schedule(*_halves))


@wrong("learning_rate", "The warm-up climbs too slowly")
def nanos_schedule(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / (steps - warmup_steps)
    return 0.1 * peak + 0.5 * (1 + math.cos(math.pi * progress)) * (peak - 0.1 * peak)


@wrong("learning_rate", "The wave takes the place of the warm-up")
def no_else(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        rate = peak * (step + 1) / warmup_steps
    rate = right_wave((step - warmup_steps) / max(1, steps - 1 - warmup_steps), peak)
    return rate


@wrong("learning_rate", "The two cases are swapped")
def larger_for_smaller(step, steps, warmup_steps, peak):
    if step > warmup_steps:
        return right_climb(step, max(1, warmup_steps), peak)
    return right_wave((step - warmup_steps) / max(1, steps - 1 - warmup_steps), peak)


for _told, _progress in {
    "divides warmup_steps only": lambda step, steps, n: step - n / max(1, steps - 1 - n),
    "The wave begins too far down": lambda step, steps, n: step / max(1, steps - 1 - n),
    "The wave is stretched: only": lambda step, steps, n: (step - n) / (steps - 1),
}.items():
    wrong("learning_rate", _told)(
        lambda step, steps, warmup_steps, peak, progress=_progress: (
            right_climb(step, warmup_steps, peak) if step < warmup_steps
            else right_wave(progress(step, steps, warmup_steps), peak)))


@wrong("cross_entropy", "and .T does not mend it")
def into_columns(logits, targets):
    V = logits.shape[-1]
    return F.cross_entropy(logits.reshape(V, -1).T, targets.flatten())


@wrong("cross_entropy", "Scores and targets no longer belong together")
def tokens_before_texts(logits, targets):
    columns = zip(logits.transpose(0, 1).flatten(0, 1), targets.flatten(), strict=True)
    return torch.stack([row.logsumexp(0) - row[target] for row, target in columns]).mean()


@wrong("cross_entropy", "leave the targets as they are, (B, T), without .T")
def targets_turned(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.T.reshape(-1))


@wrong("cross_entropy", "The last token of each text is left out")
def one_token_less(logits, targets):
    B, T = targets.shape
    logs, total = logits.log_softmax(-1), 0
    for b in range(B):
        for t in range(T - 1):
            total = total - logs[b, t, targets[b, t]]
    return total / (B * T)


@wrong("cross_entropy", "let no `return` stand within the loop")
def back_after_one_text(logits, targets):
    total = 0
    for scores, text in zip(logits, targets, strict=True):
        total = total + F.cross_entropy(scores, text)
        return total / len(logits)


@wrong("cross_entropy", "You use a sigmoid")
def each_score_by_itself(logits, targets):
    return -logits.sigmoid().log().gather(-1, targets[..., None]).mean()


@wrong("cross_entropy", "A binary cross entropy asks")
def many_labels(logits, targets):
    truth = F.one_hot(targets, logits.shape[-1]).float()
    return nn.BCEWithLogitsLoss()(logits, truth)


@wrong("cross_entropy", "You subtract the largest score")
def distance_to_the_best(logits, targets):
    return (logits.max(-1).values - logits.gather(-1, targets[..., None])[..., 0]).mean()


@wrong("cross_entropy", "a softmax divides by their sum")
def mean_inside_the_logarithm(logits, targets):
    scores = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return (torch.log(logits.exp().mean(-1)) - scores).mean()


@wrong("cross_entropy", "The logarithm of the sum is missing")
def sum_of_exponentials_itself(logits, targets):
    scores = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return -(scores - logits.exp().sum(-1)).mean()


@wrong("cross_entropy", "surprise is the logarithm of that")
def inverse_probability(logits, targets):
    return (1 / logits.softmax(-1).gather(-1, targets[..., None])).mean()


@wrong("cross_entropy", "token 0 is a token like any other")
def padding_left_out(logits, targets):
    return F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=0)


@wrong("cross_entropy", "By [targets] you take whole texts")
def targets_as_index(logits, targets):
    logs = logits.log_softmax(-1)
    return -logs[targets].mean()


@wrong("cross_entropy", "By [:, targets] you take positions")
def targets_as_second_index(logits, targets):
    logs = logits.log_softmax(-1)
    return -logs[:, targets].mean()


@wrong("cross_entropy", "their shapes must fit")
def three_indices(logits, targets):
    B, T, _ = logits.shape
    return -logits.log_softmax(-1)[torch.arange(B), torch.arange(T), targets].mean()


def loop(surprises):
    total = 0
    for surprise in surprises.flatten():
        total += surprise
        return math.exp(total / surprises.numel())


def overwritten(surprises):
    for surprise in surprises.flatten():
        total = surprise
    return math.exp(total / surprises.numel())


for _told, _perplexity in {
    "divide by the size of the last axis only": lambda s: math.exp(s.sum() / s.shape[-1]),
    "and add these up": lambda s: s.exp().sum(),
    "as in an entropy": lambda s: math.exp((torch.exp(-s) * s).sum()),
    "to turn nats into bits, divide by it": lambda s: 2 ** (s.mean() * math.log(2)),
    "This is the mean in bits": lambda s: math.log2(math.exp(s.mean())),
    "let no `return` stand within the loop": loop,
    "Only the last surprise is left": overwritten,
    "rounded to a whole number before the exponential":
        lambda s: math.exp(s.sum() // s.numel()),
    "The mean is rounded": lambda s: math.exp(int(s.mean())),
    "You multiply e by the mean": lambda s: math.e * s.mean(),
    "You take a softmax of the surprises": lambda s: s.softmax(-1).mean().exp(),
    "nor take their logarithm": lambda s: s.log().mean().exp(),
    "You divide by one less than there are": lambda s: (s.sum() / (s.numel() - 1)).exp(),
    "You leave out the first surprise": lambda s: torch.exp(s.flatten()[1:].mean()),
}.items():
    wrong("perplexity", _told)(_perplexity)


def step_with(loss_of, returned=lambda loss: loss):
    """A step with another loss, and perhaps another one returned."""
    def step(model, optimizer, inputs, targets, clip_norm):
        optimizer.zero_grad()
        loss = loss_of(model(inputs), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        return returned(loss.item())
    return step


for _told, _losses in {
    "too large by the factor inputs.shape[0]": (
        lambda scores, targets: next_token_loss(scores, targets) * len(targets),),
    "the gradient is 0.25 times as long": (
        lambda scores, targets: next_token_loss(scores, targets) / 4, lambda loss: 4 * loss),
    "The weights move uphill": (
        lambda scores, targets: -next_token_loss(scores, targets), lambda loss: -loss),
    "You divide by the number of all targets": (
        lambda scores, targets: F.cross_entropy(
            scores.flatten(0, 1), targets.flatten(), reduction="none").mean(),),
}.items():
    wrong("train_step", _told)(step_with(*_losses))


@wrong("train_step", "You divide by the number of all targets")
def sum_divided_at_the_end(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum")
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item() / targets.numel()


@wrong("cross_entropy", "Only the first token of each text counts")
def first_column(logits, targets):
    return F.cross_entropy(logits[:, 0], targets[:, 0])


@wrong("cross_entropy", "Only the last text of the batch counts")
def overwritten_text_by_text(logits, targets):
    for scores, text in zip(logits, targets, strict=True):
        loss = F.cross_entropy(scores, text)
    return loss


@wrong("cross_entropy", "the sum over all positions of a text")
def softmax_of_a_whole_text(logits, targets):
    probabilities = logits.exp() / logits.exp().sum(dim=(1, 2), keepdim=True)
    return -probabilities.gather(-1, targets[..., None]).log().mean()


@wrong("train_step", "you return a string, but must return one number.")
def loss_as_text(model, optimizer, inputs, targets, clip_norm):
    loss = step_with(next_token_loss)(model, optimizer, inputs, targets, clip_norm)
    return f"{loss:.3f}"


@wrong("perplexity", "You divide after 2 is raised")
def brackets_around_the_bits(surprises):
    return 2 ** surprises.mean() / math.log(2)


def step_cut_by(factor):
    """A step that cuts the gradient by itself, by a factor made of its numbers and clip_norm."""
    def step(model, optimizer, inputs, targets, clip_norm):
        optimizer.zero_grad()
        loss = next_token_loss(model(inputs), targets)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        if gradient.norm() > clip_norm:
            for p in model.parameters():
                p.grad *= factor(gradient, clip_norm)
        optimizer.step()
        return loss.item()
    return step


for _told, _factor in {
    "long when optimizer.step() uses it, but clip_norm is 0.25": lambda g, clip: g.norm() / clip,
    "but clip_norm is 0.25: after backward and before step": lambda g, clip: 1 / g.norm(),
    "instead of 0.25: where the root": lambda g, clip: clip / g.abs().sum(),
}.items():
    wrong("train_step", _told)(step_cut_by(_factor))


@wrong("perplexity", "average all of them at once")
def exponential_of_all(surprises):
    return math.exp(surprises)


@wrong("perplexity", "average all of them at once")
def by_pythons_sum(surprises):
    return math.exp(sum(surprises) / len(surprises))


@wrong("perplexity", "Base and exponent are swapped")
def mean_to_the_power_of_e(surprises):
    return surprises.mean() ** math.e


@wrong("train_step", "it takes the scores first, which the model computes")
def targets_as_scores(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(targets, model(inputs))
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item()


@wrong("learning_rate", "The operator // rounds the rates of the warm-up down")
def climb_in_whole_numbers(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) // warmup_steps
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)
    return peak * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)


@wrong("learning_rate", "The wave takes the place of the warm-up")
def wave_from_the_first_step(step, steps, warmup_steps, peak):
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)
    return peak * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)


@wrong("cross_entropy", "it belongs at the end")
def new_axis_in_front(logits, targets):
    return -logits.log_softmax(dim=-1).gather(-1, targets[None]).mean()


@wrong("cross_entropy", "a logarithm of zero or of a negative number")
def logarithm_of_logarithm(logits, targets):
    return -logits.log_softmax(dim=-1).gather(-1, targets[..., None]).log().mean()


@wrong("train_step", "backward belongs to the loss")
def backward_by_the_optimizer(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    optimizer.backward(loss)
    optimizer.step()
    return loss.item()


@wrong("train_step", "The model takes the inputs only")
def loss_from_the_model(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = model(inputs, targets)
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("train_step", "clip_grad_norm_ takes the parameters first")
def clipped_the_wrong_way_around(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    nn.utils.clip_grad_norm_(clip_norm, model.parameters())
    optimizer.step()
    return loss.item()


@wrong("train_step", "must be called before it, with its round brackets")
def backward_without_brackets(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward  # noqa: B018
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item()


def with_progress(progress):
    """The schedule with a progress of one's own."""
    def rate(step, steps, warmup_steps, peak):
        if step < warmup_steps:
            return peak * (step + 1) / warmup_steps
        share = progress(step, steps, warmup_steps)
        return peak * (0.1 + 0.9 * (1 + math.cos(math.pi * share)) / 2)
    return rate


wrong("learning_rate", "divide by max(1, ...)")(
    with_progress(lambda step, steps, warm: (step - warm) / (steps - 1 - warm)))
wrong("learning_rate", "must arrive at a tenth of the peak (for peak = 2 at 0.2, and not at 1.1)")(
    with_progress(lambda step, steps, warm: (step - warm) / max(2, steps - 1 - warm)))
wrong("learning_rate", "leave out the + 1")(
    with_progress(lambda step, steps, warm: (step + 1 - warm) / max(1, steps - 1 - warm)))


@wrong("learning_rate", "You halve the cosine, but forget the 1")
def half_a_cosine(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)
    return peak * (0.1 + 0.9 * 0.5 * math.cos(math.pi * progress))


@wrong("learning_rate", "The warm-up ends one step too early")
def warm_up_cut_short(step, steps, warmup_steps, peak):
    if step < warmup_steps - 1:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)
    return peak * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)


@wrong("train_step", "The model is never called")
def loss_of_the_ids(model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = next_token_loss(inputs, targets)
    loss.backward()
    optimizer.step()
    return loss.item()
