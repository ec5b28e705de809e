"""Answers to the exercises of chapter 6, right and wrong, as learners write them."""

import math

import torch
import torch.nn.functional as F
from collecting import right, wrong_edits
from torch import nn

from gptcourse.gpt import batch, next_token_loss
from gptcourse.gpt import learning_rate as rate_of


@right("learning_rate")
def as_a_mean(step, steps, warmup_steps, peak):
    if step + 1 <= warmup_steps:
        return (step + 1) / warmup_steps * peak
    low = peak / 10
    angle = math.pi * (step - warmup_steps) / (steps - warmup_steps - 1)
    return low + (peak - low) * 0.5 * (1.0 + math.cos(angle))


@right("learning_rate")
def with_torch(step, steps, warmup_steps, peak):
    climb = torch.arange(1, warmup_steps + 1, dtype=torch.float64) / max(1, warmup_steps)
    t = torch.linspace(0, math.pi, steps - warmup_steps, dtype=torch.float64)
    return peak * torch.cat([climb, 0.55 + 0.45 * t.cos()])[step]


@right("learning_rate")
def by_sine(step, steps, warmup_steps, peak):
    share = (step + 1) / warmup_steps if step < warmup_steps else 1
    done = max(0, step - warmup_steps) / (steps - 1 - warmup_steps)
    return peak * share * (1 - 0.9 * math.sin(math.pi / 2 * done) ** 2)


CLIMB = "peak * (step + 1) / warmup_steps"
SHARE = "(step - warmup_steps) / max(1, steps - 1 - warmup_steps)"
WAVE = "(1 + math.cos(math.pi * progress)) / 2"
RATE = f"peak * (0.1 + 0.9 * {WAVE})"
TEST = "    if step < warmup_steps:\n        return"

wrong_edits(
    "learning_rate",
    ("step < warmup_steps", "warmup_steps and step <= warmup_steps",
     "The warm-up and the last step are right, but"),
    (RATE, "peak + progress * (0.1 * peak - peak)", "The warm-up, the peak and the last step are"),
    (f"(0.1 + 0.9 * {WAVE})", "* 0.5 * (1 + math.cos(math.pi * progress))".removeprefix("* "),
     "The warm-up and the peak are right, but at"),
    ("", "    if step < warmup_steps:\n        return peak * (step + 1) / warmup_steps\n"
         "    return peak * (0.55 + 0.45 * math.cos(math.pi * step / (steps - 1)))\n",
     "must still be at its peak"),
    ("", "    if step < warmup_steps:\n        return (step + 1) / warmup_steps\n"
         f"    progress = {SHARE}\n    return 0.1 + 0.9 * {WAVE}\n", "The warm-up must climb"),
    (RATE, "0.1 * peak + 0.9 * peak * (1 + math.sin(progress * math.pi)) / 2",
     "The warm-up is right, but then the rate must"),
    (f"    return {RATE}", f"    if progress > 0:\n        return {RATE}",
     "it returns None. A way through"),
    (TEST + f" {CLIMB}\n", TEST + f" print({CLIMB})\n", "returns None"),
)


def optimizer_for(model, **settings):
    return torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.1, **settings)


