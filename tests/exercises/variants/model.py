"""Answers to the exercises of chapter 5, right and wrong, as learners write them."""

import copy

import torch
import torch.nn.functional as F
from collecting import right, wrong
from torch import nn


@right("embed")
def by_embedding_functions(ids, token_table, position_table):
    return F.embedding(ids, token_table) + position_table[: ids.size(1)][None]


@right("embed")
def by_one_hot(ids, token_table, position_table):
    B, T = ids.shape
    tokens = F.one_hot(ids, token_table.shape[0]).to(token_table) @ token_table
    places = torch.eye(position_table.shape[0])[:T] @ position_table
    return tokens + places.repeat(B, 1, 1)


@right("embed")
def token_by_token(ids, token_table, position_table):
    rows = [torch.stack([token_table[token] + position_table[place]
                         for place, token in enumerate(text)]) for text in ids]
    return torch.stack(rows)


@right("embed")
def added_in_place_on_its_own_copy(ids, token_table, position_table):
    x = token_table[ids]
    x += position_table.index_select(0, torch.arange(ids.shape[-1]))
    return x


@wrong("embed", "positions are missing")
def only_the_tokens(ids, token_table, position_table):
    return F.embedding(ids, token_table)


@wrong("embed", "count the positions from 1")
def arange_from_one(ids, token_table, position_table):
    positions = torch.arange(1, ids.shape[1] + 1)
    return token_table[ids] + position_table[positions]


@wrong("embed", "look up the positions with the ids")
def ids_for_both(ids, token_table, position_table):
    return (token_table + position_table[: len(token_table)])[ids]


@wrong("embed", "side by side")
def concatenated(ids, token_table, position_table):
    B, T = ids.shape
    positions = position_table[:T].unsqueeze(0).repeat(B, 1, 1)
    return torch.cat((token_table[ids], positions), dim=2)


@wrong("embed", "take the first T of position_table only")
def all_places(ids, token_table, position_table):
    return token_table[ids] + position_table


@wrong("embed", "text's number in the batch")
def length_of_the_batch(ids, token_table, position_table):
    out = token_table[ids]
    for b in range(len(ids)):
        out[b] = out[b] + position_table[b]
    return out


@wrong("embed", "changes its input token_table")
def into_the_table(ids, token_table, position_table):
    x = token_table[ids] + position_table[: ids.shape[1]]
    token_table += 1
    return x


@wrong("embed", "no gradient reaches token_table")
def without_history(ids, token_table, position_table):
    return torch.tensor((token_table[ids] + position_table[: ids.shape[1]]).tolist())


@wrong("embed", "dtype of your x")
def as_whole_numbers(ids, token_table, position_table):
    return (token_table[ids] + position_table[: ids.shape[1]]).long()


@wrong("embed", "the shape of your x")
def only_the_first_text(ids, token_table, position_table):
    return token_table[ids[0]] + position_table[: ids.shape[1]]


@wrong("embed", "positions are missing")
def places_of_zeros(ids, token_table, position_table):
    return token_table[ids] + torch.zeros_like(position_table[: ids.shape[1]])


@wrong("embed", "but should be")
def right_for_three_tokens(ids, token_table, position_table):
    return token_table[ids] + position_table[torch.arange(ids.shape[1]) % 3]


@right("gpt_forward")
def one_after_the_other(ids, token_embedding, position_embedding, blocks, final_norm,
                        output_head):
    x = token_embedding(ids)
    x = x + position_embedding.weight[: x.shape[1]]
    return nn.Sequential(*blocks, final_norm, output_head)(x)


@right("gpt_forward")
def text_by_text(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    logits = []
    for text in ids:
        x = (token_embedding(text) + position_embedding(torch.arange(len(text))))[None]
        for number in range(len(blocks)):
            x = blocks[number](x)
        logits.append(output_head(final_norm(x))[0])
    return torch.stack(logits)


@right("gpt_forward")
def head_by_hand(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1])[None])
    for block in blocks:
        x = block(x)
    return torch.einsum("btc,vc->btv", final_norm(x), output_head.weight)


