"""Answers to the exercises of chapter 4, right and wrong, as learners write them."""

import math

import torch
import torch.nn.functional as F
from collecting import right, wrong

from gptlib.blocks import gelu


@right("layer_norm")
def from_torch(x, scale, shift, eps=1e-5):
    return F.layer_norm(x, scale.shape, scale, shift, eps)


@right("layer_norm")
def by_sums(x, scale, shift, eps=1e-5):
    C = x.shape[-1]
    centered = x - (x.sum(-1) / C).unsqueeze(-1)
    variance = (centered**2).sum(-1, keepdim=True) / C
    return shift + centered * (variance + eps) ** -0.5 * scale


@right("layer_norm")
def in_double(x, scale, shift, eps=1e-5):
    x = x.double()
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return (x - mean).div(torch.sqrt(variance + eps)).mul(scale).add(shift)


@right("layer_norm")
def in_place_on_an_own_copy(x, scale, shift, eps=1e-5):
    x = x - x.mean(-1, keepdim=True)
    deviation = (x.square().mean(-1, keepdim=True) + eps).sqrt()
    x = x / deviation
    x *= scale
    x += shift
    return x


@wrong("layer_norm", "C - 1")
def unbiased_by_default(x, scale, shift, eps=1e-5):
    mean = x.mean(-1, keepdim=True)
    return scale * (x - mean) / torch.sqrt(x.var(-1, keepdim=True) + eps) + shift


@wrong("layer_norm", "torch's std")
def with_std(x, scale, shift, eps=1e-5):
    return scale * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + eps) + shift


@wrong("layer_norm", "outside the root")
def eps_outside_the_root(x, scale, shift, eps=1e-5):
    deviation = x.std(-1, keepdim=True, correction=0)
    return scale * (x - x.mean(-1, keepdim=True)) / (deviation + eps) + shift


@wrong("layer_norm", "eps is missing")
def without_eps(x, scale, shift, eps=1e-5):
    deviation = x.std(-1, keepdim=True, correction=0)
    return scale * (x - x.mean(-1, keepdim=True)) / deviation + shift


@wrong("layer_norm", "taken over the tokens")
def over_the_tokens(x, scale, shift, eps=1e-5):
    mean, variance = x.mean(-2, keepdim=True), x.var(-2, keepdim=True, correction=0)
    return scale * (x - mean) / torch.sqrt(variance + eps) + shift


@wrong("layer_norm", "RuntimeError")
def forgets_keepdim(x, scale, shift, eps=1e-5):
    return scale * (x - x.mean(-1)) / torch.sqrt(x.var(-1, correction=0) + eps) + shift


@wrong("layer_norm", "learned scale and shift are missing")
def only_normalizes(x, scale, shift, eps=1e-5):
    return F.layer_norm(x, scale.shape, eps=eps)


@wrong("layer_norm", "it changes its input x")
def on_the_input(x, scale, shift, eps=1e-5):
    x -= x.mean(-1, keepdim=True)
    return scale * x / (x.square().mean(-1, keepdim=True) + eps).sqrt() + shift


@wrong("layer_norm", "output[")
def absolute_deviation(x, scale, shift, eps=1e-5):
    centered = x - x.mean(-1, keepdim=True)
    return scale * centered / (centered.abs().mean(-1, keepdim=True) + eps) + shift


@wrong("layer_norm", "your function takes (x, scale, shift)")
def without_the_argument(x, scale, shift):
    return F.layer_norm(x, scale.shape, scale, shift)


@wrong("layer_norm", "no gradient reaches scale")
def scale_detached(x, scale, shift, eps=1e-5):
    return F.layer_norm(x, scale.shape, scale.detach(), shift, eps)


@right("gelu")
def torchs_tanh_form(x):
    return F.gelu(x, approximate="tanh")


@right("gelu")
def with_a_sigmoid(x):
    return x * torch.sigmoid(2 * (2 / math.pi) ** 0.5 * (x + 0.044715 * x.pow(3)))


@right("gelu")
def in_double_by_steps(x):
    x = x.double()
    inner = torch.sqrt(torch.tensor(2 / torch.pi)) * (x + 0.044715 * torch.pow(x, 3))
    return x / 2 * (1 + inner.tanh())


