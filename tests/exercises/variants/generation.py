"""Answers to the exercises of chapter 7, right and wrong, as learners write them."""

import math

import numpy as np
import torch
from collecting import right, wrong


@wrong("apply_temperature", "share the best score")
def best_by_comparison(logits, temperature):
    if not temperature:
        return logits.masked_fill(logits < logits.max(dim=-1, keepdim=True).values, -math.inf)
    return logits * (1 / temperature)


@right("apply_temperature")
def in_double_precision_less_the_best(logits, temperature):
    gaps = (logits - logits.amax(-1, keepdim=True)).double()
    if temperature == 0:
        places = torch.arange(logits.shape[-1])
        return torch.where(places == gaps.argmax(-1, keepdim=True), gaps, -math.inf)
    return gaps.div(temperature)


@right("apply_temperature")
def logarithms_of_probabilities(logits, temperature):
    if temperature == 0.0:
        winners = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1])
        return winners.to(logits).log()
    return (logits / temperature).log_softmax(-1)


@wrong("apply_temperature", "multiply by the temperature")
def times(logits, temperature):
    if temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.full_like(logits, -math.inf).scatter(-1, best, 1.0)
    return temperature * logits


@wrong("apply_temperature", "0 needs a line of its own")
def times_always(logits, temperature):
    return torch.mul(logits, temperature)


@wrong("apply_temperature", "give it a line of its own")
def divides_always(logits, temperature):
    return torch.div(logits, temperature)


@wrong("apply_temperature", "leaves only the best")
def zero_means_off(logits, temperature):
    return logits * 1 if temperature == 0 else logits / temperature


@wrong("apply_temperature", "you return the best token")
def token_at_zero(logits, temperature):
    if temperature == 0:
        return torch.argmax(logits, dim=-1)
    return logits / temperature


@wrong("apply_temperature", "These are probabilities")
def softmax_included(logits, temperature):
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits)
    return torch.softmax(logits / temperature, dim=-1)


@wrong("apply_temperature", "divide the scores, before the softmax")
def softmax_first(logits, temperature):
    if temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.full_like(logits, -math.inf).scatter(-1, best, 1.0)
    return torch.softmax(logits, dim=-1) / temperature


@wrong("apply_temperature", "best in each row")
def best_of_all(logits, temperature):
    if temperature == 0:
        return torch.where(logits == logits.max(), logits, -math.inf)
    return logits / temperature


@wrong("apply_temperature", "changes its input logits")
def in_place(logits, temperature):
    if temperature == 0:
        return logits.masked_fill(logits < logits.max(dim=-1, keepdim=True).values, -math.inf)
    logits /= temperature
    return logits


@wrong("apply_temperature", "a NumPy array")
def with_numpy(logits, temperature):
    return logits.numpy() / np.float32(temperature or 1)


@wrong("apply_temperature", "every token keeps a score")
def an_epsilon(logits, temperature):
    return logits / max(temperature, 1e-8)


@wrong("apply_temperature", "should be -inf")
def another_epsilon(logits, temperature):
    return logits / (temperature + 1e-6)


@wrong("apply_temperature", "give it a line of its own")
def inverse_first(logits, temperature):
    return logits * (1 / temperature)


@right("top_k")
def by_order(logits, k):
    order = logits.argsort(dim=-1, descending=True, stable=True)
    return logits.scatter(-1, order[..., k:], -math.inf)


@right("top_k")
def by_a_mask(logits, k):
    keep = torch.zeros_like(logits, dtype=torch.bool)
    keep.scatter_(-1, logits.topk(k).indices, True)
    return torch.where(keep, logits, torch.tensor(-math.inf))


@right("top_k")
def row_by_row(logits, k):
    rows = logits.reshape(-1, logits.shape[-1]).clone()
    for row in rows:
        for place in row.argsort()[: len(row) - k]:
            row[place] = -math.inf
    return rows.reshape(logits.shape)


@right("top_k")
def by_rank(logits, k):
    ranks = logits.argsort(dim=-1, descending=True).argsort(dim=-1)
    return logits.masked_fill(ranks >= k, float("-inf"))


@wrong("top_k", "so more than k are left")
def below_the_border(logits, k):
    out = logits.clone()
    out[out < torch.topk(out, k).values[..., [-1]]] = -float("inf")
    return out


