"""One run, many processes: each computes its part of every batch on its own device.

`torchrun --nproc_per_node=2 -m gptlib.train ...` starts them. What they exchange, and how, is
torch's work: gradients by DistributedDataParallel, or weights and gradients by FSDP2.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from gptlib.checks import shown


def best_device() -> torch.device:
    """The fastest device of this machine: an NVIDIA GPU, an Apple chip, or else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """The processes that share a run, as one of them sees it. By default it is alone."""

    device: torch.device
    rank: int = 0        # this one's number, from 0
    count: int = 1       # how many there are
    shard: bool = False  # whether each keeps only its part of the weights, or all of them

    @classmethod
    def of(cls, device: torch.device | str | Processes) -> Processes:
        return device if isinstance(device, cls) else cls(torch.device(device))

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    @property
    def own_seed(self) -> tuple[int, ...]:
        """What this process adds to a seed, so that no two of them drop out the same numbers."""
        return (self.rank,) if self.rank else ()

    def check(self, batch_size: int, accumulation: int, optimizer: str) -> None:
        """Raise a ValueError where a batch cannot be shared in equal parts, or a weight in any."""
        if self.shard and optimizer == "muon":
            raise ValueError(
                "optimizer is muon, which looks at whole matrices, but shard leaves each process "
                "only a part of them: choose adamw, or leave shard out."
            )
        if batch_size % (self.count * accumulation):
            parts = f" in accumulation={accumulation} parts each" if accumulation > 1 else ""
            raise ValueError(
                f"batch_size={batch_size} windows cannot be shared equally by {self.count} "
                f"processes{parts}: choose a multiple of {self.count * accumulation}, or fewer "
                "processes."
            )

    def part_of(self, batch: Tensor) -> Tensor:
        """The windows of a batch that are this process's to compute.  (B, T) -> (B / count, T)"""
        return batch[self.rank :: self.count]

    def spread(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """The model on its device, to be called such that all gradients become averages."""
        if self.shard:
            _shard(model, self.device)
        model.to(self.device)
        if self.shard or self.count == 1:
            return model
        return nn.parallel.DistributedDataParallel(model)

    @contextmanager
    def exchanging(self, model: nn.Module, now: bool) -> Iterator[None]:
        """Whether the gradients of what is computed within become averages `now`, or are only added
        up, each process its own, until a later part of the same batch: meanwhile, with `shard`, it
        keeps those of all weights."""
        if self.shard:
            model.set_requires_gradient_sync(now)
        wait = nullcontext if self.shard or self.count == 1 or now else model.no_sync
        with wait():
            yield

    def sum(self, value: float) -> float:
        """The sum of everybody's values."""
        return self._together([value], dist.ReduceOp.SUM)[0]

    def anyone(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is true for any process: so all decide alike."""
        return [flag > 0 for flag in self._together(flags, dist.ReduceOp.MAX)]

    def first_does(self, work: Callable[[], None]) -> None:
        """Let the first process do some work while the others wait. Where it raises a ValueError,
        a TypeError or an OSError, the others end, too."""
        error = None
        if self.first:
            try:
                work()
            except (ValueError, TypeError, OSError) as raised:
                error = raised
        if self.anyone(error is not None)[0]:
            raise error or SystemExit(1)

    def _together(self, values, operation) -> list[float]:
        if self.count == 1:
            return list(values)
        together = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(together, operation)
        return together.tolist()

    def whole(self, tensor: Tensor) -> Tensor:
        """The tensor of which each process may have a part, gathered in the first one's memory;
        the others get an empty one, for theirs might be too small."""
        if not hasattr(tensor, "full_tensor"):
            return tensor
        gathered = tensor.full_tensor()
        return gathered.cpu() if self.first else gathered.new_empty(0)

    def like(self, parameter: Tensor, tensor: Tensor) -> Tensor:
        """`tensor`, the whole or this process's part, cut as `parameter` is; a number stays one."""
        if not self.shard or not tensor.dim() or hasattr(tensor, "full_tensor"):
            return tensor
        from torch.distributed.tensor import DTensor, distribute_tensor

        tensor, cut = tensor.to(self.device), (parameter.device_mesh, parameter.placements)
        if tensor.shape == parameter.shape:
            return distribute_tensor(tensor, *cut, src_data_rank=None)  # each has all of it
        size = {"shape": parameter.shape, "stride": parameter.stride()}
        return DTensor.from_local(tensor, *cut, **size)


def local(tensor: Tensor) -> Tensor:
    """What this process itself holds of a tensor."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def full(tensor: Tensor) -> Tensor:
    """What all processes hold of a tensor, put together by all of them."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _shard(model: nn.Module, device: torch.device) -> None:
    """Cut every weight in equal parts, one for each process; a block's are gathered while it works.

    Zhao et al. (2023), "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel".
    """
    from torch.distributed.fsdp import fully_shard

    mesh = dist.init_device_mesh(device.type, (dist.get_world_size(),))
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    # By default the rest stays whole until the backward pass; after an evaluation none would come.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)


@contextmanager
def joined(device: str | None, shard: bool = False) -> Iterator[Processes]:
    """Join the processes that torchrun started, if it did, and part from them in good order.

    Raises a ValueError for a device that is not there, and for a shard of a single process; an
    OSError where the others cannot be reached.
    """
    rank, count, here = (int(os.environ.get(name, default)) for name, default in (
        ("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    chosen = checked_device(device, here if count > 1 else None)
    if count == 1:
        if shard:
            raise ValueError(
                "shard spreads the weights over several processes, but this is a single one: start "
                "them with torchrun --nproc_per_node=2 -m gptlib.train, or leave it out."
            )
        yield Processes(chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    # After a restart on this machine, torchrun's store still has the addresses of those that ended
    # (github.com/pytorch/pytorch/issues/135712), so that each attempt needs names of its own.
    alone = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if alone else "0"
    try:
        store = dist.PrefixStore(attempt, next(rendezvous("env://"))[0])
        backend = "nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise OSError(
            f"Process {rank} could not meet the others at {where} ({shown(str(error), 120)}): the "
            "port may be in use; choose another with torchrun's --master-port."
        ) from None
    try:
        group = Processes(chosen, rank, count, shard)
        yield group
        group.anyone(False)  # nobody leaves while another still needs it
    finally:
        gc.collect()  # a model in a circle of references would hold the group's threads until exit
        dist.destroy_process_group()


def checked_device(name: str | None, number: int | None = None) -> torch.device:
    """The device of this name, the fastest one without a name. Where several processes share a
    machine, each has a `number`, and takes the GPU that has it.

    Raises a ValueError where there is no such device."""
    there = ["cpu"] + ["mps"] * torch.backends.mps.is_available()
    there += [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    name = name or best_device().type
    name = f"cuda:{number or 0}" if name == "cuda" else name
    if name not in there:
        fewer = ", or fewer processes, for each takes a GPU of its own" if number else ""
        raise ValueError(
            f"There is no device {shown(name)} here: choose from {', '.join(there)}{fewer}."
        )
    return torch.device(name)