@wrong("gelu", "error function")
def torchs_default(x):
    return F.gelu(x)


@wrong("gelu", "error function")
def erf_by_hand(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


@wrong("gelu", "This is ReLU")
def clamped(x):
    return x.clamp(min=0)


@wrong("gelu", "SiLU")
def swish(x):
    return F.silu(x)


@wrong("gelu", "factor 0.5")
def without_half(x):
    return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@wrong("gelu", "without its square root")
def without_root(x):
    return 0.5 * x * (1 + torch.tanh((2 / math.pi) * (x + 0.044715 * x**3)))


@wrong("gelu", "x is squared")
def wrong_power(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x)))


@wrong("gelu", "output[")
def root_upside_down(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(math.pi / 2) * (x + 0.044715 * x**3)))


@wrong("gelu", "output[")
def bracket_too_early(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * x + 0.044715 * x**3))


@wrong("gelu", "TypeError")
def math_instead_of_torch(x):
    return 0.5 * x * (1 + math.tanh([x]))


@wrong("gelu", "output[")
def a_constant_with_a_slip(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.44715 * x**3)))


@wrong("gelu", "it changes its input x")
def in_place(x):
    return x.mul_(torch.sigmoid(2 * (2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)))


@right("feed_forward")
def three_lines(x, expand, contract):
    x = expand(x)
    x = F.gelu(x, approximate="tanh")
    return contract(x)


@right("feed_forward")
def with_the_weights_themselves(x, expand, contract):
    hidden = gelu(x @ expand.weight.T + expand.bias)
    return hidden @ contract.weight.T + contract.bias


@wrong("feed_forward", "gelu is missing")
def linear_only(x, expand, contract):
    return contract(expand(x))


@wrong("feed_forward", "ReLU")
def the_older_bend(x, expand, contract):
    return contract(torch.relu(expand(x)))


@wrong("feed_forward", "error function")
def default_gelu(x, expand, contract):
    return contract(torch.nn.GELU()(expand(x)))


@wrong("feed_forward", "after contract")
def bend_last(x, expand, contract):
    return F.gelu(contract(expand(x)), approximate="tanh")


@wrong("feed_forward", "outside of this network")
def adds_x(x, expand, contract):
    return x + contract(gelu(expand(x)))


@wrong("feed_forward", "RuntimeError")
def the_wrong_order(x, expand, contract):
    return expand(gelu(contract(x)))


@wrong("feed_forward", "still wide")
def forgets_to_contract(x, expand, contract):
    return gelu(expand(x))


@wrong("feed_forward", "output[")
def forgets_the_biases(x, expand, contract):
    return gelu(x @ expand.weight.T) @ contract.weight.T


@wrong("feed_forward", "output[")
def averages_the_tokens(x, expand, contract):
    return contract(gelu(expand(x.mean(1, keepdim=True)))).expand_as(x)


@wrong("feed_forward", "it changes its input expand")
def doubles_a_weight(x, expand, contract):
    with torch.no_grad():
        expand.weight.mul_(1.0)
        expand.bias.add_(1.0)
        hidden = gelu(expand(x) - 1.0)
    return contract(hidden)


@right("transformer_block")
def with_names_for_all(x, attention_norm, attention, feed_forward_norm, feed_forward):
    found = attention(attention_norm(x))
    middle = x + found
    thought = feed_forward(feed_forward_norm(middle))
    return middle + thought


@right("transformer_block")
def with_lists_of_parts(x, attention_norm, attention, feed_forward_norm, feed_forward):
    for norm, part in [(attention_norm, attention), (feed_forward_norm, feed_forward)]:
        x = torch.add(part(norm(x)), x)
    return x