@wrong("top_k", "so more than k are left")
def as_in_the_first_draft(logits, k):
    border = logits.sort(dim=-1, descending=True).values[..., k - 1 : k]
    return torch.where(logits >= border, logits, -math.inf)


@wrong("top_k", "Only the k scores are left")
def shorter_rows(logits, k):
    return logits.sort(dim=-1, descending=True).values[..., :k]


@wrong("top_k", "ids of the k best")
def places(logits, k):
    return torch.topk(logits, k)[1]


@wrong("top_k", "only -inf gets none")
def zeros_elsewhere(logits, k):
    values, indices = logits.topk(k)
    return torch.zeros_like(logits).scatter(-1, indices, values)


@wrong("top_k", "One token too few")
def above_the_border(logits, k):
    border = logits.topk(k).values[..., -1:]
    return torch.where(logits > border, logits, -math.inf)


@wrong("top_k", "One token too many")
def next_border(logits, k):
    border = logits.sort(dim=-1, descending=True).values[..., min(k, logits.shape[-1] - 1)]
    return logits.masked_fill(logits < border[..., None], -math.inf)


@wrong("top_k", "keep the worst")
def smallest(logits, k):
    order = logits.argsort(dim=-1)
    return logits.scatter(-1, order[..., k:], -math.inf)


@wrong("top_k", "they are the ones to keep")
def best_forbidden(logits, k):
    order = logits.argsort(dim=-1, descending=True)
    return logits.scatter(-1, order[..., :k], -math.inf)


@wrong("top_k", "belong to other tokens")
def left_sorted(logits, k):
    out = logits.sort(dim=-1, descending=True).values.clone()
    out[..., k:] = -math.inf
    return out


@wrong("top_k", "keep k in each row")
def border_of_all(logits, k):
    border = logits.flatten().sort(descending=True).values[k - 1]
    return torch.where(logits >= border, logits, -math.inf)


@wrong("top_k", "first k tokens of the vocabulary")
def cut_off(logits, k):
    out = logits.clone()
    out[..., k:] = -math.inf
    return out


@wrong("top_k", "changes its input logits")
def top_k_in_place(logits, k):
    order = logits.argsort(dim=-1, descending=True)
    return logits.scatter_(-1, order[..., k:], -math.inf)


@wrong("top_k", "should be -inf")
def a_large_number(logits, k):
    order = logits.argsort(dim=-1, descending=True)
    return logits.scatter(-1, order[..., k:], -1.0)


@wrong("top_k", "These are probabilities")
def shares(logits, k):
    order = logits.argsort(dim=-1, descending=True)
    return logits.scatter(-1, order[..., k:], -math.inf).softmax(-1)


@right("top_p")
def upward(logits, p):
    ordered, order = logits.sort(dim=-1)
    rest = ordered.softmax(-1).cumsum(-1)                 # this one and all that are worse
    out = rest <= 1 - p + 1e-7
    out[..., -1] = False
    return logits.masked_fill(torch.zeros_like(out).scatter(-1, order, out), -math.inf)


