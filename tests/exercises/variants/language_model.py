"""Answers about batches and surprise, as learners write them."""

import random

import torch
import torch.nn.functional as F
from collecting import right, wrong_edits

from gptcourse.gpt import batch, next_token_loss

# --------------------------------------------------------------------------------------- batch


@right("batch")
def two_lists_of_slices(ids, batch_size, context_length, generator=None):
    inputs, targets = [], []
    for _ in range(batch_size):
        start = torch.randint(0, len(ids) - context_length, (1,), generator=generator).item()
        inputs.append(ids[start : start + context_length])
        targets.append(ids[start + 1 : start + context_length + 1])
    return torch.stack(inputs), torch.stack(targets)


@right("batch")
def a_table_of_places(ids, batch_size, context_length, generator=None):
    starts = torch.rand(batch_size, generator=generator) * (ids.numel() - context_length)
    places = starts.long()[:, None] + torch.arange(context_length)
    return [ids[places], ids[places + 1].int()]


@right("batch")
def pythons_own_chance_from_the_generator(ids, batch_size, context_length, generator=None):
    chance = random.Random(torch.empty((), dtype=torch.int64).random_(generator=generator).item())
    starts = [chance.randint(0, len(ids) - context_length - 1) for _ in range(batch_size)]
    inputs = [ids[start : start + context_length].tolist() for start in starts]
    targets = [ids[start + 1 : start + context_length + 1].tolist() for start in starts]
    return torch.tensor(inputs), torch.tensor(targets)


CUT, SPLIT = "ids[start : start + context_length + 1]", "windows[:, :-1], windows[:, 1:]"
DRAWN = "torch.randint(len(ids) - context_length, (batch_size,), generator=generator)"

wrong_edits(
    "batch",
    (SPLIT, "windows[:, :-1], windows[:, :-1].roll(-1, 1)", "right but the last place"),
    (SPLIT, "windows[:, :-1]", "must return 2 things"),
    (SPLIT, "windows[:, :-1].float(), windows[:, 1:].float()", "the dtype of your"),
    (SPLIT, "windows[:, :-1].tolist(), windows[:, 1:].tolist()", "must be a torch tensor"),
    (SPLIT, "windows[:, :-1], torch.zeros_like(windows[:, 1:])", "is not in ids"),
    (SPLIT, "windows[:, :-1], windows[:, 1:].flip(1)", "must stand 1 token after it"),
    (SPLIT, "windows[:, :-1], windows[:, 1:-1]", "the shape of your targets is (3, 3)"),
    (SPLIT, "windows[:, :-1].flatten(), windows[:, 1:].flatten()", "cut in another way"),
    (SPLIT, "windows[:, :-1].T, windows[:, 1:].T", "Two axes have changed places"),
    (SPLIT, "windows[:, :-1], windows.roll(-1, 0)[:, :-1]", "must stand 1 token after it"),
    (CUT, "ids[start : start + context_length + 2]", "One place too many along axis 1"),
    (CUT, "ids[start : start + context_length + 1 : 2]", "the shape of your inputs is"),
    (DRAWN, "[n % (len(ids) - context_length) for n in range(batch_size)]",
     "one window begins where, or soon after"),
    (DRAWN, "torch.randint(len(ids) - context_length, (1,), generator=generator).expand("
            "batch_size)", "all windows of a batch begin at the same place"),
    (DRAWN, "torch.randint(len(ids) - context_length, (1,), generator=generator)",
     "The result stays the same when batch_size changes"),
    (DRAWN, "torch.randint(len(ids) - context_length, (batch_size,))",
     "with the same generator, two calls draw different places"),
    (DRAWN, "[torch.manual_seed(0), torch.randint(len(ids) - context_length, (batch_size,))][1]",
     "whatever the generator, the same windows come"),
    (DRAWN, "torch.randint(len(ids) - context_length, (batch_size,), "
            "generator=generator and generator.manual_seed(generator.initial_seed()))",
     "go on with it as it is"),
    (DRAWN, "torch.randint(len(ids) - context_length, (batch_size,), generator=generator or "
            "torch.Generator().manual_seed(0))", "without a generator, the same windows"),
    (DRAWN, "torch.randperm(len(ids) - context_length, generator=generator)[:batch_size]",
     "the shape of your inputs is (1, 8)"),
    (DRAWN, "torch.randint(max(1, len(ids) - context_length - 1), (batch_size,), "
            "generator=generator)", "yours all begin at [0, 1, 2, 3]"),
    (DRAWN, "torch.randint(1, len(ids) - context_length, (batch_size,), generator=generator)",
     "random_ expects"),
)

# ----------------------------------------------------------------------------- next_token_loss


@right("next_token_loss")
def torchs_own(logits, targets):
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


@right("next_token_loss")
def with_loops(logits, targets):
    B, T = targets.shape
    total = 0
    for b in range(B):
        for t in range(T):
            row = logits[b, t]
            total = total + row.logsumexp(-1) - row[targets[b, t]]
    return total / (B * T)


