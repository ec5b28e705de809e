"""Answers to the exercises of chapter 13."""

import torch
import torch.distributed as dist
from collecting import right, wrong_edits
from torch.distributed import all_reduce

# ---------------------------------------------------------------------------- average_gradients


@right("average_gradients")
def by_name(model, processes):
    for parameter in model.parameters():
        if parameter.grad is None:
            continue
        all_reduce(parameter.grad, op=dist.ReduceOp.SUM)
        parameter.grad.div_(processes)


@right("average_gradients")
def divided_first(model, processes):
    for _, parameter in model.named_parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(1 / processes)
            dist.all_reduce(parameter.grad)


@right("average_gradients")
def in_one_tensor(model, processes):
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    start = 0
    for gradient in gradients:
        end = start + gradient.numel()
        gradient.copy_(flat[start:end].view_as(gradient) / processes)
        start = end


@right("average_gradients")
def all_on_their_way_at_once(model, processes):
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    sent = [dist.all_reduce(gradient, async_op=True) for gradient in gradients]
    for work, gradient in zip(sent, gradients, strict=True):
        work.wait()
        gradient /= processes


@right("average_gradients")
def gathered_in_a_list(model, processes):
    for parameter in model.parameters():
        if parameter.grad is not None:
            every = [torch.empty_like(parameter.grad) for _ in range(dist.get_world_size())]
            dist.all_gather(every, parameter.grad)
            parameter.grad = torch.stack(every).mean(dim=0)


@right("average_gradients")
def in_new_tensors(model, processes):
    for parameter in model.parameters():
        if parameter.grad is not None:
            total = parameter.grad.clone()
            dist.all_reduce(total)
            parameter.grad = total / processes
    return model


_ADD = "torch.distributed.all_reduce(parameter.grad)"
_DIVIDE = "parameter.grad /= processes"
_BOTH = f"            {_ADD}     # the sum, for every process\n            {_DIVIDE}\n"

wrong_edits(
    "average_gradients",
    (_DIVIDE, "pass", "That's the sum over all processes"),
    (_DIVIDE, "parameter.grad / processes", "That's the sum over all processes"),
    (_DIVIDE, "parameter.grad /= 2 * processes", "another number than that of the processes"),
    (_DIVIDE, "parameter.grad /= 2", "is divided by 2 in every trial"),
    (_DIVIDE, "parameter.grad /= len(parameter)", "the mean of all processes is"),
    (_DIVIDE, "parameter.grad /= processes**2", "once more: once is enough"),
    (_ADD, "pass", "nobody adds them up"),
    (_BOTH, "            gradient = parameter.grad.clone()\n"
            "            torch.distributed.all_reduce(gradient)\n"
            "            gradient = gradient / processes\n", "The gradients are as they were"),
    (_BOTH, "            torch.distributed.all_reduce(parameter)\n"
            "            parameter /= processes\n", "leaf Variable"),
    (_BOTH, "            torch.distributed.all_reduce(parameter.data)\n"
            "            parameter.data /= processes\n", "average parameter.grad"),
    (_BOTH, "            torch.distributed.all_reduce(parameter.data)\n", "You change the weights"),
    (_ADD, "parameter.grad = torch.distributed.all_reduce(parameter.grad)", "returns is None"),
    (_BOTH, f"            parameter.grad = {_ADD}\n", "returns None"),
    (_ADD, "torch.distributed.all_reduce(parameter.grad.clone())", "nobody adds them up"),
    (_BOTH, f"            {_ADD}\n            {_DIVIDE}\n            break\n",
     "go through every parameter"),
    (_BOTH, f"            {_ADD}\n            {_DIVIDE}\n            return\n",
     "go through every parameter"),
    (_BOTH, f"            if torch.distributed.get_rank() == 0:\n                {_ADD}\n",
     "would wait without end"),
    (_BOTH, f"            if torch.distributed.get_rank() == 0:\n                {_DIVIDE}\n",
     "have different gradients"),
    ("        if parameter.grad is not None:\n", "        if parameter.grad is None:\n",
     "The gradients are as they were"),
    ("        if parameter.grad is not None:\n", "        if parameter.requires_grad:\n"
     "            parameter.grad = None\n        if False:\n", "has no gradient any more"),
    (_BOTH, "            total = parameter.grad.sum()\n"
            "            torch.distributed.all_reduce(total)\n"
            "            parameter.grad = total / processes\n", "assign a gradient of size"),
)

# ---------------------------------------------------------------------------------- shared_step

_MEAN = """\
    for parameter in model.parameters():
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= processes
"""
_CLIP = "    nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"


@right("shared_step")
def with_rows_side_by_side(model, optimizer, inputs, targets, rank, processes):
    share = len(inputs) // processes
    rows = slice(rank * share, (rank + 1) * share)
    loss = torch.nn.functional.cross_entropy(
        model(inputs[rows]).flatten(0, 1), targets[rows].flatten())
    model.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= processes
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


wrong_edits(
    "shared_step",
    (_MEAN + _CLIP, _CLIP + _MEAN, "The bug is still in there"),
    (_MEAN + _CLIP, _CLIP + _MEAN + _CLIP, "weights["),
    (_CLIP, "", "Nothing cuts a long gradient"),
    ("        parameter.grad /= processes\n", "", "the sum of all gradients"),
    (_MEAN, "    if rank == 0:\n" + "".join(
        f"    {line}\n" for line in _MEAN.splitlines()), "would wait without end"),
    ("inputs[rank::processes], targets[rank::processes]", "inputs, targets", "nothing is gained"),
    ("    optimizer.step()\n", "", "weights["),
)
