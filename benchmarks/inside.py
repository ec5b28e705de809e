"""gptlib.inside beside TransformerLens on the same weights: activations, ablations, patches.

    python benchmarks/inside.py

Needs TransformerLens up to version 3, which brings some sixty packages: install it into an
environment of its own, by `pip install "transformer_lens<4" -e .`, and run this there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from gptlib.config import GPTConfig
from gptlib.corpus import storybook
from gptlib.data import join_documents
from gptlib.inside import (
    by_head,
    induction_score,
    logit_lens,
    other_rows,
    patching_map,
    repeated_nonsense,
    replace_heads,
    residual_stream,
    silence,
)
from gptlib.model import GPTModel
from gptlib.storyteller import storyteller
from gptlib.tap import patch, record
from gptlib.training import next_token_loss

# What both call the same, {layer} filled in; heads stand at another axis there.
OF_A_HEAD = {"queries": "q", "keys": "k", "values": "v", "head_outputs": "z"}
OTHERS = {
    "attention.weights": "attn.hook_pattern", "feed_forward.activations": "mlp.hook_post",
    "residual_mid": "hook_resid_mid", "residual_end": "hook_resid_post",
}


@torch.no_grad()
def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    small = GPTConfig(vocab_size=97, context_length=32, emb_dim=48, n_heads=4, n_layers=3,
                      drop_rate=0.0, qkv_bias=True)
    torch.manual_seed(0)
    lively = GPTModel(small).eval()
    for parameter in lively.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    compare("random weights, 3 layers of 4 heads", lively,
            torch.randint(97, (6, 24), generator=torch.Generator().manual_seed(1)))

    model, tokenizer = storyteller()
    told = [story.text for story in storybook.stories(40, seed=11, part="validation")]
    ids = torch.tensor(join_documents(told, tokenizer)[: 16 * 96]).view(16, 96)
    compare("the storyteller, 2 layers of 8 heads", model, ids)


def compare(title: str, model: GPTModel, ids: Tensor) -> None:
    """Print the largest difference of every kind."""
    theirs = as_hooked(model)
    logits, cache = theirs.run_with_cache(ids)
    with record(model) as activations:
        ours = model(ids)
    print(f"{title}; {tuple(ids.shape)} ids, largest difference")
    tell("logits", ours, logits)
    tell("activations by name", *in_a_row(activations, cache, model.config.n_layers))
    lens = theirs.unembed(cache.accumulated_resid(incl_mid=True, apply_ln=True))
    tell("logit lens at every layer", logit_lens(model, residual_stream(model, ids)), lens)
    for kind, values in replacements(by_head(model, ids, "head_outputs")).items():
        tell(f"loss, each head {kind}", *losses(model, theirs, ids, values))
    tell("induction score", *induction(model, theirs))
    tell("patching map", *patched(model, theirs, ids))


def tell(what: str, ours: Tensor, expected: Tensor) -> None:
    assert ours.shape == expected.shape, (what, ours.shape, expected.shape)
    print(f"  {what:34} {(ours - expected).abs().max():.1e} of {expected.abs().max():.1f}, "
          f"{expected.numel():,} numbers")


def as_hooked(model: GPTModel):
    """Their model with our weights."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    config, ours = model.config, model.state_dict()
    H, D = config.n_heads, config.head_dim
    theirs = HookedTransformer(HookedTransformerConfig(
        n_layers=config.n_layers, d_model=config.emb_dim, n_ctx=config.context_length, d_head=D,
        n_heads=H, d_vocab=config.vocab_size, act_fn="gelu_new", normalization_type="LN",
        eps=config.norm_eps, device="cpu",
    ))
    weights = {
        "embed.W_E": ours["token_embedding.weight"],
        "pos_embed.W_pos": ours["position_embedding.weight"],
        "ln_final.w": ours["final_norm.scale"], "ln_final.b": ours["final_norm.shift"],
        "unembed.W_U": ours["output_head.weight"].T,
    }
    for layer in range(config.n_layers):
        ours_at, theirs_at = f"blocks.{layer}.attention", f"blocks.{layer}.attn"
        for part in ("query", "key", "value"):
            letter = part[0].upper()
            weight = ours[f"{ours_at}.{part}.weight"]                            # (H · D, C)
            bias = ours.get(f"{ours_at}.{part}.bias", torch.zeros(H * D))        # (H · D)
            weights[f"{theirs_at}.W_{letter}"] = weight.view(H, D, -1).mT        # (H, C, D)
            weights[f"{theirs_at}.b_{letter}"] = bias.view(H, D)
        output = ours[f"{ours_at}.output.weight"]                                # (C, H · D)
        weights[f"{theirs_at}.W_O"] = output.T.view(H, D, -1)                    # (H, D, C)
        weights[f"{theirs_at}.b_O"] = ours[f"{ours_at}.output.bias"]
        for name, norm in (("ln1", "attention_norm"), ("ln2", "feed_forward_norm")):
            weights[f"blocks.{layer}.{name}.w"] = ours[f"blocks.{layer}.{norm}.scale"]
            weights[f"blocks.{layer}.{name}.b"] = ours[f"blocks.{layer}.{norm}.shift"]
        for way, part in (("in", "expand"), ("out", "contract")):
            linear = f"blocks.{layer}.feed_forward.{part}"
            weights[f"blocks.{layer}.mlp.W_{way}"] = ours[f"{linear}.weight"].T
            weights[f"blocks.{layer}.mlp.b_{way}"] = ours[f"{linear}.bias"]
    missing = theirs.load_state_dict(weights, strict=False)
    learned = [*missing.unexpected_keys, *(name for name, _ in theirs.named_parameters()
                                           if name not in weights and name != "unembed.b_U")]
    assert not learned and not theirs.unembed.b_U.any(), learned
    return theirs.eval()


