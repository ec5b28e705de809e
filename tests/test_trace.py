import numpy as np
import pytest
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


def test_labels_must_fit():
    model = lively_model()
    assert trace(model, [3, 1]).labels == ("3", "1")
    with pytest.raises(ValueError, match="There are 3 labels for 2 tokens"):
        trace(model, [3, 1], list("abc"))
