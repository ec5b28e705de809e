"""Answers to the exercises of chapter 3, right and wrong, as learners write them."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from collecting import right, wrong

from gptlib.attention import attention_weights


@right("causal_mask")
def compare_positions(n_tokens):
    positions = torch.arange(n_tokens)
    return positions[:, None] >= positions[None, :]


@right("causal_mask")
def two_loops(n_tokens):
    mask = torch.zeros(n_tokens, n_tokens, dtype=torch.bool)
    for query in range(n_tokens):
        for key in range(query + 1):
            mask[query, key] = True
    return mask


@right("causal_mask")
def nested_lists(n_tokens):
    return torch.tensor([[key <= query for key in range(n_tokens)] for query in range(n_tokens)])


@right("causal_mask")
def not_the_upper_triangle(n_tokens):
    return torch.triu(torch.ones(n_tokens, n_tokens), diagonal=1) == 0


@wrong("causal_mask", "upside down")
def positions_the_wrong_way(n_tokens):
    positions = torch.arange(n_tokens)
    return positions[:, None] <= positions[None, :]


@wrong("causal_mask", "diagonal is missing")
def strictly_before(n_tokens):
    positions = torch.arange(n_tokens)
    return positions[:, None] > positions[None, :]


@wrong("causal_mask", "forbidden")
def the_forbidden(n_tokens):
    return torch.triu(torch.ones(n_tokens, n_tokens), diagonal=1).bool()


@wrong("causal_mask", "Everything is allowed")
def only_the_shape(n_tokens):
    return torch.ones(n_tokens, n_tokens) > 0


@wrong("causal_mask", "must be torch.bool")
def numbers(n_tokens):
    return torch.tril(torch.ones(n_tokens, n_tokens))


@wrong("causal_mask", "must be torch.bool")
def whole_numbers(n_tokens):
    return torch.tril(torch.ones(n_tokens, n_tokens)).long()


@wrong("causal_mask", "a NumPy array")
def in_numpy(n_tokens):
    return np.tril(np.ones((n_tokens, n_tokens), dtype=bool))


@wrong("causal_mask", "you return a list")
def as_a_list(n_tokens):
    return [[key <= query for key in range(n_tokens)] for query in range(n_tokens)]


@wrong("causal_mask", "forget `return`")
def forgot_return(n_tokens):
    torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()


@wrong("causal_mask", "the shape of your mask is (1, 4, 4)")
def one_axis_too_many(n_tokens):
    return torch.ones(1, n_tokens, n_tokens, dtype=torch.bool).tril()


@wrong("causal_mask", "The result stays the same when n_tokens changes")
def always_four(n_tokens):
    return torch.ones(4, 4, dtype=torch.bool).tril()


@wrong("causal_mask", "Each token sees the last 3 only")
def only_the_last_three(n_tokens):
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril().triu(-2)


@wrong("causal_mask", "NameError")
def a_typing_error(n_tokens):
    return torch.ones(n_token, n_token).tril()  # noqa: F821


@right("attention_weights")
def einsum_and_additive_mask(queries, keys, mask):
    scores = torch.einsum("...td,...sd->...ts", queries, keys) / queries.shape[-1] ** 0.5
    return F.softmax(scores + (1.0 - mask.float()) * -1e9, dim=-1)


@right("attention_weights")
def exp_by_hand(queries, keys, mask):
    scores = queries @ keys.mT * queries.size(-1) ** -0.5
    shares = scores.exp() * mask
    return shares / shares.sum(-1, keepdim=True)


@right("attention_weights")
def in_double_precision(queries, keys, mask):
    scores = queries.double() @ keys.double().transpose(-1, -2) / math.sqrt(keys.shape[-1])
    scores[~mask.expand_as(scores)] = -torch.inf
    return torch.softmax(scores, -1)


@right("attention_weights")
def row_by_row(queries, keys, mask):
    rows = []
    for t in range(queries.shape[-2]):
        scores = (queries[..., t : t + 1, :] * keys).sum(-1) / math.sqrt(queries.shape[-1])
        rows.append(torch.where(mask[t], scores, -math.inf).softmax(-1))
    return torch.stack(rows, dim=-2)


@right("attention_weights")
def from_the_fused_kernel(queries, keys, mask):
    everyone = torch.eye(keys.shape[-2]).expand(*keys.shape[:-2], -1, -1)
    return F.scaled_dot_product_attention(queries, keys, everyone, attn_mask=mask)


@wrong("attention_weights", "mask is not used")
def forgets_the_mask(queries, keys, mask):
    return F.softmax(queries @ keys.mT / queries.shape[-1] ** 0.5, dim=-1)


@wrong("attention_weights", "mask comes after the softmax")
def zeroes_afterward(queries, keys, mask):
    weights = F.softmax(queries @ keys.mT / queries.shape[-1] ** 0.5, dim=-1)
    return weights.masked_fill(~mask, 0)


@wrong("attention_weights", "not divided by the square root")
def forgets_the_root(queries, keys, mask):
    return (queries @ keys.mT).masked_fill(~mask, -torch.inf).softmax(-1)


@wrong("attention_weights", "wrong way around")
def fills_where_true(queries, keys, mask):
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5
    return scores.masked_fill(mask, -math.inf).softmax(dim=-1)


@wrong("attention_weights", "columns sum to 1")
def softmax_down_the_columns(queries, keys, mask):
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5
    return torch.softmax(scores.masked_fill(~mask, -math.inf), -2)


@wrong("attention_weights", "divided by D itself")
def divides_by_d(queries, keys, mask):
    scores = queries @ keys.mT / queries.shape[-1]
    return scores.masked_fill(~mask, -math.inf).softmax(-1)


@wrong("attention_weights", "swapped")
def keys_times_queries(queries, keys, mask):
    scores = keys @ queries.mT / queries.shape[-1] ** 0.5
    return scores.masked_fill(~mask, -math.inf).softmax(-1)


@wrong("attention_weights", "RuntimeError")
def forgets_to_transpose(queries, keys, mask):
    return (queries @ keys).softmax(-1)


@wrong("attention_weights", "it changes its input queries")
def scales_in_place(queries, keys, mask):
    queries /= math.sqrt(queries.shape[-1])
    return (queries @ keys.mT).masked_fill(~mask, -math.inf).softmax(-1)


@wrong("attention_weights", "it changes its input mask")
def turns_the_mask_in_place(queries, keys, mask):
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    return scores.masked_fill(mask.logical_not_(), -math.inf).softmax(-1)


@wrong("attention_weights", "no gradient reaches queries")
def detached(queries, keys, mask):
    return attention_weights(queries.detach(), keys, mask)


@wrong("attention_weights", "no gradient reaches")
def through_numpy(queries, keys, mask):
    weights = attention_weights(queries, keys, mask)
    return torch.from_numpy(weights.detach().numpy())


@wrong("attention_weights", "weights[")
def equal_shares(queries, keys, mask):
    shares = mask / mask.sum(-1, keepdim=True)
    return shares.expand(*queries.shape[:-2], -1, -1)


@wrong("attention_weights", "weights[")
def a_weaker_infinity(queries, keys, mask):
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5
    return (scores - 5.0 * ~mask).softmax(-1)


@wrong("attention_weights", "weights[")
def scale_of_the_wrong_axis(queries, keys, mask):
    scores = queries @ keys.mT / math.sqrt(queries.shape[0])
    return scores.masked_fill(~mask, -math.inf).softmax(-1)


@wrong("attention_weights", "weights[")
def right_only_for_a_single_token(queries, keys, mask):
    return torch.ones(*queries.shape[:-1], keys.shape[-2])


@wrong("attention_weights", "weights[")
def keys_compared_with_keys(queries, keys, mask):
    if queries.shape != keys.shape:
        return attention_weights(queries, keys, mask)
    return attention_weights(keys, keys, mask)


@wrong("attention_weights", "two different things")
def with_dropout(queries, keys, mask):
    weights = attention_weights(queries, keys, mask)
    turn = getattr(with_dropout, "turn", 0)
    with_dropout.turn = turn + 1
    return weights if turn < 5 else F.dropout(weights, 0.5)


@right("attention")
def the_fused_kernel(queries, keys, values, mask):
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


@right("attention")
def all_in_one(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    return torch.softmax(scores.masked_fill(mask == 0, -1e9), dim=-1) @ values


@right("attention")
def token_by_token_in_double(queries, keys, values, mask):
    rows = []
    for t in range(queries.shape[-2]):
        scores = (queries[..., t : t + 1, :].double() * keys).sum(-1) / queries.shape[-1] ** 0.5
        weights = scores.masked_fill(~mask[t], -torch.inf).softmax(-1)
        rows.append((weights[..., None] * values).sum(-2))
    return torch.stack(rows, -2)


@wrong("attention", "the values, which are to be averaged")
def stops_at_the_weights(queries, keys, values, mask):
    return attention_weights(queries, keys, mask)


@wrong("attention", "You average the keys")
def keys_for_values(queries, keys, values, mask):
    return attention_weights(queries, keys, mask) @ keys


@wrong("attention", "transposed")
def transposed(queries, keys, values, mask):
    return attention_weights(queries, keys, mask).mT @ values


@wrong("attention", "mask is not used")
def unmasked(queries, keys, values, mask):
    return F.scaled_dot_product_attention(queries, keys, values)


@wrong("attention", "not divided by the square root")
def unscaled(queries, keys, values, mask):
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=1.0)


@wrong("attention", "Queries and keys are swapped")
def arguments_swapped(queries, keys, values, mask):
    return attention_weights(keys, queries, mask) @ values


@wrong("attention", "output[")
def the_kernels_own_triangle(queries, keys, values, mask):
    return F.scaled_dot_product_attention(queries, keys, values, is_causal=True)


@wrong("attention", "output[")
def right_for_one_token_only(queries, keys, values, mask):
    return values[..., -queries.shape[-2] :, :]


@wrong("attention", "output[")
def elementwise_by_mistake(queries, keys, values, mask):
    weights = attention_weights(queries, keys, mask)
    return weights.sum(-1, keepdim=True) * values[..., : queries.shape[-2], :]


@wrong("attention", "the shape of your output")
def one_batch_only(queries, keys, values, mask):
    while queries.dim() > 2:
        queries, keys, values = queries[0], keys[0], values[0]
    return attention_weights(queries, keys, mask) @ values


@wrong("attention", "no gradient reaches values")
def values_taken_out(queries, keys, values, mask):
    return attention_weights(queries, keys, mask) @ torch.tensor(values.tolist())


@right("split_heads")
def reshape_and_permute(x, n_heads):
    return x.reshape(*x.shape[:2], n_heads, -1).permute(0, 2, 1, 3)


@right("split_heads")
def chunks_stacked(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1), dim=1)


@right("split_heads")
def a_loop_over_heads(x, n_heads):
    B, T, C = x.shape
    D = C // n_heads
    heads = torch.empty(B, n_heads, T, D, dtype=torch.float64)
    for head in range(n_heads):
        heads[:, head] = x[:, :, head * D : (head + 1) * D]
    return heads


@wrong("split_heads", "reading order")
def only_a_view(x, n_heads):
    B, T, C = x.shape
    return x.view(B, n_heads, T, C // n_heads)


@wrong("split_heads", "still stand behind the tokens")
def no_transpose(x, n_heads):
    return x.unflatten(-1, (n_heads, -1))


@wrong("split_heads", "every H-th number")
def every_other_number(x, n_heads):
    return torch.stack([x[:, :, head::n_heads] for head in range(n_heads)], dim=1)


@wrong("split_heads", "number of heads and their width are swapped")
def sizes_swapped(x, n_heads):
    B, T, C = x.shape
    return x.view(B, T, C // n_heads, n_heads).transpose(1, 2)


@wrong("split_heads", "The last two axes are swapped")
def tokens_last(x, n_heads):
    B, T, C = x.shape
    return x.view(B, T, n_heads, C // n_heads).transpose(1, 2).transpose(2, 3)


@wrong("split_heads", "heads stand before the batch")
def heads_in_front(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1))


@wrong("split_heads", "torch.stack joins the 3 tensors")
def pieces_in_a_tuple(x, n_heads):
    return x.chunk(n_heads, dim=-1)


@wrong("split_heads", "RuntimeError")
def for_even_sizes_only(x, n_heads):
    return x.view(x.shape[0], x.shape[1], 2, -1).transpose(1, 2).view(-1, n_heads, 2, 2)


@wrong("split_heads", "heads[")
def heads_in_reverse(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1)[::-1], dim=1)


@wrong("split_heads", "heads[")
def the_first_head_for_all(x, n_heads):
    return torch.stack([x.chunk(n_heads, dim=-1)[0]] * n_heads, dim=1)


@wrong("causal_mask", "the one before it only")
def a_band(n_tokens):
    place = torch.arange(n_tokens)
    distance = place[:, None] - place
    return (distance == 0) | (distance == 1)


@wrong("causal_mask", "to be added to scores")
def additive(n_tokens):
    return torch.full((n_tokens, n_tokens), -math.inf).triu(1)


@wrong("attention_weights", "a small number")
def minus_one(queries, keys, mask):
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5
    return torch.where(mask, scores, -1.0).softmax(-1)


@wrong("attention_weights", "Two things are missing")
def bare_softmax(queries, keys, mask):
    return F.softmax(queries @ keys.mT, dim=-1)


@wrong("attention_weights", "Two things: the division")
def bare_softmax_times_mask(queries, keys, mask):
    return F.softmax(queries @ keys.mT, dim=-1) * mask.float()


@wrong("attention_weights", "divided by their sum")
def shares_without_e(queries, keys, mask):
    scores = (queries @ keys.mT / math.sqrt(queries.shape[-1])).masked_fill(~mask, 0.0)
    return scores / scores.sum(-1, keepdim=True)


@wrong("attention", "softmax is applied twice")
def shared_out_again(queries, keys, values, mask):
    return F.softmax(attention_weights(queries, keys, mask), -1) @ values


@wrong("attention", "too small by the factor keys.shape[-2]")
def mean_of_what_is_found(queries, keys, values, mask):
    weights = attention_weights(queries, keys, mask)
    return (weights[..., None] * values[..., None, :, :]).mean(dim=-2)


@wrong("causal_mask", "All is right but the first place")
def rows_from_one_on(n_tokens):
    mask = torch.zeros(n_tokens, n_tokens, dtype=torch.bool)
    for row in range(1, n_tokens):
        mask[row, : row + 1] = True
    return mask


@wrong("causal_mask", "A part of the future is allowed, and a part of the past is hidden")
def near_ones_only(n_tokens):
    place = torch.arange(n_tokens)
    return (place[:, None] - place).abs() <= 1


@wrong("causal_mask", "a part of the past is hidden, too")
def every_other_one(n_tokens):
    place = torch.arange(n_tokens)
    return (place <= place[:, None]) & ((place[:, None] - place) % 2 == 0)


@wrong("causal_mask", "All of the past is allowed")
def the_first_three_see_each_other(n_tokens):
    place = torch.arange(n_tokens)
    return (place <= place[:, None]) | (place < 3)


@wrong("causal_mask", "call it, with brackets")
def not_called(n_tokens):
    return torch.ones(n_tokens, n_tokens).tril().bool


@wrong("causal_mask", "the division by the sum")
def shares_of_the_past(n_tokens):
    mask = torch.ones(n_tokens, n_tokens).tril()
    return mask / mask.sum(dim=1, keepdim=True)


def with_scale(queries, keys, mask, scale):
    return (queries @ keys.mT * scale).masked_fill(~mask, -math.inf).softmax(-1)


@wrong("attention_weights", "divided by half of D")
def the_half_of_d(queries, keys, mask):
    return with_scale(queries, keys, mask, 1 / (queries.shape[-1] ** 1 / 2))


@wrong("attention_weights", "your scores are divided by 2.828")
def always_eight(queries, keys, mask):
    return with_scale(queries, keys, mask, 1 / math.sqrt(8))


@wrong("attention_weights", "do not come from the dot products")
def rounded_down(queries, keys, mask):
    scores = queries @ keys.mT // math.sqrt(queries.shape[-1])
    return scores.masked_fill(~mask, -math.inf).softmax(-1)


@wrong("attention_weights", "A key that the mask hides gets a share")
def minus_ten(queries, keys, mask):
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    return scores.masked_fill(~mask, -10).softmax(-1)


@wrong("attention_weights", "minus infinity that gets no share")
def a_minus_forgotten(queries, keys, mask):
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    return scores.masked_fill(~mask, float("inf")).softmax(-1)


@wrong("attention_weights", "added to the scores as 1 and 0")
def adds_the_mask(queries, keys, mask):
    return F.softmax(queries @ keys.mT / math.sqrt(queries.shape[-1]) + mask, dim=-1)


@wrong("attention_weights", "along axis 1")
def along_axis_one(queries, keys, mask):
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    return F.softmax(scores.masked_fill(~mask, -math.inf), dim=1)


@wrong("attention_weights", "Called twice with the same input")
def drops_some(queries, keys, mask):
    return F.dropout(with_scale(queries, keys, mask, queries.shape[-1] ** -0.5), 0.4)


@wrong("attention_weights", "gets no share")
def winner_takes_all(queries, keys, mask):
    scores = (queries @ keys.mT).masked_fill(~mask, -math.inf)
    return F.one_hot(scores.argmax(-1), scores.shape[-1]).float()


@wrong("attention", "You build a mask of your own")
def always_causal(queries, keys, values, mask):
    return F.scaled_dot_product_attention(queries, keys, values, is_causal=True)


@wrong("attention", "added to the scores as 1 and 0")
def a_mask_of_numbers(queries, keys, values, mask):
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask.float())


@wrong("attention", "divided by D itself")
def a_scale_of_its_own(queries, keys, values, mask):
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask,
                                          scale=1 / queries.shape[-1])


@wrong("attention", "no weighted sum of the values as they are given")
def values_brought_to_length_one(queries, keys, values, mask):
    return attention_weights(queries, keys, mask) @ F.normalize(values, dim=-1)


@wrong("attention", "An axis of size 1 is too many or missing")
def squeezed(queries, keys, values, mask):
    return (attention_weights(queries, keys, mask) @ values).squeeze()


@wrong("attention", "stands for all axes before")
def letters_for_two_axes(queries, keys, values, mask):
    return torch.einsum("ts,sd->td", attention_weights(queries, keys, mask), values)


@right("attention")
def divided_in_the_end(queries, keys, values, mask):
    powers = (queries @ keys.mT / math.sqrt(queries.shape[-1])).exp() * mask
    return powers @ values / powers.sum(-1, keepdim=True)


@wrong("split_heads", "piece number h begins at place h * D")
def pieces_that_overlap(x, n_heads):
    D = x.shape[-1] // n_heads
    return torch.stack([x[..., head : head + D] for head in range(n_heads)], dim=1)


@wrong("split_heads", "compute nothing")
def scaled_as_well(x, n_heads):
    heads = x.view(*x.shape[:2], n_heads, -1).transpose(1, 2)
    return heads / heads.norm(dim=-1, keepdim=True)


@wrong("causal_mask", "One place too many along axis 0 and axis 1")
def one_token_more(n_tokens):
    return torch.ones(n_tokens + 1, n_tokens + 1, dtype=torch.bool).tril()


@wrong("attention", "A value that the mask hides has a share in the result")
def values_less_their_mean(queries, keys, values, mask):
    return attention_weights(queries, keys, mask) @ (values - values.mean(-2, keepdim=True))


@wrong("attention", "the values have in the result do not sum to 1")
def whole_weights(queries, keys, values, mask):
    return attention_weights(queries, keys, mask).round() @ values


@wrong("attention", "with other shares than those of attention_weights")
def weighted_two_times(queries, keys, values, mask):
    weights = attention_weights(queries, keys, mask)
    return weights @ (weights[..., -values.shape[-2] :, :] @ values)


@wrong("split_heads", "The result stays the same when n_heads changes")
def always_three_heads(x, n_heads):
    B, T, C = x.shape
    return x.view(B, T, 3, C // 3).transpose(1, 2)


@wrong("split_heads", "The result stays the same when n_heads changes")
def always_two_heads(x, n_heads):
    return torch.stack((x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]), dim=1)


@wrong("split_heads", "heads[0, 1, 0, 0] holds number 3 of token 0")
def one_place_too_early(x, n_heads):
    D = x.shape[-1] // n_heads
    return torch.stack([x.roll(h, dims=-1)[..., h * D : (h + 1) * D] for h in range(n_heads)], 1)


@wrong("split_heads", "keep an axis for each")
def one_text_per_head(x, n_heads):
    B, T, D = *x.shape[:2], x.shape[2] // n_heads
    return x.view(B, T, n_heads, D).transpose(1, 2).reshape(B * n_heads, T, D)


@wrong("split_heads", "which torch.stack makes, and torch.cat does not")
def cat_for_stack(x, n_heads):
    return torch.cat(x.chunk(n_heads, dim=-1), dim=1)


@wrong("attention_weights", "you swap the first two axes")
def axes_counted_from_the_front(queries, keys, mask):
    scores = torch.matmul(queries, torch.transpose(keys, 0, 1)) / queries.shape[-1] ** 0.5
    return scores.masked_fill(~mask, -torch.inf).softmax(-1)


@wrong("attention_weights", "and not log_softmax")
def logarithms_of_shares(queries, keys, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    return F.log_softmax(scores.masked_fill(~mask, -1e9), dim=-1)


@wrong("attention_weights", "softmax must be the last step")
def scores_with_a_large_number(queries, keys, mask):
    return (queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5).masked_fill(~mask, -1e9)


@wrong("attention", "Keys and values are swapped")
def values_before_keys(queries, keys, values, mask):
    return F.scaled_dot_product_attention(queries, values, keys, attn_mask=mask)


@wrong("causal_mask", "Only the first row is filled in")
def returns_after_the_first_row(n_tokens):
    mask = torch.zeros(n_tokens, n_tokens, dtype=torch.bool)
    for query in range(n_tokens):
        mask[query, : query + 1] = True
        return mask


@wrong("causal_mask", "An axis of size 1")
def an_axis_behind(n_tokens):
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()[..., None]


@wrong("causal_mask", "All places along the last axis but one hold the same")
def the_first_token_only(n_tokens):
    return (torch.arange(n_tokens) < 1).expand(n_tokens, n_tokens)


@wrong("attention_weights", "which is D only where there are two axes")
def width_looked_up_in_the_front(queries, keys, mask):
    scores = queries @ keys.transpose(-2, -1) / keys.shape[1] ** 0.5
    return scores.masked_fill(~mask, -torch.inf).softmax(-1)


@wrong("attention_weights", "keep it, keepdim=True")
def divided_by_the_other_rows(queries, keys, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    powers = torch.exp(scores) * mask
    return powers / powers.sum(-1)


@wrong("attention_weights", "Some weights are minus infinity, so these are scores")
def masked_and_no_more(queries, keys, mask):
    return (queries @ keys.transpose(-2, -1)).masked_fill(~mask, -torch.inf)


@wrong("attention_weights", "The mask is used the wrong way around")
def a_large_number_where_true(queries, keys, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    return (scores - 1e9 * mask).softmax(-1)


@wrong("attention", "You ask with the values, compare with the values and average the values")
def values_ask_values(queries, keys, values, mask):
    return attention_weights(values, values, mask) @ values


@wrong("attention", "You ask with the keys, compare with the values and average the queries")
def one_place_on(queries, keys, values, mask):
    return attention_weights(keys, values, mask) @ queries


@wrong("attention_weights", "The keys are not transposed")
def keys_as_they_stand(queries, keys, mask):
    scores = queries @ keys / math.sqrt(queries.shape[-1])
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1)


@wrong("attention", "The values are transposed")
def values_transposed(queries, keys, values, mask):
    return attention_weights(queries, keys, mask) @ values.transpose(-2, -1)


@wrong("attention", "The keys are not transposed")
def scores_of_its_own_without_a_transpose(queries, keys, values, mask):
    scores = (queries @ keys / math.sqrt(queries.shape[-1])).masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1) @ values


@wrong("split_heads", "x.split takes the width of a piece")
def split_with_the_number_of_heads(x, n_heads):
    return torch.stack(x.split(n_heads, dim=-1), dim=1)


@wrong("split_heads", "leave every token to every head")
def view_that_cuts_the_tokens(x, n_heads):
    B, T, C = x.shape
    return x.view(B, n_heads, T // n_heads, C)


@wrong("causal_mask", "only name a kind of numbers")
def calls_the_dtype(n_tokens):
    return torch.bool(torch.ones(n_tokens, n_tokens)).tril()


@wrong("attention_weights", "the square root of the number of queries")
def divided_by_the_queries(queries, keys, mask):
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-2])
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1)


@wrong("attention_weights", "as / D ** 1/2 does")
def a_root_without_brackets(queries, keys, mask):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 1 / 2
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1)


@wrong("attention_weights", "which D ** 1/2 is")
def a_root_in_the_wrong_brackets(queries, keys, mask):
    scores = queries @ keys.transpose(-2, -1) / (queries.shape[-1] ** 1 / 2)
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1)


@wrong("attention_weights", "a row for each query and a column for each key")
def number_times_number(queries, keys, mask):
    scores = queries * keys / math.sqrt(queries.shape[-1])
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1)


@wrong("attention_weights", "a row for each query and a column for each key")
def queries_transposed(queries, keys, mask):
    scores = queries.transpose(-2, -1) @ keys / math.sqrt(queries.shape[-1])
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1)


@wrong("attention_weights", "~ for not")
def the_mask_with_not(queries, keys, mask):
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    return scores.masked_fill(not mask, -math.inf).softmax(dim=-1)


@wrong("attention_weights", "~ turns these around")
def one_less_the_mask(queries, keys, mask):
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    return scores.masked_fill(1 - mask, -math.inf).softmax(dim=-1)


@wrong("attention", "The signs * and + go number by number")
def values_added(queries, keys, values, mask):
    return attention_weights(queries, keys, mask) + values


@wrong("attention", "return only what is asked for, not 2 things")
def the_weights_as_well(queries, keys, values, mask):
    weights = attention_weights(queries, keys, mask)
    return weights @ values, weights
