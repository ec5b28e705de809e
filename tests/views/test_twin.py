"""A view of the learner's model shows the library's with the same weights, or says why not."""

import copy

import pytest
import torch
from samples import SMALL, model, tokenizer

from gptcourse import gpt, views
from gptcourse.views.twin import twin

VIEWS = [
    lambda model: views.AttentionExplorer(model, tokenizer(), "The cat sat"),
    lambda model: views.AttentionMicroscope(model, tokenizer(), "The cat sat"),
    lambda model: views.ModelWalk(model, tokenizer(), "The cat sat"),
    lambda model: views.SamplingBench(model, tokenizer(), "The cat sat"),
    lambda model: views.GenerationStepper(model, tokenizer(), "The cat sat"),
    lambda model: views.AblationBench(model, tokenizer(), "The cat"),
    lambda model: views.PatchingMap(model, tokenizer(), "The cat sat", "The dog sat"),
    lambda model: views.TimeMachine([(0, model), (50, model)], tokenizer(), "The cat sat"),
]


def learners(like):
    mine = gpt.GPTModel(like.config.to_dict())
    mine.load_state_dict(like.state_dict())
    return mine


def test_a_model_of_the_library_is_its_own_twin():
    assert twin(model()) is model()


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_the_learners_model_is_that_of_its_twin(view):
    mine = learners(model())
    before = copy.deepcopy(mine.state_dict()), mine.training, torch.get_rng_state()
    assert repr(view(mine)) == repr(view(model()))
    assert mine.training == before[1] and torch.equal(torch.get_rng_state(), before[2])
    assert all(map(torch.equal, mine.state_dict().values(), before[0].values()))


def test_tied_weights_have_a_twin_too():
    config = {**SMALL.to_dict(), "tie_weights": True}
    assert twin(gpt.GPTModel(config)).config.tie_weights


def test_a_model_that_computes_something_else_is_told_so():
    mine = learners(model())
    mine.blocks[0].feed_forward.gelu.forward = torch.relu
    with pytest.raises(ValueError, match=r"give different scores for the same weights \(by "):
        twin(mine)


def test_a_model_whose_weights_have_other_names_is_told_so():
    mine = learners(model())
    mine.last_norm = mine.final_norm
    del mine.final_norm
    with pytest.raises(ValueError, match="do not fit .*final_norm.*name and shape the parts"):
        twin(mine)


def test_what_is_no_gpt_at_all_is_told_so():
    with pytest.raises(ValueError, match="Linear by the library's GPTModel .* do not fit"):
        twin(torch.nn.Linear(2, 2))