@wrong("transformer_block", "changed in place")
def in_place_on_a_clone(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = x.clone()
    x += attention(attention_norm(x))
    x += feed_forward(feed_forward_norm(x))
    return x


@wrong("transformer_block", "it changes its input x")
def in_place_on_the_stream(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x += attention(attention_norm(x))
    x += feed_forward(feed_forward_norm(x))
    return x


@wrong("transformer_block", "Both shortcuts")
def a_chain(x, attention_norm, attention, feed_forward_norm, feed_forward):
    return feed_forward(feed_forward_norm(attention(attention_norm(x))))


@wrong("transformer_block", "as in 2017")
def post_norm(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = attention_norm(attention(x) + x)
    return feed_forward_norm(feed_forward(x) + x)


@wrong("transformer_block", "takes the place of x")
def loses_the_stream(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = attention_norm(x)
    x = x + attention(x)
    x = feed_forward_norm(x)
    x = x + feed_forward(x)
    return x


@wrong("transformer_block", "reads the old x")
def in_parallel(x, attention_norm, attention, feed_forward_norm, feed_forward):
    gathered, thought = attention(attention_norm(x)), feed_forward(feed_forward_norm(x))
    return x + gathered + thought


@wrong("transformer_block", "added to the old x")
def forgets_what_was_found(x, attention_norm, attention, feed_forward_norm, feed_forward):
    y = x + attention(attention_norm(x))
    return x + feed_forward(feed_forward_norm(y))


@wrong("transformer_block", "two norms are swapped")
def mixes_up_the_norms(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = x + attention(feed_forward_norm(x))
    return x + feed_forward(attention_norm(x))


@wrong("transformer_block", "first: a token gathers")
def thinks_first(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = x + feed_forward(feed_forward_norm(x))
    return x + attention(attention_norm(x))


@wrong("transformer_block", "output[")
def adds_x_twice(x, attention_norm, attention, feed_forward_norm, feed_forward):
    y = x + attention(attention_norm(x))
    return x + y + feed_forward(feed_forward_norm(y))


@wrong("transformer_block", "you return x + attention(...) - feed_forward(...)")
def subtracts(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = x + attention(attention_norm(x))
    return x - feed_forward(feed_forward_norm(x))


@wrong("transformer_block", "output[")
def x_unchanged(x, attention_norm, attention, feed_forward_norm, feed_forward):
    return x.clone()


@wrong("transformer_block", "no gradient reaches x")
def cut_off(x, attention_norm, attention, feed_forward_norm, feed_forward):
    with torch.no_grad():
        x = x + attention(attention_norm(x))
        return x + feed_forward(feed_forward_norm(x))


@wrong("gelu", "ten times too large")
def a_zero_short(x):
    return x / 2 * (1 + torch.tanh((2 / math.pi) ** 0.5 * (x + 0.44715 * x.pow(3))))


@wrong("gelu", "inside its brackets")
def brackets_too_tight(x):
    return x / 2 * (1 + torch.tanh((2 / math.pi) ** 0.5 * x + 0.044715 * x.pow(3)))


@wrong("gelu", "must be 1 plus tanh")
def closes_for_large_ones(x):
    return x / 2 * (1 - torch.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x.pow(3))))


@wrong("gelu", "changed places")
def half_of_pi(x):
    return x / 2 * (1 + torch.tanh((math.pi / 2) ** 0.5 * (x + 0.044715 * x.pow(3))))


@wrong("gelu", "the hyperbolic one")
def not_hyperbolic(x):
    return x / 2 * (1 + torch.tan((2 / math.pi) ** 0.5 * (x + 0.044715 * x.pow(3))))


@wrong("feed_forward", "twice in a row")
def bent_and_bent(x, expand, contract):
    return contract(gelu(gelu(expand(x))))


@wrong("feed_forward", "biases are left out")
def weights_only(x, expand, contract):
    return F.linear(gelu(F.linear(x, expand.weight)), contract.weight)


@wrong("layer_norm", "a part of the gradient of x is lost")
def mean_without_gradient(x, scale, shift, eps=1e-5):
    with torch.no_grad():
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
    return scale * (x - mean) / torch.sqrt(variance + eps) + shift


@wrong("layer_norm", "each vector must have the mean 0")
def unpacked_the_other_way(x, scale, shift, eps=1e-5):
    mean, variance = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return scale * (x - mean) / torch.sqrt(variance.abs() + eps) + shift


@wrong("layer_norm", "subtract its mean first, in brackets")
def brackets_forgotten(x, scale, shift, eps=1e-5):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
    return scale * (x - mean / torch.sqrt(variance + eps)) + shift


@wrong("layer_norm", "each vector must have the variance 1")
def sum_of_the_squares(x, scale, shift, eps=1e-5):
    centered = x - x.mean(-1, keepdim=True)
    return scale * centered / (centered.square().sum(-1, keepdim=True) + eps).sqrt() + shift


@wrong("layer_norm", "What becomes of one vector changes with the others")
def all_axes_but_the_first(x, scale, shift, eps=1e-5):
    return F.layer_norm(x, x.shape[1:], eps=eps) * scale + shift


@wrong("layer_norm", "With scale 1 and shift 0 it is right")
def shift_subtracted(x, scale, shift, eps=1e-5):
    return F.layer_norm(x, scale.shape, scale, -shift, eps)


@wrong("layer_norm", "All is right but eps")
def eps_twice(x, scale, shift, eps=1e-5):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
    return scale * (x - mean) / (torch.sqrt(variance + eps) + eps) + shift


@wrong("layer_norm", "That is no usable number")
def root_of_a_negative_number(x, scale, shift, eps=1e-5):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
    return scale * ((x - mean) / (variance + eps)).sqrt() + shift


@wrong("gelu", "x is multiplied by 2.50663")
def root_of_two_pi(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 * math.pi) * (x + 0.044715 * x**3)))


@wrong("gelu", "x is multiplied by 0.80000")
def a_rounded_root(x):
    return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.044715 * x**3)))