def in_a_row(activations: dict[str, Tensor], cache, n_layers: int) -> tuple[Tensor, Tensor]:
    """Every activation that both have a name for, one after the other."""
    pairs = [(activations["residual_start"], cache["blocks.0.hook_resid_pre"])]
    for layer in range(n_layers):
        at = f"blocks.{layer}."
        for ours, letter in OF_A_HEAD.items():                              # there (B, T, H, D)
            pairs.append((activations[f"{at}attention.{ours}"].transpose(1, 2),
                          cache[f"{at}attn.hook_{letter}"]))
        for ours, name in OTHERS.items():
            pairs.append((activations[f"{at}{ours}"], cache[f"{at}{name}"]))
    assert all(one.shape == other.shape for one, other in pairs)
    ours, theirs = zip(*pairs, strict=True)
    return tuple(torch.cat([x.flatten() for x in row]) for row in (ours, theirs))


def replacements(outputs: Tensor) -> dict[str, Callable[[int, int], Tensor]]:
    """What stands in the place of a head: outputs (L, H, B, T, D)."""
    others = other_rows(outputs.shape[2], torch.Generator().manual_seed(0))
    return {
        "at zero": lambda layer, head: torch.zeros(outputs.shape[-1]),
        "at its mean": lambda layer, head: outputs[layer, head].mean((0, 1)),
        "from another text": lambda layer, head: outputs[layer, head][others],
    }


def losses(model: GPTModel, theirs, ids: Tensor, values) -> tuple:
    """The loss with one head replaced, for every head."""
    ours, expected = [], []
    for layer in range(model.config.n_layers):
        for head in range(model.config.n_heads):
            value = values(layer, head)
            changes = replace_heads({(layer, head): value}) if value.any() else silence(
                [(layer, head)])
            with patch(model, changes):
                ours.append(next_token_loss(model(ids)[:, :-1], ids[:, 1:]))

            def put_in(z, hook, head=head, value=value):                         # (B, T, H, D)
                z[:, :, head] = value
                return z
            expected.append(theirs.run_with_hooks(
                ids, return_type="loss", fwd_hooks=[(f"blocks.{layer}.attn.hook_z", put_in)]))
    return torch.stack(ours), torch.stack(expected)


def induction(model: GPTModel, theirs) -> tuple[Tensor, Tensor]:
    """Of every head, from their attention patterns one place after the other."""
    period = 12
    ids = repeated_nonsense(model.config.vocab_size, period, 1, torch.Generator().manual_seed(3))
    ours = induction_score(by_head(model, ids, "weights"), period)[:, :, 0]      # (L, H)
    _, cache = theirs.run_with_cache(ids)
    looks = [[cache["pattern", layer][0, :, place, place - period + 1]           # (H) each
              for place in range(period, 2 * period)] for layer in range(model.config.n_layers)]
    return ours, torch.stack([sum(those) / period for those in looks])


def patched(model: GPTModel, theirs, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Their patches of the stream before each layer, each place by itself."""
    from transformer_lens import patching

    clean, corrupted = ids[0], ids[1]

    def measure(logits: Tensor) -> Tensor:                                       # (B)
        return logits[:, -1, 3] - logits[:, -1, 4]

    starts = ["residual_start", *(f"blocks.{layer}.residual_end"
                                  for layer in range(model.config.n_layers - 1))]
    ours = patching_map(model, clean, corrupted, measure, starts)
    logits, cache = theirs.run_with_cache(clean[None])
    best, worst = measure(logits), measure(theirs(corrupted[None]))
    expected = patching.get_act_patch_resid_pre(
        theirs, corrupted[None], cache, lambda logits: (measure(logits) - worst) / (best - worst))
    return ours, expected


if __name__ == "__main__":
    main()
