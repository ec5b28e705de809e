"""Answers to the exercises of chapter 10."""

import torch
from collecting import right, wrong_edits

# ---------------------------------------------------------------------------------- logit_lens


@right("logit_lens")
def in_two_steps(model, stream):
    normalized = model.final_norm(stream)
    return model.output_head(normalized)


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
    (_LENS, "model.output_head(model.blocks[0].attention_norm(stream))", "the norm of a block"),
    (_LENS, "model.output_head(model.blocks[0].feed_forward_norm(stream))",
     "the norm of a block"),
    (_LENS, f"{_LENS}.softmax(dim=-1)", "A softmax was applied"),
    (_LENS, f"{_LENS}.log_softmax(dim=-1)", "A log_softmax was applied"),
    (_LENS, "model.output_head(stream + model.final_norm(stream))", "You add the stream"),
    (_LENS, "model.final_norm(stream) @ model.token_embedding.weight.T", "another matrix"),
    (_LENS, "stream @ model.token_embedding.weight.T", "before which comes the final norm"),
    (_LENS, "model.final_norm(stream) @ model.output_head.weight", "has to be turned"),
    (_LENS, f"{_LENS}.argmax(dim=-1)", "ids of the best tokens"),
    (_LENS, "model.output_head(model.final_norm(stream[..., -1, :]))", "Only the last token"),
    ("    return model", "    for block in model.blocks:\n"
     "        stream = block(stream.flatten(0, -3) if stream.dim() > 3 else stream)\n"
     "    return model", "You let the blocks go on"),
    (_LENS, "model(stream)", "begins with ids"),
    (_LENS, "model.output_head(model.final_norm(model.blocks[-1](stream)))",
     "You let the blocks go on"),
    (_LENS, "model.output_head(nn.functional.layer_norm(stream, stream.shape[-1:]))",
     "learned a scale and a shift"),
    (_LENS, "None", "it returns None"),
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
    ("1 - period", "period - 1", "Rows are queries"),
    (_MEAN, "after_the_copy.mean(dim=-1)", "has no earlier copy yet"),
    (_MEAN, "after_the_copy[..., 1:-1].mean(dim=-1)", "tokens are left out"),
    (_MEAN, "after_the_copy[..., 1:].sum(dim=-1)", "You add the weights up"),
    (_MEAN, "after_the_copy[..., 1:].sum(dim=-1) / weights.shape[-1]", "each counts 0.1429"),
    (_MEAN, "after_the_copy[..., 1:].amax(dim=-1)", "something else"),
    (_MEAN, "(after_the_copy[..., 1:] > 0.5).float().mean(dim=-1)", "something else"),
    (_MEAN, "after_the_copy[..., 1:].mean()", "every head has a score of its own"),
    (_MEAN, "after_the_copy[..., 1:].mean(dim=0)", "the shape of your score"),
    (_DIAGONAL, "weights.diagonal(1 - period)", "through the first two axes"),
    (f"{_DIAGONAL}     # (..., T - period + 1)\n    return {_MEAN}",
     "weights\n    return weights[..., period:, 1:].diagonal().mean(dim=-1)",
     "With the weights of a single head it is right"),
)

# -------------------------------------------------------------------------------- patch_effect


@right("patch_effect")
def in_steps(clean, corrupted, patched):
    went, whole = patched - corrupted, clean - corrupted
    return went / whole


@right("patch_effect")
def what_is_not_missing(clean, corrupted, patched):
    return 1 - (clean - patched) / (clean - corrupted)


_EFFECT = "(patched - corrupted) / (clean - corrupted)"

wrong_edits(
    "patch_effect",
    (_EFFECT, "(clean - patched) / (clean - corrupted)", "still missing"),
    (_EFFECT, "(patched - clean) / (corrupted - clean)", "still missing"),
    (_EFFECT, "(patched - corrupted) / (corrupted - clean)", "sign"),
    (_EFFECT, "(corrupted - patched) / (clean - corrupted)", "sign"),
    (_EFFECT, "patched - corrupted", "not yet what share"),
    (_EFFECT, "patched - corrupted / (clean - corrupted)", "in brackets"),
    (_EFFECT, "(patched - corrupted) / clean - corrupted", "in brackets"),
    (_EFFECT, "(patched - corrupted) / clean", "divide by the whole way"),
    (_EFFECT, "(clean - corrupted) / (patched - corrupted)", "upside down"),
    (_EFFECT, "patched / clean", "begin with patched - corrupted"),
    (_EFFECT, f"({_EFFECT}).clamp(0, 1)", "without clamp"),
    (_EFFECT, f"({_EFFECT}).abs()", "without abs"),
    (_EFFECT, "(patched - corrupted) / (clean - corrupted).abs()", "clean is below corrupted"),
    (_EFFECT, f"({_EFFECT}).mean()", "an effect of its own"),
    (_EFFECT, f"({_EFFECT}).item()", "RuntimeError"),
)

# ------------------------------------------------------------------------------ silenced_place


@right("silenced_place")
def through_a_mask_of_heads(outputs, head, value):
    this_one = torch.arange(outputs.shape[1]) == head
    return torch.where(this_one[:, None, None], value_for_heads(value), outputs)


def value_for_heads(value):
    """With an axis for the heads, where it has one for the texts."""
    value = torch.as_tensor(value)
    return value[:, None] if value.dim() == 3 else value


@right("silenced_place")
def stacked_again(outputs, head, value):
    heads = list(outputs.unbind(dim=1))
    heads[head] = torch.zeros_like(heads[head]) + value
    return torch.stack(heads, dim=1)


_REPLACED = "changed[:, head] = value "

wrong_edits(
    "silenced_place",
    (_REPLACED, "changed[head] = value ", "you replace text 1"),
    (_REPLACED, "changed[:, :, :, head] = value ", "you replace number 1"),
    (_REPLACED, "changed[:, head, -1] = value ", "you replace head 1 and place 4"),
    (_REPLACED, "changed[0, head] = value ", "you replace text 0 and head 1"),
    (_REPLACED, "changed[:, head:] = value ", "this head and all after it"),
    (_REPLACED, "changed[:, head] += value ", "not value"),
    (_REPLACED, "changed[:, head] = 0 ", "is not value"),
    (_REPLACED, "outputs[:, head] = value ", "it changes its input outputs"),
    ("outputs.clone()", "outputs", "it changes its input outputs"),
    ("outputs.clone()", "torch.zeros_like(outputs)", "you replace everything"),
    ("return changed", "return outputs", "outputs as it came in"),
)