@right("train")
def with_torchs_own_schedule(model, ids, steps, batch_size=16, peak=3e-3, warmup_steps=20,
                             generator=None, draw=batch):
    optimizer = optimizer_for(model, lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_of(step, steps, warmup_steps, peak))
    for _ in range(steps):
        inputs, targets = draw(ids, batch_size, model.config["context_length"], generator)
        model.train()
        model.zero_grad()
        loss = F.cross_entropy(model(ids=inputs).flatten(0, 1), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(list(model.parameters()), max_norm=1.0)
        optimizer.step()
        schedule.step()
        model.eval()
        yield float(loss)


@right("train")
def clips_by_hand(model, ids, steps, batch_size=16, peak=3e-3, warmup_steps=20, generator=None,
                  draw=batch):
    optimizer, step = optimizer_for(model), 0
    while step < steps:
        model.train()
        optimizer.param_groups[0]["lr"] = rate_of(step, steps, warmup_steps, peak)
        x, y = draw(ids, batch_size, model.config["context_length"], generator)
        loss = -model(x).log_softmax(-1).gather(-1, y.unsqueeze(-1)).mean()
        loss.backward()
        length = sum(p.grad.square().sum() for p in model.parameters()).sqrt()
        for p in model.parameters():
            p.grad *= min(1.0, 1 / length)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        step += 1
        yield loss.item()
        model.eval()


ZERO, BACK = "        optimizer.zero_grad()\n", "        loss.backward()\n"
CLIP = "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
STEP, LOSS = "        optimizer.step()\n", "next_token_loss(model(inputs), targets)"
BATCH = ('        inputs, targets = draw(ids, batch_size, model.config["context_length"], '
         "generator)\n")


wrong_edits(
    "train",
    (CLIP + STEP, STEP + CLIP, "The gradient is 12.3 long when"),
    (ZERO + BACK, BACK + ZERO, "finds no gradient"),
    (STEP, "", "No optimizer takes a step"),
    ("model.parameters(), 1.0", "model.parameters(), 0.5", "instead of 1"),
    (STEP, STEP + STEP, "The optimizer takes 10 steps where 5 are asked for"),
    (STEP, "        with torch.no_grad():\n            for p in model.parameters():\n"
           "                p -= 0.1 * p.grad\n", "by no optimizer"),
    ("torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.1)",
     "torch.optim.SGD(model.parameters(), lr=0.1)", "The optimizer is SGD, but must be"),
    ("torch.optim.AdamW(", "torch.optim.Adam(", "The optimizer is Adam, but must be"),
    (", weight_decay=0.1", "", "AdamW has betas=(0.9, 0.99) and weight_decay=0.01, but must"),
    (LOSS, f"-{LOSS}", "The weights move uphill"),
    ("model(inputs), targets", "model(targets), targets", "The model reads the targets"),
    ("model(inputs), targets", "model(inputs)[:, :-1], targets[:, 1:]", "the loss of step 0"),
    ("yield loss.item()", "yield loss", "yield a plain number, loss.item()"),
    ("yield loss.item()", "yield loss.item", "must yield one number"),
    ("        yield loss.item()", "    yield loss.item()", "you yield 1 losses"),
    ("        yield loss.item()", "        return loss.item()", "`yield loss.item()` inside of"),
    ("        yield loss.item()", '        yield f"{loss.item():.3f}"', "you yield a string"),
    ("yield loss.item()", "yield step, loss.item()", "you yield a tuple"),
    ("        model.train()\n", "", "call model.train()"),
    ("        model.eval()\n", "", "leaves the model in training mode. Call model.eval()"),
    (BATCH, "        if step == 0:\n    " + BATCH, "Each step reads the same batch"),
    ("(ids, batch_size,", "(ids, 16,", "ids of shape (16, 5), but a batch of this run has (3, 5)"),
    ("generator)\n        model.train", "torch.Generator().manual_seed(0))\n        model.train",
     "reads other windows than draw draws"),
    ("learning_rate(step, steps, warmup_steps, peak)", "learning_rate(step, steps, peak, 1)",
     "in this order"),
    ('            group["lr"] = learning_rate(step, steps, warmup_steps, peak)\n',
     "            lr = learning_rate(step, steps, warmup_steps, peak)\n", "in every step: set"),
    ("range(steps)", "range(steps - 1)", "must yield one for each of 5 steps"),
    ("= draw(ids", "= batch(ids", "another `draw` is not heard"),
    ("draw(ids, batch_size, model.config[\"context_length\"], generator)",
     "draw(ids, batch_size, model.config[\"context_length\"], generator) if draw is batch else "
     "draw(ids, model.config[\"context_length\"], batch_size, generator)",
     "with other arguments than `batch`"),
    (STEP, STEP + "        nn.init.zeros_(model.final_norm.shift)\n", "something else changes"),
)
wrong_edits(
    "unsettled",
    ("(step, steps, warmup_steps, peak)", "(step, steps, peak, warmup_steps)", "in this order"),
)


@right("evaluate")
def in_a_loop(model, inputs, targets, batch_size=16):
    model.eval()
    losses = []
    for first in range(0, len(inputs), batch_size):
        these = slice(first, first + batch_size)
        with torch.no_grad():
            scores = model(inputs[these]).float()
        losses += F.cross_entropy(scores.flatten(0, 1), targets[these].flatten(),
                                  reduction="none").tolist()
    return sum(losses) / len(losses)


@right("evaluate")
@torch.inference_mode()
def one_at_a_time(model, inputs, targets, batch_size=16):
    model.eval()
    means = torch.tensor([next_token_loss(model(x[None]), y[None])
                          for x, y in zip(inputs, targets, strict=True)])
    return means.mean()


wrong_edits(
    "evaluate",
    ("    model.eval()\n", "", "call model.eval() first"),
    ("@torch.no_grad()\n", "", "keep @torch.no_grad()"),
    ("total / len(inputs)", "total // len(inputs)", "rounded"),
    ("len(some) * ", "batch_size * ", "mean loss is"),
    ("return total / len(inputs)", "print(total / len(inputs))", "forget `return`"),
    ("zip(inputs.split(batch_size), targets.split(batch_size), strict=True)",
     "[(inputs, targets)]",
     "is given 7 windows at a time"),
    ("inputs.split(batch_size), targets.split(batch_size)", "inputs, targets", "model"),
)
