"""Training speed of GPT-2 124M on a GPU: tokens a second, and the share of what the GPU can do.

    python benchmarks/gpu.py [--batch-size 16] [--rounds 5]

In float32, with products in bf16, and compiled too, in turns with `transformers` where it is
installed (the extra `test`). Of nanoGPT there is only what its README says: that torch.compile cut
a step from about 250 ms to 135 ms, on which GPU and on what batch it does not say
(github.com/karpathy/nanoGPT, "efficiency notes"). Needs an NVIDIA GPU.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
from collections.abc import Callable
from importlib.util import find_spec

import torch
from speed import peer_steps, transformers_model
from timing import in_turns
from torch import nn

from gptlib.config import GPT_CONFIG_124M, GPTConfig
from gptlib.model import GPTModel, flops_per_token
from gptlib.train import peak_of
from gptlib.training import TrainConfig, TrainingRun

TURN = 10       # steps
SETTINGS = {"gptlib, float32": {}, "gptlib, bf16": {"precision": "bf16"},
            "gptlib, bf16, compiled": {"precision": "bf16", "compile": True}}


class InBF16(nn.Module):
    """A model whose products of matrices are in bfloat16, as those of a run are."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        with torch.autocast(ids.device.type, torch.bfloat16):
            return self.model(ids)


def contestants(config: GPTConfig, batch_size: int, device: str) -> dict[str, Callable[[], None]]:
    """What takes ten steps, by name."""
    ids = torch.randint(config.vocab_size, (20 * batch_size * config.context_length,))

    def ours(**settings) -> Callable[[], None]:
        steps = TrainConfig(10**6, batch_size, evaluate_every=10**6, **settings)
        run = TrainingRun(GPTModel(config), ids, None, steps, device)
        return lambda: [next(run) for _ in range(TURN)]

    found = {name: ours(**settings) for name, settings in SETTINGS.items()}
    if find_spec("transformers"):
        batch = ids[: batch_size * config.context_length].view(batch_size, -1).to(device)
        peer = transformers_model(config).to(device)
        for name, model in {"float32": peer, "bf16": InBF16(copy.deepcopy(peer))}.items():
            found[f"transformers, {name}"] = peer_steps(model, batch, batch.roll(-1, 1), TURN)
    return found


def line(name: str, config: GPTConfig, rate: float, peak: float | None) -> str:
    """A contestant's tokens a second, and what share that is of a peak in FLOPs a second."""
    used = 3 * flops_per_token(config) * rate            # forward and backward
    share = f"{used / peak:6.1%} of its bf16 peak" if peak else ""
    return f"{name:26}{rate:12,.0f} tokens/s {used / 1e12:8.2f} TFLOP/s {share}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=16, help="windows of 1,024 tokens")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("There is no NVIDIA GPU here, so there is nothing to measure: benchmarks/speed.py "
                 "is for processors.")
    gpu, config = torch.cuda.get_device_name(), GPTConfig.of({**GPT_CONFIG_124M, "drop_rate": 0.0})
    tokens = TURN * given.batch_size * config.context_length
    print(f"torch {torch.__version__}, {gpu}, B {given.batch_size}, T {config.context_length}")
    for name, seconds in in_turns(contestants(config, given.batch_size, "cuda"),
                                  given.rounds).items():
        print(line(name, config, tokens / statistics.median(seconds), peak_of(gpu)))


if __name__ == "__main__":
    main()
