"""Training and decoding speed beside two peers, and beside what this machine can do at most.

    python benchmarks/speed.py [--rounds 15] [--settings]

The peers are `transformers` (the extra `test`) and, where it is installed, `llms-from-scratch`
(without its dependencies: pip install --no-deps llms-from-scratch==1.0.19). All do the same work:
the same shapes, float32, no dropout, AdamW, clipping at 1, one after the other in turns.
With --settings only the library itself: what bf16, compilation and dropout bring or cost.
"""

from __future__ import annotations

import argparse
import statistics
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from timing import in_turns, median_ratio
from torch import nn

from gptlib.config import GPT_CONFIG_124M, GPTConfig
from gptlib.devices import best_device
from gptlib.generation import generate
from gptlib.model import GPTModel, count_parameters
from gptlib.training import TrainConfig, TrainingRun

TRAINING_SIZES = {
    "0.8M": ({"emb_dim": 128, "n_heads": 4, "n_layers": 4, "context_length": 64}, 12),
    "3M": ({"emb_dim": 192, "n_heads": 6, "n_layers": 6, "context_length": 128}, 16),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--settings", action="store_true")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if arguments.settings:
        for name, (shape, batch_size) in TRAINING_SIZES.items():
            settings(name, shape, batch_size, rounds)
        return
    for name, (shape, batch_size) in TRAINING_SIZES.items():
        training(name, shape, batch_size, rounds)
    decoding(rounds=max(3, rounds // 3))


def training(name: str, shape: dict, batch_size: int, rounds: int) -> None:
    config = GPTConfig(vocab_size=65, drop_rate=0.0, qkv_bias=False, **shape)
    T, per_step, turn = config.context_length, batch_size * config.context_length, 10
    ids = torch.randint(config.vocab_size, (per_step * 50,))
    steps = TrainConfig(steps=10**6, batch_size=batch_size, evaluate_every=10**6)
    run = TrainingRun(GPTModel(config), ids, None, steps, device="cpu")
    x, y = run.batches.at(0)

    def ours() -> None:
        for _ in range(turn):
            next(run)

    contestants = {
        "gptlib": ours,
        "transformers": peer_steps(transformers_model(config), x, y, turn),
        "matrix products alone": matrix_products(config, batch_size, turn),
    }
    if find_spec("llms_from_scratch"):
        contestants["llms-from-scratch"] = peer_steps(llms_from_scratch_model(config), x, y, turn)
    seconds = in_turns(contestants, rounds)
    print(f"\nTraining, {name}: {count_parameters(run.model):,} parameters, "
          f"T {T}, B {batch_size}, tokens/s")
    for contestant, times in seconds.items():
        rate = turn * per_step / statistics.median(times)
        ratio = median_ratio(times, seconds["gptlib"])
        print(f"  {contestant:24}{rate:10,.0f}   gptlib is {ratio:.2f} x as fast")


def settings(name: str, shape: dict, batch_size: int, rounds: int) -> None:
    """The same steps with one setting changed, on the best device, beside the plain ones."""
    turn, per_step = 10, batch_size * shape["context_length"]

    def steps(drop_rate: float = 0.0, **changes):
        config = GPTConfig(vocab_size=65, drop_rate=drop_rate, qkv_bias=False, **shape)
        ids = torch.randint(config.vocab_size, (per_step * 50,))
        train = TrainConfig(10**6, batch_size, evaluate_every=10**6, **changes)
        run = TrainingRun(GPTModel(config), ids, None, train)

        def take() -> None:
            for _ in range(turn):
                next(run)

        return take

    seconds = in_turns({
        "float32": steps(), "bf16": steps(precision="bf16"), "compiled": steps(compile=True),
        "bf16, compiled": steps(precision="bf16", compile=True), "dropout 0.1": steps(0.1),
    }, rounds)
    print(f"\nOne setting changed, {name}, on {best_device()}, tokens/s")
    for setting, times in seconds.items():
        rate = turn * per_step / statistics.median(times)
        ratio = median_ratio(seconds["float32"], times)
        print(f"  {setting:24}{rate:10,.0f}   {ratio:.2f} x float32")


def peer_steps(model: nn.Module, x: torch.Tensor, y: torch.Tensor, turn: int):
    """The same step as ours for a model that maps ids to logits."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.99), fused=True)
    model.train()

    def steps() -> None:
        for _ in range(turn):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
            optimizer.step()
            loss.item()

    return steps


def transformers_model(config: GPTConfig) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.gpt2 = GPT2LMHeadModel(GPT2Config(
                vocab_size=config.vocab_size, n_positions=config.context_length,
                n_embd=config.emb_dim, n_layer=config.n_layers, n_head=config.n_heads,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, tie_word_embeddings=False,
                bos_token_id=None, eos_token_id=None,
            ))

        def forward(self, ids):
            return self.gpt2(ids, use_cache=False).logits

    return Logits()


def llms_from_scratch_model(config: GPTConfig) -> nn.Module:
    from llms_from_scratch.ch04 import GPTModel as PeerModel

    return PeerModel(config.to_dict())


def matrix_products(config: GPTConfig, batch_size: int, turn: int):
    """Only the matrix products of a step, forward and backward, as bare `@`.

    Attention's own count in full, as a mask saves no product there.
    """
    C, V, T = config.emb_dim, config.vocab_size, config.context_length
    tokens, heads = batch_size * T, (batch_size, config.n_heads)
    shapes = [(C, C)] * 4 * config.n_layers + [(C, 4 * C), (4 * C, C)] * config.n_layers + [(C, V)]
    work = [(torch.randn(tokens, a), torch.randn(a, b), torch.randn(tokens, b)) for a, b in shapes]
    for a, b in [(config.head_dim, T), (T, config.head_dim)] * config.n_layers:
        work.append([torch.randn(*heads, *size) for size in ((T, a), (a, b), (T, b))])

    def products() -> None:
        for _ in range(turn):
            for x, w, gradient in work:
                x @ w
                gradient @ w.mT
                x.mT @ gradient

    return products


def decoding(rounds: int, new_tokens: int = 32, prompt_length: int = 16) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPTConfig.of(GPT_CONFIG_124M)
    ours = GPTModel(config).eval()
    theirs = GPT2LMHeadModel(GPT2Config(tie_word_embeddings=False)).eval()
    theirs.generation_config.eos_token_id = None
    prompt = torch.randint(config.vocab_size, (1, prompt_length))
    looked_up = ours.token_embedding.weight.numel() + ours.position_embedding.weight.numel()
    weight_bytes = 4 * (count_parameters(ours) - looked_up)  # what each token must read
    source = torch.randn(weight_bytes // 4)
    target = torch.empty_like(source)

    def generate_ours() -> None:
        for _ in generate(ours, prompt.tolist(), new_tokens, temperature=0):
            pass

    def generate_theirs() -> None:
        theirs.generate(prompt, do_sample=False, max_new_tokens=new_tokens, pad_token_id=0,
                        attention_mask=torch.ones_like(prompt))

    def read_memory() -> None:
        for _ in range(new_tokens):
            source.sum()

    def copy_memory() -> None:
        target.copy_(source)

    seconds = in_turns({"gptlib": generate_ours, "transformers": generate_theirs,
                        "memory read": read_memory, "memory copy": copy_memory}, rounds)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    read = weight_bytes * new_tokens / median["memory read"]
    copied = 2 * weight_bytes / median["memory copy"]
    limit = copied / weight_bytes
    print(f"\nDecoding with cache, GPT_CONFIG_124M, {weight_bytes / 1e6:.0f} MB of weights to read "
          "for each token, tokens/s")
    for name in ("gptlib", "transformers"):
        ratio = median_ratio(seconds[name], seconds["gptlib"])
        rate = new_tokens / median[name]
        print(f"  {name:24}{rate:10.1f}   gptlib is {ratio:.2f} x as fast"
              f"   {rate / limit:.0%} of the bandwidth limit")
    print(f"  memory: reads {read / 1e9:.1f} GB/s, copies {copied / 1e9:.1f} GB/s (read + write);"
          f" at the latter rate the weights pass {limit:.1f} times a second")


if __name__ == "__main__":
    main()