@wrong("gelu", "x³ by -0.03568")
def minus_the_cube(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x - 0.044715 * x**3)))


@wrong("gelu", "Inside of the tanh stands something other")
def a_bracket_too_far(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715) * x**3))


@wrong("gelu", "Outside of the tanh, or in place of it")
def the_root_outside(x):
    return 0.5 * x * (1 + math.sqrt(2 / math.pi) * torch.tanh(x + 0.044715 * x**3))


@wrong("gelu", "write **")
def a_roof_for_the_power(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ^ 3)))


@wrong("gelu", "use torch's function instead of Python's")
def tanh_of_math(x):
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@wrong("feed_forward", "You bend with SiLU")
def another_bend(x, expand, contract):
    return contract(F.silu(expand(x)))


@wrong("feed_forward", "contract is never called")
def the_second_bias_forgotten(x, expand, contract):
    return gelu(expand(x)) @ contract.weight.T


@wrong("feed_forward", "expand reads a normalized x")
def normalizes_first(x, expand, contract):
    return contract(gelu(expand(F.layer_norm(x, x.shape[-1:]))))


@wrong("feed_forward", "Something is done with what contract returns")
def mean_taken_out(x, expand, contract):
    result = contract(gelu(expand(x)))
    return result - result.mean(dim=-1, keepdim=True)


@wrong("feed_forward", "expand is called more than once")
def expands_twice(x, expand, contract):
    return contract(gelu(expand(x) + expand(x)))


@wrong("feed_forward", "a layer stores its matrix the other way around")
def matrices_as_they_are_stored(x, expand, contract):
    return gelu(x @ expand.weight) @ contract.weight


@wrong("feed_forward", "call it, with brackets")
def only_put_together(x, expand, contract):
    return torch.nn.Sequential(expand, torch.nn.GELU("tanh"), contract)


