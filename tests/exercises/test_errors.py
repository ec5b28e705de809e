"""An error that somebody meets for the first time is told in words, beside its own text."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gptcourse.exercises import all_exercises
from gptcourse.exercises.checking import judge
from gptcourse.exercises.errors import _MEANINGS, meaning

EXERCISES = {exercise.name: exercise for exercise in all_exercises()}
LAYER, X, IDS = nn.Linear(3, 4), torch.ones(2, 3, 5), torch.zeros(2, 3, dtype=torch.int64)
ROW, PLACES, NUMBER = [1, 2], (0, 1), 5


def first_value_too_late():
    for x in range(3):
        total += x  # noqa: F821
    total = 0  # noqa: F841


def change_a_tuple():
    pair = (1, 2)
    pair[0] = 3


def write_rows_at_places():
    X.clone()[IDS[0]] = torch.ones(2, 3)


def function_as_part():
    nn.Sequential(LAYER).__setattr__("0", math.exp)


def parts_before_the_layer():
    class Forgetful(nn.Module):
        def __init__(self):
            self.part = nn.Linear(2, 2)

    Forgetful()


RAISING = [
    (parts_before_the_layer, "begins with super().__init__()"),
    (lambda: b"\xc3".decode(), "no whole characters"),
    (lambda: "".join([b"a", b"b"]), "b\"\".join bytes"),
    (lambda: math.exp(X.mean), "without its round brackets"),
    (lambda: sum(p.numel() for p in LAYER.parameters), "without its round brackets"),
    (lambda: sum(p.numel for p in LAYER.parameters()), "without its round brackets"),
    (lambda: X.shape(1), "x.shape[1], or x.size(1)"),
    (lambda: sum(p.size() for p in LAYER.parameters()), "product is p.numel()"),
    (lambda: torch.arange(X.shape), "product is p.numel()"),
    (lambda: range(X.shape), "product is p.numel()"),
    (lambda: X(0), "square ones"),
    (lambda: torch.cat(X, X, dim=2), "in one list"),
    (lambda: torch.cat([(X, X), (X, X)]), "take these apart"),
    (lambda: torch.bool(X), "only name a kind of numbers"),
    (lambda: torch.tensor([IDS, IDS]), "torch.stack joins tensors"),
    (lambda: torch.tensor([X, X]), "joined by torch.stack"),
    (lambda: 1 if not X > 0 else 0, "~ for not"),
    (lambda: 1 - (X > 0), "~ turns these around"),
    (lambda: -(X > 0), "~ turns these around"),
    (lambda: F.layer_norm(X, torch.ones(5), torch.zeros(5)), "sizes come before scale and shift"),
    (lambda: torch.gelu(X), "That module has no such function"),
    (lambda: X.append(X), "cannot grow"),
    (lambda: LAYER.wait, "look for a typo"),
    (lambda: X.item(), "holds several"),
    (lambda: torch.exp(1.0), "there is math"),
    (lambda: X.softmax(), "dim=-1 is the last one"),
    (lambda: len(LAYER.parameters()), "make a list of it"),
    (lambda: LAYER.parameters().numel(), "make a list of it"),
    (lambda: torch.sum(p.numel() for p in LAYER.parameters()), "sum, without torch"),
    (lambda: [p.numel() for p in LAYER.named_parameters()], "take it apart"),
    (lambda: X.gather(-1, IDS), "add one with [..., None]"),
    (lambda: X.gather(IDS[..., None]), "The axis comes first"),
    (lambda: torch.arange(X), "takes a number"),
    (lambda: X[X], "whole numbers"),
    (lambda: X.scatter(-1, X, 0.0), "whole numbers"),
    (lambda: nn.Embedding(3, 2)(X), "whole numbers"),
    (lambda: nn.Embedding(3, 2)(IDS + 3), "begins at 0"),
    (lambda: X[IDS + 2], "begins at 0"),
    (lambda: nn.ModuleList([LAYER])[1], "begins at 0"),
    (lambda: X.topk(6), "topk cannot give more"),
    (lambda: X[0, 0, 0, 0], "more indices than axes"),
    (lambda: X.softmax(dim=3), "not so many axes"),
    (lambda: X + torch.ones(4), "do not fit together"),
    (lambda: torch.ones(2, 3) @ torch.ones(2, 3), "often a transpose is missing"),
    (lambda: X @ X, "often a transpose is missing"),
    (lambda: X.view(4, 5), "product of all sizes"),
    (lambda: LAYER.load_state_dict({"weight": LAYER.weight.T, "bias": LAYER.bias}), "it is turned"),
    (lambda: X.mT.view(-1), "use reshape"),
    (lambda: torch.cat([X, X[:1]], dim=1), "look at dim"),
    (lambda: torch.stack([X, X[:1]]), "cat joins them"),
    (lambda: F.cross_entropy(IDS.float(), X[:, 0, 0]), "the scores first"),
    (lambda: F.cross_entropy(X.view(-1), IDS.view(-1)), "a row of scores for each target"),
    (lambda: F.cross_entropy(X[:, 0], IDS.T[:, 0]), "a row of scores for each target"),
    (lambda: F.cross_entropy(X, IDS), "a row of scores for each target"),
    (lambda: LAYER.weight(), "square ones"),
    (lambda: IDS.softmax(-1), "arguments may be swapped"),
    (lambda: IDS.mean(), "arguments may be swapped"),
    (lambda: torch.ones(2, 3) @ torch.ones(3, 2).double(), "bring them to the same one"),
    (lambda: X.sum().item().backward(), "or float() last"),
    (lambda: list(None), "came in as None"),
    (lambda: X - X.max(dim=-1), "values and their places"),
    (lambda: nn.Parameter(X).exp().backward(), "begins at one number"),
    (lambda: nn.Parameter(X).add_(1), "write x = x + ..."),
    (lambda: ~X, "write a comparison"),
    (lambda: nn.Parameter(X).numpy(), "stay with torch's functions"),
    (lambda: [B * T for B, T in [X.shape]], "than names for them"),
    (lambda: nn.Linear(X), "A layer is made first"),
    (change_a_tuple, "make a new one"),
    (lambda: [1, 2] * 0.5, "torch.tensor(...)"),
    (lambda: range(5 / 2), "// a whole one"),
    (lambda: [LAYER][LAYER], "the things themselves"),
    (lambda: LAYER["weight"], "stand after a dot"),
    (lambda: X.view(2, 3, 8 / 2), "// a whole one"),
    (lambda: ROW[: 4 / 2], "// a whole one"),
    (lambda: ROW[PLACES], "The places of a list"),
    (lambda: PLACES["keys"], "asked by place"),
    (lambda: X[torch.arange(2), torch.arange(3)], "their shapes must fit"),
    (write_rows_at_places, "their shapes must fit"),
    (lambda: torch.cat([X, X[:, 0]], dim=1), "x[:, :, t : t + 1]"),
    (lambda: setattr(LAYER, "weight", LAYER), "Assign a parameter itself"),
    (lambda: setattr(LAYER, "weight", LAYER.weight.data), "Assign a parameter itself"),
    (lambda: type("Returning", (), {"__init__": lambda self: self})(), "leave its return out"),
    (lambda: nn.ModuleList([nn.ReLU]), "A class stands where a layer belongs"),
    (lambda: len(LAYER), "There is a single thing where several belong"),
    (lambda: nn.ModuleList([LAYER])(X), "A list of layers cannot be called"),
    (lambda: torch.ones({"emb_dim": 4}), "this is the whole configuration"),
    (lambda: min([]), "something to choose from"),
    (lambda: {"emb_dim": 4}.emb_dim, "by name, as in config"),
    (function_as_part, "keep the part"),
    (lambda: torch.einsum("ts,sd->td", X, X), "stands for all axes before"),
    (lambda: X[0, 0].tril(), "needs rows and columns"),
    (lambda: torch.bmm(X[0], X[0]), "@ takes any"),
    (lambda: torch.mm(X, X), "@ takes any"),
    (lambda: X[torch.ones(3, 5, dtype=torch.bool)], "masked_fill and torch.where"),
    (lambda: nn.LayerNorm(3)(X), "vectors of one width only"),
    (lambda: "Zoë".encode("ascii"), "has them all"),
    (lambda: bytes([256]), "from 0 to 255"),
    (lambda: X.view(-1, 4), "cut off what remains"),
    (lambda: X ^ 3, "write **"),
    (lambda: 2.0 ^ 3, "write **"),
    (lambda: ~1.5, "~ turns these around"),
    (lambda: X.masked_fill(X, 0), "True and False"),
    (lambda: {ROW: 3}, "make it a tuple"),
    (lambda: {}[1, 2], ".get(key, 0)"),
    (lambda: list(NUMBER), "a single thing"),
    (lambda: NUMBER[0], "a single thing"),
    (lambda: 0.5 * LAYER, "stands there without its round brackets"),
    (lambda: torch.tanh(LAYER), "stands there without its round brackets"),
    (lambda: X @ text_of, "stands there without its round brackets"),
    (lambda: [[1.0]] @ X, "do not go together"),
    (lambda: LAYER(X, X, X), "more than it takes"),
    (lambda: LAYER(), "less than it takes"),
    (lambda: torch.dot(X[0], X[0].T), "product of matrices is @"),
    (lambda: [int(letter) for letter in "the"], "reads digits only"),
    (lambda: torch.tensor([[1], [1, 2]]), "fill the short ones up"),
    (first_value_too_late, "too late"),
    (lambda: maths.exp(1), "look for a typo"),  # noqa: F821
    (lambda: 1 / 0, "divided by 0"),
    (lambda: torch.ones(()).backward(), "was not recorded"),
    (lambda: torch.multinomial(torch.full((3,), -1.0), 1), "which softmax makes of scores"),
    (lambda: torch.zeros(3).scatter(0, torch.tensor([1]), torch.tensor([1])), "own dtype"),
    (lambda: torch.zeros(3, 4).gather(1, torch.zeros(5, 1, dtype=torch.int64)), "row by row"),
    (lambda: math.log(-1), "have a logarithm"),
    (lambda: math.exp(1000), "larger than any number"),
    (lambda: torch.distributed.all_reduce(None), "everywhere before backward"),
]


def text_of(raising):
    with pytest.raises(Exception) as caught:
        raising()
    return f"{caught.type.__name__}: {caught.value}"


@pytest.mark.parametrize(("raising", "words"), RAISING)
def test_an_error_has_a_meaning(raising, words):
    assert words in meaning(text_of(raising))


def test_no_meaning_is_told_in_vain():
    assert {meaning(text_of(raising)) for raising, _ in RAISING} == set(_MEANINGS.values())


def test_an_error_that_is_not_known_stands_for_itself():
    assert meaning("RuntimeError: something else") is None


def test_a_check_tells_the_meaning_and_the_error():
    status, text = judge(EXERCISES["next_token_loss"], lambda logits, targets: math.exp(logits))
    assert status == "raised"
    assert "but the tensor holds several" in text and "(ValueError: only one element" in text