@right("next_token_loss")
def by_one_hot(logits, targets):
    truth = F.one_hot(targets, logits.shape[-1]).to(logits)
    return -(truth * F.log_softmax(logits, dim=-1)).sum(-1).mean()


@right("next_token_loss")
def in_double_precision(logits, targets):
    x = logits.double() - logits.double().max(-1, keepdim=True).values
    logs = x - x.exp().sum(-1, keepdim=True).log()
    B, T = targets.shape
    return -logs[torch.arange(B)[:, None], torch.arange(T), targets].mean()


LOGS, PICKED = "logits.log_softmax(dim=-1)", ".gather(-1, targets[..., None])"
WHOLE = "-log_probabilities.gather(-1, targets[..., None]).mean()"
TORCHS = "nn.functional.cross_entropy({}, {})"
TRUTH = "nn.functional.one_hot(targets, logits.shape[-1])"


def torchs(scores="logits.flatten(0, 1)", targets="targets.flatten()", after=""):
    return WHOLE, TORCHS.format(scores, targets) + after


def looped(total, returned, stop="T"):
    return "", f"""    B, T = targets.shape
    logs, total = logits.log_softmax(dim=-1), 0
    for b in range(B):
        for t in range({stop}):
            total = {total}
    {returned}
"""


ONE = "total - logs[b, t, targets[b, t]]"

wrong_edits(
    "next_token_loss",
    (WHOLE, "-logits.softmax(dim=-1).gather(-1, targets[..., None]).log().mean()", "safely"),
    (LOGS, "logits.log_softmax(dim=0)", "a softmax over the vocabulary"),
    (*torchs("logits[:, :-1].flatten(0, 1)", "targets[:, 1:].flatten()"), "targets on by one"),
    (*torchs("logits[:, 1:].flatten(0, 1)", "targets[:, :-1].flatten()"), "the target before it"),
    (*torchs("logits.transpose(1, 2)", 'targets, reduction="none"'), "averaged or picked there"),
    (".mean()", ".sum(dim=1).mean()", "too large by the factor logits.shape[1]"),
    (WHOLE, f"-({TRUTH} * log_probabilities).mean()", "too small by the factor logits.shape[2]"),
    (LOGS, "logits.log_softmax(dim=-1).log()", "is nan"),
    (".mean()", ".mean().item()", "leave out .item()"),
    (LOGS, "logits.detach().log_softmax(dim=-1)", "no gradient reaches logits"),
    (LOGS, "logits.log_softmax(dim=-1) / math.log(2)", "to the base 2"),
    (LOGS, "logits.log_softmax(dim=-1) / math.log(10)", "to the base 10"),
    (".mean()", ".mean().reshape(1)", "must be (), that is one number"),
    (*torchs("logits.transpose(0, 1).flatten(0, 1)"), "do not belong together"),
    (*torchs(after=".exp()"), "one exp too many"),
    (WHOLE, f"(logits.softmax(dim=-1) - {TRUTH}).square().mean()", "the loss is"),
    (*torchs("logits[0]", "targets[0]"), "Only the first text of the batch counts"),
    (*torchs("logits[:, 0]", "targets[:, 0]"), "Only the first token of each text counts"),
    (LOGS, "(logits.softmax(dim=-1) + 1e-5).log()", "Nearly right, from the third digit on"),
    (*looped(ONE, "return total / (B * T)", "T - 1"), "The last token of each text is left out"),
    (*looped(ONE, "return total / (B * T)", "1, T"), "The first token of each text is left out"),
    (*looped(ONE, "    return total / (B * T)"), "let no `return` stand within it"),
    (*looped("-logs[b, t, targets[b, t]]", "return total / (B * T)"), "One single token decides"),
    (*looped("total + logs[b, t, targets[b, t]]", "return total / (B * T)"), "opposite sign"),
    (*torchs("logits.transpose(1, 2)", "targets, ignore_index=0"), "whatever its id"),
    (PICKED, "", "The result stays the same when targets changes"),
)

# --------------------------------------------------------------------------------- first_train


@right("first_train")
def steps_by_hand(model, ids, steps, batch_size, context_length, rate, generator=None):
    for _ in range(steps):
        inputs, targets = batch(ids, batch_size, context_length, generator)
        loss = next_token_loss(model(inputs), targets)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(model.parameters(), gradients, strict=True):
                weight -= rate * gradient
        yield loss.item()


@right("first_train")
def clears_after_the_step(model, ids, steps, batch_size, context_length, rate, generator=None):
    sgd = torch.optim.SGD(model.parameters(), rate)
    for _step in range(1, steps + 1):
        x, y = batch(ids, batch_size, context_length, generator=generator)
        loss = next_token_loss(model(x), y)
        loss.backward()
        sgd.step()
        sgd.zero_grad(set_to_none=True)
        yield float(loss)


@right("first_train")
def switches_the_mode_and_clears_by_hand(model, ids, steps, batch_size, context_length, rate,
                                         generator=None):
    for _ in range(steps):
        model.train()
        model.zero_grad()
        x, y = batch(ids, batch_size, context_length, generator)
        loss = next_token_loss(model(x), y)
        loss.backward()
        for weight in model.parameters():
            weight.data -= rate * weight.grad
        model.eval()
        yield loss.item()


