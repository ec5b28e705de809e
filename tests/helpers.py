"""Small models and texts that the tests share."""

import torch

from gptlib.config import GPTConfig
from gptlib.model import GPTModel

TINY = GPTConfig(
    vocab_size=61, context_length=24, emb_dim=32, n_heads=4, n_layers=2, drop_rate=0.0,
    qkv_bias=True,
)


def tiny_model(seed: int = 0, config: GPTConfig = TINY) -> GPTModel:
    torch.manual_seed(seed)
    return GPTModel(config).eval()


def random_ids(*shape: int, seed: int = 1, vocab_size: int = TINY.vocab_size) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocab_size, shape, generator=generator)


def lively_model(seed: int = 0, config: GPTConfig = TINY) -> GPTModel:
    """A model whose weights are far from their quiet start, so that differences show."""
    model = tiny_model(seed, config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model
