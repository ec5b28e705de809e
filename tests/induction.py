"""A model of two blocks whose weights are written by hand, so that what each head does is known.

The stream has three parts, one number for each possible value: which token this is, where it
stands, and which token stood before it. Head (0, 0) looks at the place before and writes its token
into the third part. Head (1, 1) looks for places whose third part is its own token, and writes
their token into the first part, three times as large: the text goes on as it did before. The other
two heads see everything alike and write nothing; so does the feed-forward network.
"""

import torch

from gptlib.config import GPTConfig
from gptlib.model import GPTModel

V, PLACES, SHARPNESS = 14, 12, 30.0
CONFIG = GPTConfig(
    vocab_size=V, context_length=PLACES, emb_dim=V + PLACES + V, n_heads=2, n_layers=2,
    drop_rate=0.0, qkv_bias=False, norm="rms",
)
TOKEN, PLACE, BEFORE = slice(0, V), slice(V, V + PLACES), slice(V + PLACES, 2 * V + PLACES)
PREVIOUS_TOKEN_HEAD, INDUCTION_HEAD, IDLE_HEADS = (0, 0), (1, 1), [(0, 1), (1, 0)]


@torch.no_grad()
def hand_built_model() -> GPTModel:
    model = GPTModel(CONFIG).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.zero_()
    tokens, places, D = torch.eye(V), torch.eye(PLACES), CONFIG.head_dim
    model.token_embedding.weight[:, TOKEN] = tokens
    model.position_embedding.weight[:, PLACE] = places
    model.output_head.weight[:, TOKEN] = 10 * tokens

    attention = model.blocks[0].attention                        # head 0: the first D numbers
    attention.query.weight[:PLACES, PLACE] = SHARPNESS * places
    attention.key.weight[1:PLACES, PLACE] = places[:-1]          # found as the one before the next
    attention.value.weight[:V, TOKEN] = tokens
    attention.output.weight[BEFORE, :V] = tokens * root_mean_square(2)

    attention = model.blocks[1].attention                        # head 1: the last D numbers
    attention.query.weight[D : D + V, TOKEN] = SHARPNESS * tokens
    attention.key.weight[D : D + V, BEFORE] = tokens
    attention.key.weight[D : D + V, PLACE.start] = -1            # before place 0 stands nothing
    attention.value.weight[D : D + V, TOKEN] = tokens
    attention.output.weight[TOKEN, D : D + V] = 3 * tokens * root_mean_square(3)
    return model


def root_mean_square(ones: int) -> float:
    """Of a stream in which so many numbers are 1 and the others 0: what the norm divides by."""
    return (ones / CONFIG.emb_dim) ** 0.5


def repeated(period: int, count: int) -> torch.Tensor:
    """Texts of different tokens, twice in a row.  -> (count, 2 · period)"""
    generator = torch.Generator().manual_seed(0)
    once = torch.stack([torch.randperm(V, generator=generator)[:period] for _ in range(count)])
    return torch.cat([once, once], dim=1)
