import numpy as np
import pytest
import torch
from helpers import lively_model, random_ids

from gptlib.trace import trace


def test_a_trace_holds_the_pass_as_arrays():
    model, ids = lively_model(), random_ids(7)
    pass_ = trace(model, ids, list("storied"))
    assert pass_.labels == tuple("storied")
    assert pass_.attention.shape == (2, 4, 7, 7)
    assert pass_["blocks.1.residual_end"].shape == (7, 32)
    assert pass_["blocks.0.attention.queries"].shape == (4, 7, 8)
    np.testing.assert_allclose(pass_.logits, model(ids[None])[0].detach(), atol=1e-4)
    np.testing.assert_allclose(pass_.attention.sum(-1), 1, atol=1e-6)


def test_tracing_leaves_the_mode_as_it_is():
    model = lively_model()
    for mode in (True, False):
        trace(model.train(mode), [3, 1])
        assert model.training == mode


def test_a_compiled_model_is_traced_under_its_own_names():
    model, ids = lively_model(), random_ids(5)
    compiled = torch.compile(model, backend="eager")
    compiled(ids[None])
    passes = trace(model, ids), trace(compiled, ids)
    assert list(passes[0].arrays) == list(passes[1].arrays)
    np.testing.assert_array_equal(passes[0].attention, passes[1].attention)


def test_what_is_traced_is_the_model_there_is_whatever_its_configuration_says():
    model = lively_model()
    del model.blocks[1]
    assert trace(model, [3, 1]).attention.shape == (1, 4, 2, 2)


def test_another_kind_of_model_is_explained():
    with pytest.raises(TypeError, match=r"model is a DataParallel, but must be .* its \.module"):
        trace(torch.nn.DataParallel(lively_model()), [3, 1])


def test_labels_must_fit():
    model = lively_model()
    assert trace(model, [3, 1]).labels == ("3", "1")
    with pytest.raises(ValueError, match="There are 3 labels for 2 tokens"):
        trace(model, [3, 1], list("abc"))