STEP, CLEAR = "        optimizer.step()\n", "        optimizer.zero_grad()\n"
SGD, BACK = "torch.optim.SGD(model.parameters(), lr=rate)", "        loss.backward()\n"
WINDOWS = "        inputs, targets = batch(ids, batch_size, context_length, generator)\n"

wrong_edits(
    "first_train",
    (CLEAR, "", "backward adds to the gradient that is there"),
    (CLEAR + BACK, BACK + CLEAR, "finds no gradient, or only zeros"),
    (STEP, "", "No optimizer takes a step"),
    (STEP, STEP + STEP, "The optimizer takes"),
    (SGD, "torch.optim.AdamW(model.parameters(), lr=rate)", "must be torch.optim.SGD"),
    (SGD, "torch.optim.SGD(model.parameters())", "give the optimizer lr=rate"),
    (SGD, "torch.optim.SGD(model.parameters(), lr=-rate)", "Invalid learning rate"),
    (SGD, "torch.optim.SGD(model.parameters(), lr=rate, weight_decay=0.1)",
     "SGD has momentum=0 and weight_decay=0.1, but must have momentum=0 and weight_decay=0."),
    (BACK, "        (-loss).backward()\n", "move uphill"),
    (WINDOWS, WINDOWS.replace(", generator)", ")"),
     "other windows than batch draws: call batch once for each step, and hand it the generator"),
    ("    for _ in range(steps):\n" + WINDOWS, WINDOWS[4:] + "    for _ in range(steps):\n",
     "Each step reads the same batch"),
    ("model(inputs)", "model(targets)", "The model reads the targets"),
    ("range(steps)", "range(steps - 1)", "but must yield one for each"),
    ("        yield loss.item()\n", "        yield loss\n", "yield a plain number"),
    ("        yield loss.item()\n", "    return loss.item()\n", "must hand out a loss"),
    ("        yield loss.item()\n", "    yield loss.item()\n", "inside of the loop"),
    (CLEAR + BACK + STEP, BACK + "        with torch.no_grad():\n            "
     "for weight in model.parameters():\n                weight -= rate * weight.grad\n",
     "does each step begin with a fresh gradient"),
)

LOOP = """    surprises = []
    for t in range({}):
        log_probabilities = logits[:, {}].log_softmax(dim=-1)
        surprises.append(-log_probabilities.gather(-1, targets[:, {}, None]))
    return torch.cat(surprises).mean()
"""

wrong_edits(
    "copycat",
    ("", LOOP.format("targets.shape[1]", "t", "t - 1"), "the target before it"),
    ("", LOOP.format("1, targets.shape[1]", "t", "t"), "The first token of each text is left out"),
    ("", LOOP.format("targets.shape[1] - 1", "t", "t + 1"), "move the targets on by one"),
)

# ------------------------------------------------------------------------------ first_generate


@right("first_generate")
@torch.no_grad()
def the_last_token_is_enough(model, ids, n_tokens, stop=None, generator=None):
    token = ids[-1]
    for _ in range(n_tokens):
        chances = F.softmax(model(torch.tensor([[token]]))[0, 0], dim=0)
        token = int(torch.multinomial(chances, 1, generator=generator))
        if stop is not None and token == stop:
            break
        yield token


@right("first_generate")
@torch.no_grad()
def a_tensor_that_grows(model, ids, n_tokens, stop=None, generator=None):
    row = torch.as_tensor(ids)[None]
    for _ in range(n_tokens):
        new = torch.multinomial(model(row)[:, -1].softmax(-1), 1, generator=generator)
        if new.item() == stop:
            return
        row = torch.cat([row, new], dim=1)
        yield new.item()


@right("first_generate")
def detached_exponentials(model, ids, n_tokens, stop=None, generator=None):
    text = [*ids]
    while len(text) < len(ids) + n_tokens:
        scores = model(torch.tensor(text)[None, :]).detach()[0][-1]
        chances = scores.exp() / scores.exp().sum()
        text.append(torch.multinomial(chances, num_samples=1, generator=generator).tolist()[0])
        if text[-1] == stop:
            return
        yield text[-1]


DRAW = "torch.multinomial(logits.softmax(dim=-1), 1, generator=generator).item()"

wrong_edits(
    "first_generate",
    ("    ids = list(ids)\n", "", "it changes its input ids"),
    (DRAW, "torch.multinomial(logits.softmax(dim=-1), 1).item()", "Even the first token differs"),
    (DRAW, "torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)", "a token id"),
    ("range(n_tokens)", "range(n_tokens - 1)", "but it should be"),
    ("range(n_tokens)", "range(n_tokens + 1)", "but it should be"),
    ("        ids.append(token)\n", "        ids = [token, *ids]\n", "so append what you draw"),
    ("        yield token\n", "        yield ids\n", "must hold a token id"),
    ("        yield token\n", "        return token\n", "write `yield token` inside of the loop"),
    ("        ids.append(token)\n", "        ids.append(0)\n", "then they go astray"),
)
