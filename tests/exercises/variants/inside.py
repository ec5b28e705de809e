"""Answers to the exercises of chapter 10."""

import torch
from collecting import right, wrong_edits

from gptlib import patch, record

# ---------------------------------------------------------------------------------- logit_lens


@right("logit_lens")
def with_the_matrix_itself(model, stream):
    with torch.no_grad():
        return model.final_norm(stream) @ model.output_head.weight.T


@right("logit_lens")
def vector_by_vector(model, stream):
    rows = stream.reshape(-1, stream.shape[-1])
    logits = [model.output_head(model.final_norm(row)) for row in rows]
    return torch.stack(logits).view(*stream.shape[:-1], -1)


_LENS = "model.output_head(model.final_norm(stream))"

wrong_edits(
    "logit_lens",
    (_LENS, "model.output_head(stream)", "You leave out the final norm"),
    (_LENS, f"{_LENS}.softmax(dim=-1)", "A softmax was applied"),
    (_LENS, f"{_LENS}.log_softmax(dim=-1)", "A log_softmax was applied"),
    (_LENS, "model.final_norm(stream) @ model.token_embedding.weight.T", "another matrix"),
    (_LENS, "stream @ model.token_embedding.weight.T", "before which comes the final norm"),
    (_LENS, "model.final_norm(stream) @ model.output_head.weight", "a transpose is missing"),
    (_LENS, "model.output_head(model.final_norm(stream[..., -1, :]))", "Only the last place"),
    ("    return model", "    for block in model.blocks:\n"
     "        stream = block(stream.flatten(0, -3) if stream.dim() > 3 else stream)\n"
     "    return model", "You let the blocks go on"),
    (_LENS, "model.output_head(model.final_norm(model.blocks[-1](stream)))",
     "You let the blocks go on"),
    (_LENS, "model.output_head(nn.functional.layer_norm(stream, stream.shape[-1:]))",
     "learned a scale and a shift"),
)

# ----------------------------------------------------------------------------- unchanged_start


@right("unchanged_start")
def through_a_mask_of_heads(outputs, head, value):
    this_one = torch.arange(outputs.shape[1]) == head
    return torch.where(this_one[:, None, None], value_for_heads(value), outputs)


def value_for_heads(value):
    """With an axis for the heads, where it has one for the texts."""
    value = torch.as_tensor(value)
    return value[:, None] if value.dim() == 3 else value


@right("unchanged_start")
def stacked_again(outputs, head, value):
    heads = list(outputs.unbind(dim=1))
    heads[head] = torch.zeros_like(heads[head]) + value
    return torch.stack(heads, dim=1)


_REPLACED = "changed[:, head] = value"

wrong_edits(
    "unchanged_start",
    (_REPLACED, "changed[head] = value", "you replace text 1"),
    (_REPLACED, "changed[:, :, :, head] = value", "you replace number 1"),
    (_REPLACED, "changed[:, head, -1] = value", "you replace head 1 and place 4"),
    (_REPLACED, "changed[0, head] = value", "you replace text 0 and head 1"),
    (_REPLACED, "changed[:, head] += value", "not value"),
    (_REPLACED, "changed[:, head] = 0", "is not value"),
    (_REPLACED, "outputs[:, head] = value", "it changes its input outputs"),
    ("outputs.clone()", "outputs", "it changes its input outputs"),
    ("outputs.clone()", "torch.zeros_like(outputs)", "you replace everything"),
    ("return changed", "return outputs", "outputs as it came in"),
    ("return changed", "return changed[:, head]", "All of outputs is to come back"),
)


# ------------------------------------------------------------------------------ patched_logits


@right("patched_logits")
def by_the_taps_own_axes(model, clean, corrupted, name, place):
    with record(model) as seen, torch.no_grad():
        model(clean)
    here = torch.arange(clean.shape[1])[:, None] == place               # (T, 1)
    with patch(model, {name: lambda x: torch.where(here, seen[name], x)}), torch.no_grad():
        return model(corrupted)


@right("patched_logits")
def by_pieces(model, clean, corrupted, name, place):
    with record(model, name) as seen:
        model(clean)
    vector = seen[name][:, place : place + 1]

    def put_in(x):
        return torch.cat([x[:, :place], vector, x[:, place + 1 :]], dim=1)

    with patch(model, {name: put_in}):
        logits = model(corrupted)
    return logits