@wrong("transformer_block", "feed_forward_norm reads attention_norm(...) + attention(...)")
def stream_replaced_at_first(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = attention_norm(x)
    x = x + attention(x)
    return x + feed_forward(feed_forward_norm(x))


@wrong("transformer_block", "you return feed_forward_norm(...) + feed_forward(...): it must be")
def stream_replaced_later(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = x + attention(attention_norm(x))
    x = feed_forward_norm(x)
    return x + feed_forward(x)


@wrong("transformer_block", "attention_norm is never called")
def a_norm_of_its_own(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = x + attention(F.layer_norm(x, x.shape[-1:]))
    return x + feed_forward(F.layer_norm(x, x.shape[-1:]))


@wrong("transformer_block", "attention_norm is called more than once")
def attention_once_more(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = x + attention(attention_norm(x))
    x = x + attention(attention_norm(x))
    return x + feed_forward(feed_forward_norm(x))


@wrong("transformer_block", "Called twice with the same input")
def with_dropout(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = x + F.dropout(attention(attention_norm(x)), 0.3)
    return x + F.dropout(feed_forward(feed_forward_norm(x)), 0.3)


@wrong("transformer_block", "more than it takes")
def three_times_the_same(x, attention_norm, attention, feed_forward_norm, feed_forward):
    normed = attention_norm(x)
    x = x + attention(normed, normed, normed)
    return x + feed_forward(feed_forward_norm(x))


@right("layer_norm")
def one_group_of_torchs_group_norm(x, scale, shift, eps=1e-5):
    return F.group_norm(x.reshape(-1, x.shape[-1]), 1, scale, shift, eps).view(x.shape)


@wrong("layer_norm", "What becomes of one vector changes with the others")
def variance_of_the_first_vector(x, scale, shift, eps=1e-5):
    variance = x.flatten()[: x.shape[-1]].var(correction=0)
    return scale * (x - x.mean(-1, keepdim=True)) / (variance + eps).sqrt() + shift


@wrong("feed_forward", "contract reads something other than")
def most_neurons_silenced(x, expand, contract):
    hidden = expand(x)
    hidden[..., x.shape[-1] :] = 0
    return contract(gelu(hidden))


@wrong("feed_forward", "A log_softmax was applied")
def log_softmax_at_the_end(x, expand, contract):
    return contract(gelu(expand(x))).log_softmax(-1)


@wrong("layer_norm", "divided by C - 1")
def std_of_torch_and_no_shift(x, scale, shift, eps=1e-5):
    return scale * (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)


@wrong("gelu", "That is softplus")
def the_logarithm_of_one_plus_e(x):
    return torch.log(1 + torch.exp(x))


@wrong("gelu", "That is ELU")
def e_below_zero(x):
    return torch.where(x > 0, x, x.exp() - 1)


@wrong("gelu", "far from 0 you have x (0 + 1 tanh)")
def neither_half_nor_one(x):
    return x * torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


@wrong("gelu", "you have x (0.5 + 1 tanh), but must have x (0.5 + 0.5 tanh)")
def half_inside_the_brackets(x):
    return x * (0.5 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@wrong("gelu", "A sigmoid stands where the tanh belongs")
def one_plus_a_sigmoid(x):
    return x / 2 * (1 + torch.sigmoid((2 / math.pi) ** 0.5 * (x + 0.044715 * x.pow(3))))


@wrong("gelu", "a sigmoid takes the double")
def a_sigmoid_of_the_same(x):
    return x / (1 + torch.exp(-((2 / math.pi) ** 0.5) * (x + 0.044715 * x.pow(3))))


@wrong("gelu", "as 1 // 2 is")
def half_of_nothing(x):
    return 1 // 2 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@wrong("feed_forward", "You bend with the sigmoid form of GELU")
def a_quicker_gelu(x, expand, contract):
    hidden = expand(x)
    return contract(hidden * torch.sigmoid(1.702 * hidden))


@wrong("feed_forward", "You bend with the square of ReLU")
def as_in_primer(x, expand, contract):
    return contract(F.relu(expand(x)) ** 2)


@wrong("feed_forward", "contract reads expand(...) + gelu(...), but must read gelu(...)")
def a_shortcut_inside(x, expand, contract):
    hidden = expand(x)
    return contract(hidden + gelu(hidden))


@wrong("feed_forward", "contract reads 2 gelu(...)")
def without_half_of_gelu(x, expand, contract):
    hidden = expand(x)
    inner = math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)
    return contract(hidden * (1 + torch.tanh(inner)))


@wrong("feed_forward", "expand reads something other than x")
def numbers_places_first(x, expand, contract):
    return contract(gelu(expand(x + torch.arange(x.shape[1])[:, None])))


@wrong("feed_forward", "cut in another way")
def all_texts_in_one_row(x, expand, contract):
    return contract(gelu(expand(x.flatten(0, 1))))


@wrong("transformer_block", "attention_norm reads attention(...), but must read x")
def norm_behind_attention(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = x + attention_norm(attention(x))
    return x + feed_forward(feed_forward_norm(x))


@wrong("transformer_block", "attention reads feed_forward_norm(...), but must read attention_norm")
def parts_swapped(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = x + feed_forward(attention_norm(x))
    return x + attention(feed_forward_norm(x))


@wrong("transformer_block", "feed_forward_norm reads attention(...), but must read x + attention")
def one_shortcut_around_both(x, attention_norm, attention, feed_forward_norm, feed_forward):
    return x + feed_forward(feed_forward_norm(attention(attention_norm(x))))


@wrong("transformer_block", "reads 0.7071 x + 0.7071 attention(...)")
def sums_of_equal_size(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = (x + attention(attention_norm(x))) / math.sqrt(2)
    return (x + feed_forward(feed_forward_norm(x))) / math.sqrt(2)


@wrong("transformer_block", "you return attention(...) + feed_forward(...): it must be")
def only_what_is_added(x, attention_norm, attention, feed_forward_norm, feed_forward):
    found = attention(attention_norm(x))
    return found + feed_forward(feed_forward_norm(x + found))


@wrong("transformer_block", "but you return something else")
def bent_at_the_end(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = x + attention(attention_norm(x))
    return x + gelu(feed_forward(feed_forward_norm(x)))


@wrong("transformer_block", "give it all tokens at once")
def token_by_token(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = torch.cat([token + attention(attention_norm(token)) for token in x.split(1, dim=1)], dim=1)
    return x + feed_forward(feed_forward_norm(x))


@wrong("transformer_block", "+ keeps the width")
def side_by_side_in_one_vector(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = torch.cat([x, attention(attention_norm(x))], dim=-1)
    return torch.cat([x, feed_forward(feed_forward_norm(x))], dim=-1)


@wrong("layer_norm", "torch.var_mean returns the variance first")
def unpacked_as_mean_and_variance(x, scale, shift, eps=1e-5):
    mean, variance = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return scale * (x - mean) / torch.sqrt(variance + eps) + shift


@wrong("gelu", "Above 0 it is right, below 0 it is not")
def nothing_below_zero(x):
    return F.gelu(x.clamp(min=0), approximate="tanh")


@wrong("gelu", "20 must stay 20, and -20 become 0, but you get 400")
def x_times_too_much(x):
    return x * F.gelu(x, approximate="tanh")


@wrong("gelu", "That is hard swish")
def with_corners(x):
    return x * (x + 3).clamp(0, 6) / 6


@wrong("gelu", "or it is another function")
def erf_of_x(x):
    return 0.5 * x * (1 + torch.erf(x))


@wrong("feed_forward", "You return 0.5 x + 0.5 contract(...)")
def average_with_x(x, expand, contract):
    return (x + contract(gelu(expand(x)))) / 2


@wrong("feed_forward", "One place is left along axis 1")
def mean_of_the_tokens(x, expand, contract):
    return contract(gelu(expand(x.mean(dim=1, keepdim=True))))


@wrong("gelu", "x³ by 0.03571")
def two_digits_swapped(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044751 * x**3)))


@wrong("gelu", "The sign // rounds down")
def whole_halves(x):
    return (x // 2) * (1 + torch.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x.pow(3))))


@wrong("layer_norm", "a comma at the end of a line makes one")
def a_comma_at_the_end(x, scale, shift, eps=1e-5):
    normalized = (x - x.mean(-1, keepdim=True)) / (x.var(-1, False, keepdim=True) + eps).sqrt()
    return scale * normalized + shift,


@wrong("feed_forward", "stands there without its round brackets")
def times_the_layers(x, expand, contract):
    return gelu(x @ expand) @ contract


@wrong("feed_forward", "stands there without its round brackets")
def matmul_with_the_layers(x, expand, contract):
    return torch.matmul(gelu(torch.matmul(x, expand)), contract)


@wrong("transformer_block", "stands there without its round brackets")
def adds_the_part_itself(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = x + attention
    return x + feed_forward


@wrong("layer_norm", "The sizes come before scale and shift")
def the_library_without_sizes(x, scale, shift, eps=1e-5):
    return F.layer_norm(x, scale, shift, eps)


@wrong("gelu", "The bracket of tanh closes too early")
def tanh_of_the_root_alone(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi)) * (x + 0.044715 * x**3))


@wrong("gelu", "x * 3 is three times x")
def three_times_x(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * 3)))


@wrong("feed_forward", "That module has no such function")
def gelu_of_torch(x, expand, contract):
    return contract(torch.gelu(expand(x)))
