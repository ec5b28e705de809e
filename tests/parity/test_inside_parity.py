"""What gptlib.inside sees and changes, beside transformers' GPT-2 with the same weights."""

import pytest
import torch
from gpt2_peer import CONFIG, mapped, peer
from helpers import random_ids

from gptlib.inside import (
    by_head,
    logit_lens,
    other_rows,
    patched_logits,
    replace_heads,
    residual_stream,
    silence,
    silence_neurons,
)
from gptlib.model import GPTModel
from gptlib.tap import patch

IDS = random_ids(4, 20, vocab_size=97)
D = CONFIG.head_dim


@pytest.fixture(scope="module")
def pair():
    ours, theirs = GPTModel(CONFIG).eval(), peer()
    theirs.set_attn_implementation("eager")                    # the one that shows its weights
    weights = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            parameter.copy_(mapped(name, weights))
    return ours, theirs


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def with_hooks(theirs, hooks, ids=IDS):
    """Their logits while what goes into these modules is changed: {module: function}."""
    handles = [
        module.register_forward_pre_hook(
            lambda _, given, change=change: (change(given[0]), *given[1:]))
        for module, change in hooks.items()
    ]
    try:
        return theirs(ids).logits
    finally:
        for handle in handles:
            handle.remove()


def without_columns(first, last, value=0.0):
    def change(x):
        x = x.clone()
        x[..., first:last] = value
        return x
    return change


def test_the_stream_equals_their_hidden_states(pair):
    ours, theirs = pair
    stream = residual_stream(ours, IDS)[::2]                   # at the start, after every block
    with torch.no_grad():
        *hidden, last = theirs(IDS, output_hidden_states=True).hidden_states
        close(stream[:-1], torch.stack(hidden))
        close(ours.final_norm(stream[-1]), last)               # theirs is normalized already


def test_the_logit_lens_equals_their_last_layers_put_on_every_hidden_state(pair):
    ours, theirs = pair
    with torch.no_grad():
        hidden = torch.stack(theirs(IDS, output_hidden_states=True).hidden_states[:-1])
        expected = theirs.lm_head(theirs.transformer.ln_f(hidden))
        close(logit_lens(ours, residual_stream(ours, IDS)[:-1:2]), expected)


def test_where_heads_look_equals_their_attentions(pair):
    ours, theirs = pair
    with torch.no_grad():
        attentions = theirs(IDS, output_attentions=True).attentions            # L of (B, H, T, T)
    close(by_head(ours, IDS, "weights"), torch.stack(attentions).transpose(1, 2))


@pytest.mark.parametrize("kind", ["zero", "mean", "another text"])
def test_replaced_heads_do_the_same_in_theirs(pair, kind):
    ours, theirs = pair
    outputs, others = by_head(ours, IDS, "head_outputs"), other_rows(len(IDS))
    values = {
        "zero": lambda x: torch.zeros(D), "mean": lambda x: x.mean((0, 1)),
        "another text": lambda x: x[others],
    }
    for layer in range(3):
        for head in range(4):
            value = values[kind](outputs[layer, head])
            change = without_columns(D * head, D * head + D, value)
            expected = with_hooks(theirs, {theirs.transformer.h[layer].attn.c_proj: change})
            changes = [replace_heads({(layer, head): value})]
            if kind == "zero":
                changes.append(silence([(layer, head)]))
            for one in changes:
                with patch(ours, one), torch.no_grad():
                    close(ours(IDS), expected)


def test_silent_neurons_do_the_same_in_theirs(pair):
    ours, theirs = pair
    expected = with_hooks(theirs, {theirs.transformer.h[1].mlp.c_proj: without_columns(40, 60)})
    with patch(ours, silence_neurons(1, range(40, 60))), torch.no_grad():
        close(ours(IDS), expected)


def test_a_patched_place_does_the_same_in_theirs(pair):
    ours, theirs = pair
    clean, corrupted = IDS[:1], IDS[1:2]
    with torch.no_grad():
        hidden = theirs(clean, output_hidden_states=True).hidden_states
    names = ["residual_start", "blocks.0.residual_end", "blocks.1.residual_end"]
    for layer, name in enumerate(names):
        for places in (5, slice(4, 9)):

            def put_in(x, layer=layer, places=places):
                x = x.clone()
                x[:, places] = hidden[layer][:, places]
                return x

            expected = with_hooks(theirs, {theirs.transformer.h[layer]: put_in}, corrupted)
            close(patched_logits(ours, clean, corrupted, name, places), expected)