@right("patched_logits")
def in_place(model, clean, corrupted, name, place):
    with record(model, name) as seen, torch.no_grad():
        model(clean)

    def put_in(x):
        x[:, place] = seen[name][:, place]
        return x

    with patch(model, {name: put_in}), torch.no_grad():
        return model(corrupted)


_PUT_IN = "changed[..., place, :] = seen[name][..., place, :]"
_RUN = "    with patch(model, {name: put_in}):\n        return model(corrupted)"

wrong_edits(
    "patched_logits",
    ("model(clean)", "model(corrupted)", "as if nothing had been put in"),
    ("return changed", "return x", "as if nothing had been put in"),
    (_RUN, "    with patch(model, {name: put_in}):\n        pass\n    return model(corrupted)",
     "as if nothing had been put in"),
    ("return model(corrupted)", "return model(clean)", "What comes back is the clean run"),
    ("return changed", "return seen[name]", "not those of all tokens"),
    (_PUT_IN, "changed[:] = seen[name]", "not those of all tokens"),
    (_PUT_IN, "changed[..., place, :] += seen[name][..., place, :]", "You add the clean vector"),
    (_PUT_IN, "changed[:, place:] = seen[name][:, place:]", "from place on"),
    (_PUT_IN, "changed[:, : place + 1] = seen[name][:, : place + 1]", "up to place"),
    (_PUT_IN, "changed[0, place] = seen[name][0, place]", "Only the first text"),
    (_PUT_IN, "changed[place] = seen[name][place]", "text number place"),
    (_PUT_IN, "changed[:, place - 1] = seen[name][:, place - 1]", "was put in"),
    (_PUT_IN, "changed[:, -1] = seen[name][:, -1]", "The vector of token 4"),
    ("return model(corrupted)", "return model(corrupted)[:, -1]", "Only the last place"),
    ("return model(corrupted)", "return model(corrupted).softmax(dim=-1)", "A softmax"),
)

# ----------------------------------------------------------------------------- induction_score


@right("induction_score")
def place_by_place(weights, period):
    T = weights.shape[-1]
    return sum(weights[..., t, t - period + 1] for t in range(period, T)) / (T - period)


@right("induction_score")
def by_index(weights, period):
    queries = torch.arange(period, weights.size(-1))
    return weights[..., queries, queries - period + 1].mean(-1)


@right("induction_score")
def through_a_mask(weights, period):
    T = weights.shape[-1]
    t = torch.arange(T)
    looks = (t[:, None] - t == period - 1) & (t[:, None] >= period)
    return (weights * looks).sum((-2, -1)) / looks.sum()


_DIAGONAL = "weights.diagonal(1 - period, dim1=-2, dim2=-1)"
_MEAN = "after_the_copy[..., 1:].mean(dim=-1)"

wrong_edits(
    "induction_score",
    ("1 - period", "-period", "that is the earlier copy itself"),
    ("1 - period", "-1 - period", "before the earlier copy"),
    (_MEAN, "after_the_copy.mean(dim=-1)", "has no earlier copy yet"),
    (_MEAN, "after_the_copy[..., 1:-1].mean(dim=-1)", "tokens are left out"),
    (_MEAN, "after_the_copy[..., 1:].sum(dim=-1)", "You add the weights up"),
    (_MEAN, "after_the_copy[..., 1:].sum(dim=-1) / weights.shape[-1]", "each counts 0.1429"),
    (_MEAN, "after_the_copy[..., 1:].amax(dim=-1)", "something else"),
    (_MEAN, "(after_the_copy[..., 1:] > 0.5).float().mean(dim=-1)", "something else"),
    (_MEAN, "after_the_copy[..., 1:].mean()", "with more axes before the"),
    (_MEAN, "after_the_copy[..., 1:].mean(dim=0)", "the shape of your score"),
    (_DIAGONAL, "weights.diagonal(1 - period)", "count axes from the end"),
    (f"{_DIAGONAL}     # (..., T - period + 1)\n    return {_MEAN}",
     "weights\n    return weights[..., period:, 1:].diagonal().mean(dim=-1)",
     "With the weights of a single head it is right"),
)