@wrong("gpt_forward", "last norm is missing")
def norm_forgotten(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    for block in blocks:
        x = block(x)
    final_norm(x)
    return output_head(x)


@wrong("gpt_forward", "same as before the blocks")
def results_not_kept(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    for block in blocks:
        block(x)
    return output_head(final_norm(x))


@wrong("gpt_forward", "only the last one's result is used")
def another_name(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    for block in blocks:
        y = block(x)
    return output_head(final_norm(y))


@wrong("gpt_forward", "You call final_norm after every block")
def too_much_in_the_loop(ids, token_embedding, position_embedding, blocks, final_norm,
                         output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    for block in blocks:
        x = block(x)
        x = final_norm(x)
    return output_head(x)


@wrong("gpt_forward", "no `return` stand within")
def returns_at_once(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    for block in blocks:
        x = block(x)
        return output_head(final_norm(x))


@wrong("gpt_forward", "These are probabilities")
def softmax_at_the_end(ids, token_embedding, position_embedding, blocks, final_norm,
                       output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    for block in blocks:
        x = block(x)
    return torch.softmax(output_head(final_norm(x)), -1)


@wrong("gpt_forward", "holds its shortcuts itself")
def added_to_the_stream(ids, token_embedding, position_embedding, blocks, final_norm,
                        output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    for block in blocks:
        x += block(x)
    return output_head(final_norm(x))


@wrong("gpt_forward", "positions are missing")
def no_places(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    x = token_embedding(ids)
    for block in blocks:
        x = block(x)
    return output_head(final_norm(x))


@wrong("gpt_forward", "last token only")
def as_for_generation(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    for block in blocks:
        x = block(x)
    return output_head(final_norm(x[:, -1]))


@wrong("gpt_forward", "output_head, which makes scores of it, is missing")
def without_a_head(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    for block in blocks:
        x = block(x)
    return final_norm(x)


@wrong("gpt_forward", "could not be trained")
def without_gradients(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    with torch.no_grad():
        x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
        for block in blocks:
            x = block(x)
        return output_head(final_norm(x))


@wrong("gpt_forward", "call them")
def layers_are_no_tables(ids, token_embedding, position_embedding, blocks, final_norm,
                         output_head):
    x = token_embedding[ids] + position_embedding[torch.arange(ids.shape[1])]
    for block in blocks:
        x = block(x)
    return output_head(final_norm(x))


@wrong("gpt_forward", "but should be")
def two_blocks_at_most(ids, token_embedding, position_embedding, blocks, final_norm,
                       output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    return output_head(final_norm(blocks[1](blocks[0](x))))


@right("count_parameters")
def with_a_loop(model):
    total = 0
    for tensor in model.parameters():
        total += tensor.nelement()
    return total


@right("count_parameters")
def what_is_trained(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@right("count_parameters")
def flattened(model):
    return len(torch.cat([p.detach().flatten() for p in model.parameters()]))


@right("count_parameters")
def by_identity(model):
    seen = {id(p): p for m in model.modules() for p in m.parameters()}
    return torch.tensor([p.numel() for p in seen.values()]).sum()


@wrong("count_parameters", "count the tensors")
def number_of_tensors(model):
    return sum(1 for _ in model.parameters())


@wrong("count_parameters", "used in two places")
def from_every_module(model):
    return sum(p.numel() for m in model.modules() for p in m._parameters.values()
               if p is not None)


@wrong("count_parameters", "more than what is trained")
def from_the_state(model):
    total = 0
    for tensor in model.state_dict().values():
        total += tensor.numel()
    return total


@wrong("count_parameters", "only its first size")
def number_of_rows(model):
    return sum(p.shape[0] for p in model.parameters())


@wrong("count_parameters", "the memory in bytes")
def four_bytes_each(model):
    return 4 * sum(p.numel() for p in model.parameters())


@wrong("count_parameters", "the last tensor only")
def sum_begins_anew(model):
    for p in model.parameters():
        total = 0
        total += p.numel()
    return total


@wrong("count_parameters", "matrices only")
def without_vectors(model):
    return sum(p.shape[0] * p.shape[1] for p in model.parameters() if len(p.shape) == 2)


@wrong("count_parameters", "a bias has only one size")
def two_sizes_each(model):
    return sum(p.shape[0] * p.shape[1] for p in model.parameters())


@wrong("count_parameters", "one number is asked for")
def one_for_each(model):
    return torch.tensor([p.numel() for p in model.parameters()])


@wrong("count_parameters", "a list")
def as_a_list(model):
    return [p.numel() for p in model.parameters()]


@wrong("count_parameters", "count is")
def in_thousands(model):
    return sum(p.numel() for p in model.parameters()) / 1000


@wrong("count_parameters", "AttributeError")
def of_a_gpt_only(model):
    return model.token_embedding.weight.numel() + model.position_embedding.weight.numel()


@right("tie_weights")
def by_setattr(model):
    setattr(model.output_head, "weight", model.token_embedding.weight)  # noqa: B010
    return model


@right("tie_weights")
def a_new_head_with_the_old_matrix(model):
    V, C = model.token_embedding.weight.shape
    model.output_head = nn.Linear(C, V, bias=False)
    model.output_head.weight = model.token_embedding.weight
    return model


@right("tie_weights")
def by_register(model):
    model.output_head.register_parameter("weight", model.token_embedding.weight)
    return model


@wrong("tie_weights", "has a copy of the matrix")
def numbers_copied(model):
    with torch.no_grad():
        model.output_head.weight.copy_(model.token_embedding.weight)
    return model


@wrong("tie_weights", "has a copy of the matrix")
def state_loaded(model):
    model.output_head.load_state_dict(model.token_embedding.state_dict())
    return model


@wrong("tie_weights", "a parameter of its own")
def data_shared(model):
    model.output_head.weight.data = model.token_embedding.weight.data
    return model


@wrong("tie_weights", "the other way round")
def head_to_entrance(model):
    model.token_embedding.weight = model.output_head.weight
    return model


@wrong("tie_weights", "is transposed")
def turned(model):
    model.output_head.weight = nn.Parameter(model.token_embedding.weight.t().contiguous())
    return model


@wrong("tie_weights", "forget `return`")
def returns_nothing(model):
    model.output_head.weight = model.token_embedding.weight


@wrong("tie_weights", "change the one that is given")
def on_a_copy(model):
    model = copy.deepcopy(model)
    model.output_head.weight = model.token_embedding.weight
    return model


@wrong("tie_weights", "still has the matrix that it had")
def compared_instead(model):
    model.output_head.weight == model.token_embedding.weight  # noqa: B015
    return model


@wrong("tie_weights", "cannot assign")
def a_plain_tensor(model):
    model.output_head.weight = model.token_embedding.weight.detach()
    return model


@wrong("tie_weights", "still has the matrix that it had: assign that of the token embedding to "
       "model.output_head.weight, with a single =, for a name of your own changes nothing in the "
       "model")
def on_a_name_of_its_own(model):
    head = model.output_head.weight
    head = model.token_embedding.weight  # noqa: F841
    return model


@wrong("tie_weights", "return the model")
def returns_the_head(model):
    model.output_head.weight = model.token_embedding.weight
    return model.output_head


@wrong("embed", "All is right but the first place along the last axis but one")
def places_from_the_second_token_on(ids, token_table, position_table):
    x = token_table[ids].clone()
    for t in range(1, ids.shape[1]):
        x[:, t] += position_table[t]
    return x


@wrong("embed", "An axis of size 1 is too many or missing")
def squeezed(ids, token_table, position_table):
    return (token_table[ids] + position_table[: ids.shape[1]]).squeeze()


@wrong("gpt_forward", "it changes blocks")
def switches_dropout_off(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    for block in blocks.eval():
        x = block(x)
    return output_head(final_norm(x))


@wrong("count_parameters", "you multiply it by itself")
def first_size_by_last(model):
    count = 0
    for p in model.parameters():
        count += p.size(0) * p.size(-1)
    return count


@wrong("count_parameters", "with model = Linear(in_features=3, out_features=4, bias=True)")
def matrices_of_linear_layers(model):
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    return sum(layer.in_features * layer.out_features for layer in layers)


@wrong("tie_weights", "You assign a plain tensor")
def only_the_numbers(model):
    model.output_head.weight = model.token_embedding.weight.detach()
    return model


@wrong("tie_weights", "must keep its own")
def middle_of_both(model):
    middle = (model.output_head.weight + model.token_embedding.weight) / 2
    model.output_head.weight = model.token_embedding.weight = nn.Parameter(middle.detach())
    return model


@right("tie_weights")
def registered_anew(model):
    del model.output_head.weight
    model.output_head.register_parameter("weight", model.get_parameter("token_embedding.weight"))
    return model


@wrong("embed", "A norm was applied to what was right before it")
def normed_at_once(ids, token_table, position_table):
    x = token_table[ids] + position_table[: ids.shape[1]]
    return F.layer_norm(x, x.shape[-1:])


@wrong("embed", "tell it the size of the vocabulary")
def by_short_one_hot(ids, token_table, position_table):
    return F.one_hot(ids).float() @ token_table + position_table[torch.arange(ids.shape[1])]


@wrong("embed", "You give the positions a second axis")
def places_unsqueezed(ids, token_table, position_table):
    positions = torch.arange(ids.shape[1]).unsqueeze(1)
    return token_table[ids] + position_table[positions]


@wrong("embed", "You take columns of position_table")
def second_slice_for_first(ids, token_table, position_table):
    T = ids.shape[1]
    return token_table[ids] + position_table[:, :T]


def along(entrance=lambda tokens, places: tokens + places, step=lambda x, block: block(x),
          take=list, leave=lambda x, final_norm, output_head: output_head(final_norm(x)),
          count=torch.arange):
    """A forward pass with one thing or another done differently."""
    def forward(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
        x = entrance(token_embedding(ids), position_embedding(count(ids.shape[1])))
        for block in take(blocks):
            x = step(x, block)
        return leave(x, final_norm, output_head)
    return forward


for _told, _changed in {
    "blocks[0] reads something other than the sum of the two embeddings":
        {"entrance": lambda tokens, places: tokens * places},
    "position_embedding reads something other than the places 0 to 3":
        {"count": lambda T: torch.arange(T).flip(0)},
    "blocks[0] is called 2 times": {"take": lambda blocks: [*blocks, *blocks]},
    "blocks[0] is called 3 times":
        {"step": lambda x, block: (block(x), block(block(x)))[1]},
    "blocks[1] is never called": {"take": lambda blocks: [*blocks][::2]},
    "blocks[1] reads something other than what blocks[0] returns":
        {"step": lambda x, block: block(x).relu()},
    "final_norm is called 2 times":
        {"leave": lambda x, final_norm, output_head: output_head(final_norm(final_norm(x)))},
    "final_norm is never called":
        {"leave": lambda x, _, output_head: output_head(F.layer_norm(x, x.shape[-1:]))},
    "output_head reads something other than what final_norm returns":
        {"leave": lambda x, final_norm, output_head: output_head(x + final_norm(x))},
    "Something is done with what output_head returns":
        {"leave": lambda x, final_norm, output_head: output_head(final_norm(x)).tanh()},
    "output_head reads something other than what final_norm":
        {"leave": lambda x, final_norm, output_head: output_head(final_norm(x).mean(1))},
    "blocks[0] reads something other than the sum":
        {"entrance": lambda tokens, places: torch.cat([tokens, places.expand_as(tokens)], dim=1)},
}.items():
    wrong("gpt_forward", _told)(along(**_changed))


@wrong("gpt_forward", "position_embedding is never called")
def neither_places_nor_the_right_way_through(ids, token_embedding, position_embedding, blocks,
                                             final_norm, output_head):
    x = token_embedding(ids)
    for block in blocks:
        x = x + block(x)
    return output_head(final_norm(x))


@wrong("gpt_forward", "once more at the end")
def norm_in_the_loop_and_after_it(ids, token_embedding, position_embedding, blocks, final_norm,
                                  output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    for block in blocks:
        x = block(x)
        x = final_norm(x)
    x = final_norm(x)
    return output_head(x)


@wrong("count_parameters", "This is no whole number")
def values_summed_as_tensors(model):
    return sum(p.sum() for p in model.parameters())


@wrong("count_parameters", "Nothing is counted but the linear layers")
def layers_one_by_one(model):
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    return sum(m.weight.numel() + (0 if m.bias is None else m.bias.numel()) for m in layers)


@wrong("count_parameters", "All is counted but position_embedding")
def non_embedding(model):
    n_params = sum(p.numel() for p in model.parameters())
    if hasattr(model, "position_embedding"):
        n_params -= model.position_embedding.weight.numel()
    return n_params


@wrong("count_parameters", "All is counted but the norms")
def weights_and_biases(model):
    parts = {id(x): x for m in model.modules() for name in ("weight", "bias")
             if (x := getattr(m, name, None)) is not None}
    return sum(x.numel() for x in parts.values())


@wrong("count_parameters", "you return a string, but must return one number")
def with_commas(model):
    return f"{sum(p.numel() for p in model.parameters()):,}"


@wrong("count_parameters", "only once already")
def tied_one_subtracted(model):
    count = sum(p.numel() for p in model.parameters())
    if hasattr(model, "config") and model.config.tie_weights:
        count -= model.token_embedding.weight.numel()
    return count


@wrong("count_parameters", "fresh biases are 0")
def not_zero(model):
    return sum(int((p != 0).sum()) for p in model.parameters())


@wrong("count_parameters", "and not what its parts hold")
def without_parts(model):
    return sum(p.numel() for p in model._parameters.values() if p is not None)


@wrong("tie_weights", "position_embedding.weight is not what it was")
def all_three_tied(model):
    model.output_head.weight = model.token_embedding.weight
    model.position_embedding.weight = model.token_embedding.weight
    return model


@wrong("tie_weights", "the mode, train or eval, is not what it was")
def tied_and_put_to_use(model):
    model.output_head.weight = model.token_embedding.weight
    return model.eval()


@wrong("tie_weights", "The two have exchanged their matrices")
def in_one_line(model):
    model.output_head.weight, model.token_embedding.weight = (
        model.token_embedding.weight, model.output_head.weight)
    return model


@wrong("embed", "You take one place less than there are tokens")
def up_to_the_last_but_one(ids, token_table, position_table):
    return token_table[ids] + position_table[torch.arange(ids.shape[1] - 1)]


@wrong("count_parameters", "The head is left out where it has a matrix of its own")
def all_but_the_head(model):
    return sum(p.numel() for name, p in model.named_parameters() if "head" not in name)


@wrong("tie_weights", "position_embedding.weight is not what it was")
def tied_and_zeroed(model):
    model.output_head.weight = model.token_embedding.weight
    nn.init.zeros_(model.position_embedding.weight)
    return model


@wrong("count_parameters", "ask each of them for its .numel()")
def asked_all_at_once(model):
    return model.parameters().numel()


@wrong("count_parameters", "there is Python's own sum")
def summed_by_torch(model):
    return torch.sum(p.numel() for p in model.parameters())


@wrong("tie_weights", "assign it to the head's weight")
def matrix_as_head(model):
    model.output_head = model.token_embedding.weight
    return model


@wrong("tie_weights", ".clone() or .T make of a parameter")
def turned_matrix(model):
    model.output_head.weight = model.token_embedding.weight.T
    return model


@wrong("embed", "each text begins at position 0 again")
def places_over_all_texts(ids, token_table, position_table):
    return token_table[ids] + position_table[torch.arange(ids.numel())]


@wrong("embed", "torch.arange takes a number")
def ids_as_a_size(ids, token_table, position_table):
    return token_table[ids] + position_table[torch.arange(ids)]


@wrong("gpt_forward", "call it with the first T places")
def whole_position_table(ids, token_embedding, position_embedding, blocks, final_norm,
                         output_head):
    x = token_embedding(ids) + position_embedding.weight
    for block in blocks:
        x = block(x)
    return output_head(final_norm(x))


@wrong("gpt_forward", "without enumerate")
def pairs_called(ids, token_embedding, position_embedding, blocks, final_norm, output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    for block in enumerate(blocks):
        x = block(x)
    return output_head(final_norm(x))


@wrong("gpt_forward", "You give the ids to a block")
def ids_through_the_blocks(ids, token_embedding, position_embedding, blocks, final_norm,
                           output_head):
    x = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    for block in blocks:
        x = block(ids)
    return output_head(final_norm(x))


@wrong("count_parameters", "A model is no tensor")
def numel_of_a_model(model):
    return torch.numel(model)


@wrong("count_parameters", "which not every model has")
def less_the_head(model):
    return sum(p.numel() for p in model.parameters()) - model.output_head.weight.numel()