@right("top_p")
def moved_by_one(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    ruled_out = ordered.softmax(-1).cumsum(-1) >= p
    ruled_out[..., 1:] = ruled_out[..., :-1].clone()
    ruled_out[..., 0] = False
    return logits.masked_fill(ruled_out.scatter(-1, order, ruled_out.clone()), -float("inf"))


@right("top_p")
def one_by_one(logits, p):
    rows = logits.reshape(-1, logits.shape[-1])
    out = torch.full_like(rows, -math.inf)
    for row, kept in zip(rows, out, strict=True):
        probabilities, total = row.double().softmax(-1), 0.0
        for token in row.argsort(descending=True).tolist():
            if total >= p:
                break
            kept[token] = row[token]
            total += probabilities[token].item()
    return out.reshape(logits.shape)


@right("top_p")
def by_pairs(logits, p):
    probabilities = logits.softmax(-1)
    places = torch.arange(logits.shape[-1])
    better = logits[..., None, :] > logits[..., :, None]
    equal_and_earlier = (logits[..., None, :] == logits[..., :, None]) & (places < places[:, None])
    before = ((better | equal_and_earlier) * probabilities[..., None, :]).sum(-1)
    return torch.where(before < p, logits, -math.inf)


@wrong("top_p", "rule out where the better ones have p or more, with >=")
def more_than_p(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(-1)
    ordered[probabilities.cumsum(-1) - probabilities > p] = -math.inf
    return torch.zeros_like(logits).scatter(-1, order, ordered)


@wrong("top_p", "share the last score stay, too")
def cut_by_a_score(logits, p):
    ordered = logits.sort(dim=-1, descending=True).values
    probabilities = ordered.softmax(-1)
    n_kept = (probabilities.cumsum(-1) - probabilities < p).sum(-1, keepdim=True)
    return logits.masked_fill(logits < ordered.gather(-1, n_kept - 1), -math.inf)


@wrong("top_p", "changes when only the others do")
def softmax_over_the_batch(logits, p):
    ordered, order = logits.softmax(0).sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    return logits.masked_fill(torch.zeros_like(logits).bool().scatter(-1, order, before >= p),
                              -math.inf)


@wrong("apply_temperature", "changes when only the others do")
def best_of_the_batch(logits, temperature):
    if temperature == 0:
        best = logits.argmax(dim=0, keepdim=True)
        return torch.full_like(logits, -math.inf).scatter(0, best, 0.0)
    return logits / temperature


@wrong("top_p", "reaches p is dropped")
def crossing_lost(logits, p):
    ordered, order = torch.sort(logits, descending=True)
    ordered[torch.cumsum(ordered.softmax(-1), -1) > p] = -math.inf
    return torch.zeros_like(logits).scatter_(-1, order, ordered)


@wrong("top_p", "unless it is the best one")
def crossing_lost_but_one_kept(logits, p):
    ordered, order = torch.sort(logits, descending=True)
    out = torch.cumsum(ordered.softmax(-1), -1) > p
    out[..., 0] = False
    return torch.zeros_like(logits).scatter_(-1, order, ordered.masked_fill(out, -math.inf))


@wrong("top_p", "in the order of the vocabulary")
def unsorted(logits, p):
    shares = logits.softmax(-1)
    return torch.where(shares.cumsum(-1) - shares < p, logits, -math.inf)


@wrong("top_p", "sort with descending=True")
def worst_first(logits, p):
    ordered, order = logits.sort(dim=-1)
    shares = ordered.softmax(-1)
    ordered[shares.cumsum(-1) - shares >= p] = -math.inf
    return torch.zeros_like(logits).scatter(-1, order, ordered)


@wrong("top_p", "belong to other tokens")
def stays_sorted(logits, p):
    ordered = logits.sort(dim=-1, descending=True).values
    shares = ordered.softmax(-1)
    return torch.where(shares.cumsum(-1) - shares < p, ordered, -math.inf)


@wrong("top_p", "the scores are not sorted")
def mask_of_another_order(logits, p):
    shares = logits.softmax(-1).sort(dim=-1, descending=True).values
    return logits.masked_fill(shares.cumsum(-1) - shares >= p, -math.inf)


@wrong("top_p", "probability p by themselves")
def one_alone(logits, p):
    return torch.where(logits.softmax(-1) >= p, logits, -math.inf)


@wrong("top_p", "This is min-p")
def min_p(logits, p):
    shares = logits.softmax(-1)
    return logits.masked_fill(shares < p * shares.max(-1, keepdim=True).values, -math.inf)


@wrong("top_p", "add up scores")
def sums_of_scores(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= p, -math.inf)
    return torch.zeros_like(logits).scatter(-1, order, ordered)


@wrong("top_p", "A gather with the same order")
def sorted_twice(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    shares = ordered.softmax(-1)
    ordered = ordered.masked_fill(shares.cumsum(-1) - shares >= p, -math.inf)
    return torch.gather(ordered, -1, order)


@wrong("top_p", "only -inf gets none")
def zero_scores(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    shares = ordered.softmax(-1)
    ordered = ordered.masked_fill(shares.cumsum(-1) - shares >= p, 0)
    return torch.zeros_like(logits).scatter(-1, order, ordered)


@wrong("top_p", "turn the condition around")
def tail_kept(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    shares = ordered.softmax(-1)
    ordered = ordered.masked_fill(shares.cumsum(-1) - shares < p, -math.inf)
    return torch.zeros_like(logits).scatter(-1, order, ordered)


@wrong("top_p", "scores[")
def always_two(logits, p):
    order = logits.argsort(dim=-1, descending=True)
    return logits.scatter(-1, order[..., 2:], -math.inf)


@right("extend_cache")
def with_lists(cache, keys, values):
    pairs = zip(cache or (keys[:, :, :0], values[:, :, :0]), (keys, values), strict=True)
    return [torch.cat(pair, -2) for pair in pairs]


@right("extend_cache")
def room_set_aside(cache, keys, values):
    if cache is None:
        return keys.clone(), values.clone()
    B, H, S, D = cache[0].shape
    T = keys.shape[2]
    room = keys.new_empty(2, B, H, S + T, D)
    room[0, :, :, :S], room[1, :, :, :S] = cache
    room[:, :, :, S:] = torch.stack([keys, values])
    return tuple(room)


@right("extend_cache")
def token_by_token(cache, keys, values):
    old = ([], []) if cache is None else [list(x.unbind(2)) for x in cache]
    new = [x.unbind(2) for x in (keys, values)]
    return tuple(torch.stack([*a, *b], dim=2) for a, b in zip(old, new, strict=True))


@wrong("extend_cache", "append them at the end")
def prepended(cache, keys, values):
    if cache is None:
        return keys, values
    k, v = cache
    return torch.cat((keys, k), dim=-2), torch.cat((values, v), dim=-2)


@wrong("extend_cache", "earlier tokens are lost")
def overwritten(cache, keys, values):
    cache = (keys, values)
    return cache


@wrong("extend_cache", "along the heads")
def first_free_axis(cache, keys, values):
    if cache is None:
        return keys, values
    return torch.cat([cache[0], keys], dim=1), torch.cat([cache[1], values], dim=1)


@wrong("extend_cache", "along the batch")
def default_axis(cache, keys, values):
    if cache is None:
        return keys, values
    return torch.cat([cache[0], keys]), torch.cat([cache[1], values])


@wrong("extend_cache", "along the width")
def last_axis(cache, keys, values):
    if cache is None:
        return keys, values
    return torch.cat([cache[0], keys], -1), torch.cat([cache[1], values], -1)


@wrong("extend_cache", "Only the keys have grown")
def forgot_the_values(cache, keys, values):
    if cache is not None:
        keys = torch.cat([cache[0], keys], dim=2)
    return keys, values


@wrong("extend_cache", "return the keys first")
def values_first(cache, keys, values):
    if cache is None:
        return values, keys
    return torch.cat([cache[1], values], dim=2), torch.cat([cache[0], keys], dim=2)


@wrong("extend_cache", "keys twice")
def copied_line(cache, keys, values):
    if cache is None:
        return keys, keys
    k = torch.cat([cache[0], keys], dim=2)
    v = torch.cat([cache[0], keys], dim=2)
    return k, v


@wrong("extend_cache", "with torch.cat")
def plus(cache, keys, values):
    if cache is None:
        return keys, values
    k, v = cache
    return k + keys, v + values


@wrong("extend_cache", "as a pair")
def in_one_tensor(cache, keys, values):
    if cache is not None:
        keys, values = torch.cat([cache[0], keys], 2), torch.cat([cache[1], values], 2)
    return torch.stack((keys, values))


@wrong("extend_cache", "new tokens are missing")
def returns_the_old(cache, keys, values):
    if cache is None:
        return keys, values
    torch.cat([cache[0], keys], dim=2)
    torch.cat([cache[1], values], dim=2)
    return cache


@wrong("extend_cache", "At first there is no cache")
def there_is_always_a_cache(cache, keys, values):
    k, v = cache
    return torch.cat([k, keys], dim=2), torch.cat([v, values], dim=2)


@wrong("extend_cache", "must return 2 things")
def only_keys_come_back(cache, keys, values):
    if cache is None:
        return (keys,)
    return (torch.cat([cache[0], keys], dim=2),)


@wrong("extend_cache", "Only the last of the new tokens")
def one_at_a_time(cache, keys, values):
    keys, values = keys[:, :, [-1]], values[:, :, [-1]]
    if cache is None:
        return keys, values
    return torch.cat([cache[0], keys], dim=2), torch.cat([cache[1], values], dim=2)


@wrong("apply_temperature", "you rule out the best token")
def best_scattered_away(logits, temperature):
    if temperature == 0:
        return logits.scatter(-1, logits.argmax(dim=-1, keepdim=True), -math.inf)
    return logits / temperature


@wrong("apply_temperature", "same probabilities as those that came in")
def logarithm_of_divided_probabilities(logits, temperature):
    if temperature == 0:
        best = logits.argmax(dim=-1, keepdim=True)
        return torch.full_like(logits, -math.inf).scatter(-1, best, 0.0)
    return (logits.softmax(dim=-1) / temperature).log()


@wrong("top_k", "the first k scores of each row")
def scores_as_they_come(logits, k):
    nothing = torch.full_like(logits, -math.inf)
    return nothing.scatter(-1, logits.topk(k).indices, logits)


@right("top_k")
def one_after_the_other(logits, k):
    kept, rest = torch.zeros_like(logits, dtype=torch.bool), logits.clone()
    for _ in range(k):
        best = rest.argmax(dim=-1, keepdim=True)
        kept.scatter_(-1, best, True)
        rest.scatter_(-1, best, -math.inf)
    return torch.where(kept, logits, -math.inf)


@wrong("top_p", "the first place of the mask keeps its old value")
def moved_on_but_for_the_first(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    too_late = ordered.softmax(dim=-1).cumsum(dim=-1) > p
    too_late[..., 1:] = too_late[..., :-1].clone()
    return logits.masked_fill(torch.zeros_like(too_late).scatter(-1, order, too_late), -math.inf)


@wrong("top_p", "In every row equally many tokens are left")
def share_of_the_vocabulary(logits, p):
    best = logits.topk(max(1, int(p * logits.shape[-1])))
    return torch.full_like(logits, -math.inf).scatter(-1, best.indices, best.values)


@wrong("top_p", "All the right tokens are left, but some others")
def two_more(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    before = ordered.softmax(dim=-1).cumsum(dim=-1).roll(3, -1)
    before[..., :3] = 0
    kept = ordered.masked_fill(before >= p, -math.inf)
    return torch.empty_like(logits).scatter(-1, order, kept)


@wrong("top_p", "Too few tokens are left")
def half_of_it(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    kept = ordered.masked_fill(probabilities.cumsum(-1) - probabilities >= p / 2, -math.inf)
    return torch.empty_like(logits).scatter(-1, order, kept)


@right("top_p")
def each_compared_with_each(logits, p):
    shares, places = logits.softmax(dim=-1), torch.arange(logits.shape[-1])
    one, other = shares[..., :, None], shares[..., None, :]
    better = (other > one) | ((other == one) & (places < places[:, None]))
    return logits.masked_fill((better * other).sum(dim=-1) >= p - 1e-6, -math.inf)


@right("extend_cache")
def from_nothing(cache, keys, values):
    cache = cache or (keys[:, :, :0], values[:, :, :0])
    return [torch.cat(pair, dim=-2) for pair in zip(cache, (keys, values), strict=True)]


@wrong("extend_cache", "a view or reshape cuts rows anew")
def cut_anew(cache, keys, values):
    if cache is None:
        return keys, values
    B, H, _, D = keys.shape
    return tuple(torch.cat([old.flatten(), new.flatten()]).view(B, H, -1, D)
                 for old, new in zip(cache, (keys, values), strict=True))


@wrong("extend_cache", "put zeros in front")
def begins_with_zeros(cache, keys, values):
    if cache is None:
        cache = torch.zeros_like(keys), torch.zeros_like(values)
    return torch.cat([cache[0], keys], dim=2), torch.cat([cache[1], values], dim=2)


@wrong("extend_cache", "a row of four tensors")
def pair_plus_pair(cache, keys, values):
    return (cache or ()) + (keys, values)


@wrong("extend_cache", "side by side")
def pairs_in_a_list(cache, keys, values):
    return (keys, values) if cache is None else [cache, (keys, values)]


@wrong("extend_cache", "Only the first of the new tokens")
def one_new_token(cache, keys, values):
    if cache is None:
        return keys, values
    return (torch.cat([cache[0], keys[:, :, [0]]], dim=2),
            torch.cat([cache[1], values[:, :, [0]]], dim=2))


@wrong("extend_cache", "in one list")
def cat_without_a_list(cache, keys, values):
    if cache is None:
        return keys, values
    return torch.cat(cache[0], keys, dim=2), torch.cat(cache[1], values, dim=2)


@wrong("extend_cache", "not at their places")
def new_and_old_by_turns(cache, keys, values):
    if cache is None:
        return keys, values
    if cache[0].shape != keys.shape:
        return torch.cat([cache[0], keys], dim=2), torch.cat([cache[1], values], dim=2)
    return tuple(torch.stack(pair, dim=3).flatten(2, 3)
                 for pair in zip(cache, (keys, values), strict=True))


@wrong("top_p", "in sorted order")
def rules_out_in_another_order(logits, p):
    ordered = logits.sort(dim=-1, descending=True).values
    shares = ordered.softmax(dim=-1)
    return torch.where(shares.cumsum(dim=-1) - shares < p, logits, -math.inf)


@wrong("apply_temperature", "look for a division by zero")
def only_a_whole_zero(logits, temperature):
    if isinstance(temperature, int):
        best = logits.argmax(dim=-1, keepdim=True)
        return torch.full_like(logits, -math.inf).scatter(-1, best, 0.0)
    return logits / temperature


def best_only(logits):
    best = logits.argmax(dim=-1, keepdim=True)
    return torch.full_like(logits, -math.inf).scatter(-1, best, 0.0)


@wrong("apply_temperature", "rounds every quotient down")
def whole_quotients(logits, temperature):
    return best_only(logits) if temperature == 0 else logits // temperature


@wrong("apply_temperature", "you return one score for each row")
def the_score_alone(logits, temperature):
    return logits.max(dim=-1).values if temperature == 0 else logits / temperature


@wrong("apply_temperature", "No token is left in any row")
def nothing_left_at_zero(logits, temperature):
    return torch.full_like(logits, -math.inf) if temperature == 0 else logits / temperature


@wrong("apply_temperature", "For logits of shape (4,) it would be right, for (3, 4) it is not")
def best_as_index(logits, temperature):
    if temperature == 0:
        kept = torch.full_like(logits, -math.inf)
        kept[logits.argmax(dim=-1)] = 0
        return kept
    return logits / temperature


@wrong("top_k", "0 times infinity is no number")
def mask_times_infinity(logits, k):
    ruled_out = torch.ones_like(logits).scatter(-1, logits.topk(k).indices, 0.0)
    return logits + ruled_out * -math.inf


@wrong("top_k", "The right tokens are left, but with other scores")
def shares_of_the_kept(logits, k):
    values, places = logits.topk(k, dim=-1)
    return torch.full_like(logits, -math.inf).scatter(-1, places, values.softmax(dim=-1))


@wrong("top_k", "All rows are cut at one border")
def lowest_border_of_all(logits, k):
    return logits.masked_fill(logits < logits.topk(k).values.min(), -math.inf)


@wrong("top_k", "it does two different things")
def drawn_by_chance(logits, k):
    rows = logits.reshape(-1, logits.shape[-1])
    drawn = torch.multinomial(rows.softmax(dim=-1), k)
    kept = torch.full_like(rows, -math.inf).scatter(-1, drawn, rows.gather(-1, drawn))
    return kept.view_as(logits)


@wrong("top_p", "The token that reaches p is dropped, so what is left stays below p")
def reached_with_it(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    ordered = ordered.masked_fill(ordered.softmax(dim=-1).cumsum(dim=-1) >= p, -math.inf)
    return torch.empty_like(logits).scatter(-1, order, ordered)


@wrong("top_p", "The token that reaches p is dropped, so what is left stays below p")
def as_many_as_stay_below_p(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    enough = (ordered.softmax(dim=-1).cumsum(dim=-1) < p).sum(dim=-1, keepdim=True)
    return logits.masked_fill(order.argsort(dim=-1) >= enough, -math.inf)


@wrong("top_p", "is dropped, unless it is the best one")
def first_one_always(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    remove = ordered.softmax(dim=-1).cumsum(dim=-1) >= p
    remove[..., 0] = False
    return logits.masked_fill(remove.gather(-1, order.argsort(dim=-1)), -math.inf)


@wrong("top_p", "There is a row in which everything is ruled out")
def moved_on_in_a_circle(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    remove = (ordered.softmax(dim=-1).cumsum(dim=-1) >= p).roll(1, -1)
    return torch.empty_like(logits).scatter(-1, order, ordered.masked_fill(remove, -math.inf))


@wrong("top_p", "treat each row by itself")
def total_never_set_back(logits, p):
    rows, total = logits.reshape(-1, logits.shape[-1]), 0.0
    kept = torch.full_like(rows, -math.inf)
    for n, row in enumerate(rows):
        probabilities = row.softmax(dim=-1)
        for token in row.argsort(descending=True):
            if total >= p:
                break
            kept[n, token] = row[token]
            total += probabilities[token].item()
    return kept.view_as(logits)


@wrong("top_p", "take the softmax of the sorted ones")
def softmax_of_the_unsorted(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = logits.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    ordered = ordered.masked_fill(before >= p, -math.inf)
    return torch.empty_like(logits).scatter(-1, order, ordered)


@wrong("top_p", "not the rank of each token")
def order_for_ranks(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    n_kept = (ordered.softmax(dim=-1).cumsum(dim=-1) < p).sum(dim=-1, keepdim=True) + 1
    return torch.where(order < n_kept, logits, -math.inf)


@wrong("top_p", "The softmax is applied twice")
def softmax_again(logits, p):
    ordered, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
    shares = ordered.softmax(dim=-1)
    remove = shares.cumsum(dim=-1) - shares >= p
    return logits.masked_fill(torch.zeros_like(remove).scatter(-1, order, remove), -math.inf)


@wrong("top_p", "You divide by the sum over all rows")
def by_the_sum_of_everything(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    shares = ordered.exp() / ordered.exp().sum()
    ordered = ordered.masked_fill(shares.cumsum(dim=-1) - shares >= p, -math.inf)
    return torch.empty_like(logits).scatter(-1, order, ordered)


@wrong("top_p", "write into all rows at once")
def written_by_index(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    shares, kept = ordered.softmax(dim=-1), torch.full_like(logits, -math.inf)
    kept[..., order] = ordered.masked_fill(shares.cumsum(dim=-1) - shares >= p, -math.inf)
    return kept


@wrong("extend_cache", "loses an axis, which x[:, :, t : t + 1] keeps")
def token_by_token_without_axis(cache, keys, values):
    if cache is None:
        return keys, values
    old_keys, old_values = cache
    for t in range(keys.shape[2]):
        old_keys = torch.cat([old_keys, keys[:, :, t]], dim=2)
        old_values = torch.cat([old_values, values[:, :, t]], dim=2)
    return old_keys, old_values


@wrong("extend_cache", "asked by place, pair[0]")
def cache_with_names(cache, keys, values):
    if cache is None:
        return {"keys": keys, "values": values}
    return {"keys": torch.cat([cache["keys"], keys], dim=2),
            "values": torch.cat([cache["values"], values], dim=2)}


@wrong("apply_temperature", "The two cases are swapped")
def zero_and_the_others(logits, temperature):
    return best_only(logits) if temperature else logits / temperature


@wrong("apply_temperature", "it holds values and their places")
def both_results_of_max(logits, temperature):
    return logits.max(dim=-1) if temperature == 0 else logits / temperature


@wrong("top_k", "a mask says where")
def which_are_kept(logits, k):
    return torch.zeros_like(logits, dtype=torch.bool).scatter(-1, logits.topk(k).indices, True)


@wrong("top_p", "with p = 1, some tokens are ruled out")
def one_is_always_left_out(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    shares = ordered.softmax(dim=-1)
    remove = shares.cumsum(dim=-1) - shares >= p
    if p == 1:
        remove[..., -1] = True
    return logits.masked_fill(torch.zeros_like(remove).scatter(-1, order, remove), -math.inf)


@wrong("top_p", "And the token that reaches p is to stay")
def unsorted_until_it_reaches_p(logits, p):
    return logits.masked_fill(logits.softmax(dim=-1).cumsum(dim=-1) >= p, -math.inf)


@wrong("extend_cache", "That is values, where keys should stand")
def swapped_at_first(cache, keys, values):
    if cache is None:
        return values, keys
    return torch.cat([cache[0], keys], dim=2), torch.cat([cache[1], values], dim=2)


def unit_long(x):
    return x / x.norm(dim=-1, keepdim=True)


@wrong("extend_cache", "the new ones must stay as they came in")
def new_keys_normed(cache, keys, values):
    if cache is None:
        return unit_long(keys), values
    return torch.cat([cache[0], unit_long(keys)], dim=2), torch.cat([cache[1], values], dim=2)


@wrong("extend_cache", "the new ones must stay as they came in")
def room_left_empty(cache, keys, values):
    if cache is None:
        return keys, values
    return tuple(torch.cat([old, torch.zeros_like(new)], dim=2)
                 for old, new in zip(cache, (keys, values), strict=True))


@wrong("extend_cache", "the earlier ones must stay as they were")
def earlier_ones_faded(cache, keys, values):
    if cache is None:
        return keys, values
    return tuple(torch.cat([0.9 * old, new], dim=2)
                 for old, new in zip(cache, (keys, values), strict=True))


@wrong("apply_temperature", "only the best token of the whole tensor is left")
def best_of_all_rows(logits, temperature):
    if temperature == 0:
        kept = torch.full_like(logits, -math.inf)
        kept.view(-1)[logits.argmax()] = 0.0
        return kept
    return logits / temperature


@wrong("top_k", "so keep what they return")
def scattered_for_nobody(logits, k):
    values, best = logits.topk(k, dim=-1)
    nothing = torch.full_like(logits, -math.inf)
    nothing.scatter(-1, best, values)
    return nothing


@wrong("top_k", "so keep what they return")
def filled_for_nobody(logits, k):
    logits.masked_fill(logits < logits.topk(k, dim=-1).values[..., -1:], -math.inf)
    return logits


@wrong("top_p", "so keep what it returns")
def tail_ruled_out_for_nobody(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    ordered.masked_fill(probabilities.cumsum(dim=-1) - probabilities >= p, -math.inf)
    return torch.empty_like(logits).scatter(-1, order, ordered)


@wrong("top_p", "You count the tokens of all rows together")
def one_count_for_all_rows(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    enough = (ordered.softmax(dim=-1).cumsum(dim=-1) < p).sum() + 1
    ordered[..., enough:] = -math.inf
    return torch.empty_like(logits).scatter(-1, order, ordered)


@wrong("extend_cache", "so return these")
def nothing_at_first(cache, keys, values):
    if cache is None:
        return None
    return torch.cat([cache[0], keys], dim=2), torch.cat([cache[1], values], dim=2)


@wrong("extend_cache", "so return these")
def only_if_there_is_one(cache, keys, values):
    if cache is not None:
        return torch.cat([cache[0], keys], dim=2), torch.cat([cache[1], values], dim=2)


@wrong("extend_cache", "A pair cannot grow")
def appended_as_a_pair(cache, keys, values):
    if cache is None:
        cache = []
    cache.append((keys, values))
    return cache


def too_late(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    return ordered, order, probabilities.cumsum(dim=-1) - probabilities >= p


@wrong("top_p", "Square brackets with the order sort once more")
def picked_by_the_order(logits, p):
    ordered, order, remove = too_late(logits, p)
    return ordered.masked_fill(remove, -math.inf)[..., order]


@wrong("top_p", "You put the unsorted scores back")
def wrong_ones_put_back(logits, p):
    _, order, remove = too_late(logits, p)
    kept = logits.masked_fill(remove, -math.inf)
    return torch.empty_like(logits).scatter(-1, order, kept)


@wrong("top_p", "A sort names the token at each rank")
def mask_picked_by_the_order(logits, p):
    _, order, remove = too_late(logits, p)
    return logits.masked_fill(remove[order], -math.inf)


@wrong("top_k", "take .indices, not .values")
def values_as_places(logits, k):
    best = logits.topk(k, dim=-1).values
    return torch.full_like(logits, -math.inf).scatter(-1, best, logits.gather(-1, best))
