import copy
import threading

import pytest
import torch
from helpers import lively_model, random_ids, tiny_model

from gptlib.tap import patch, record, taps


def hooks_left(model) -> int:
    return sum(len(tap._forward_hooks) for tap in taps(model).values())


def test_taps_are_named_by_their_path():
    names = list(taps(tiny_model()))
    assert names[0] == "residual_start"
    assert "blocks.1.attention.weights" in names
    assert "blocks.0.residual_mid" in names


def test_record_collects_every_tap_with_its_shape():
    model, ids = tiny_model(), random_ids(2, 7)
    with record(model) as activations:
        model(ids)
    assert set(activations) == set(taps(model))
    assert not any(tensor.requires_grad for tensor in activations.values())
    assert activations["blocks.0.attention.weights"].shape == (2, 4, 7, 7)
    assert activations["blocks.0.feed_forward.activations"].shape == (2, 7, 128)
    assert activations["blocks.1.residual_end"].shape == (2, 7, 32)


def test_record_collects_only_what_is_named():
    model = tiny_model()
    with record(model, "residual_start") as activations:
        model(random_ids(1, 3))
    assert list(activations) == ["residual_start"]


def test_what_the_model_does_in_another_thread_is_not_collected():
    model, ids = tiny_model(), random_ids(1, 3)
    with record(model) as activations:
        model(ids)
        other = threading.Thread(target=model, args=(random_ids(2, 7),))
        other.start()
        other.join()
    assert activations["residual_start"].shape == (1, 3, 32)


def test_recording_changes_no_logit():
    model, ids = lively_model(), random_ids(2, 9)
    before = model(ids)
    with record(model):
        during = model(ids)
    assert torch.allclose(before, during, atol=1e-5, rtol=1e-5)
    assert torch.equal(before, model(ids))


def test_an_exception_leaves_no_hook_behind():
    model = tiny_model()
    with pytest.raises(RuntimeError, match="stop"), record(model):
        assert hooks_left(model) == len(taps(model))
        raise RuntimeError("stop")
    with pytest.raises(RuntimeError, match="stop"), patch(model, {"residual_start": lambda x: x}):
        raise RuntimeError("stop")
    with pytest.raises(ValueError), record(model, "residual_start", "nothing"):
        pass
    assert hooks_left(model) == 0


def test_patch_changes_what_flows_on():
    model, ids = lively_model(), random_ids(1, 5)
    before = model(ids)
    with patch(model, {"blocks.0.attention.head_outputs": lambda x: torch.zeros_like(x)}):
        changed = model(ids)
    assert not torch.allclose(before, changed, atol=1e-3)
    assert torch.equal(before, model(ids))


def test_patched_weights_are_used():
    """Uniform weights over the past make the head outputs running means of the values."""
    model, ids = lively_model(), random_ids(1, 6)
    uniform = torch.ones(6, 6).tril() / torch.arange(1, 7)[:, None]
    name = "blocks.0.attention"
    with (
        patch(model, {f"{name}.weights": lambda weights: uniform.expand_as(weights)}),
        record(model, f"{name}.values", f"{name}.head_outputs") as activations,
    ):
        model(ids)
    values, outputs = activations[f"{name}.values"], activations[f"{name}.head_outputs"]
    means = values.cumsum(dim=2) / torch.arange(1, 7)[:, None]
    torch.testing.assert_close(outputs, means)


def test_a_name_that_is_no_tap_is_refused_with_the_nearest():
    with (
        pytest.raises(ValueError, match=r"did you mean 'blocks\.0\.attention\.weights'"),
        record(tiny_model(), "block.0.attention.weight"),
    ):
        pass


def test_a_list_of_names_is_explained():
    with (
        pytest.raises(TypeError, match=r"record got \['residual_start'\] .* more of them singly"),
        record(tiny_model(), ["residual_start"]),
    ):
        pass


def test_a_patch_of_another_shape_is_refused():
    model = tiny_model()
    with (
        pytest.raises(ValueError, match=r"a tensor of shape \(1, 3\) .* but must .* \(1, 4, 32\)"),
        patch(model, {"residual_start": lambda x: x[:, :3, 0]}),
    ):
        model(random_ids(1, 4))


def test_whoever_records_changes_no_number_in_another_thread():
    """A tap that is watched has the attention computed step by step, which rounds otherwise."""
    model, ids = tiny_model(), random_ids(4, 24)
    weights = taps(model)["blocks.0.attention.weights"]
    seen = {}

    def look():
        seen["watched"], seen["logits"] = weights.watched, model(ids)

    alone = model(ids)
    with record(model):
        assert weights.watched
        other = threading.Thread(target=look)
        other.start()
        other.join()
    assert not seen["watched"] and torch.equal(seen["logits"], alone)
    with patch(model, {"blocks.0.attention.weights": torch.zeros_like}):
        other = threading.Thread(target=look)               # a patch holds in all threads
        other.start()
        other.join()
    assert seen["watched"] and not torch.equal(seen["logits"], alone)


# -- compiled models ------------------------------------------------------------------------


ZEROS = {"blocks.0.attention.head_outputs": torch.zeros_like}


def compiled_by_itself(model):
    model.compile(backend="eager")
    return model


def compiled_by_wrapping(model):
    return torch.compile(model, backend="eager")


def compiled_in_part(model):
    model.blocks[0] = torch.compile(model.blocks[0], backend="eager")
    return model


COMPILED = [compiled_by_itself, compiled_by_wrapping, compiled_in_part]


@pytest.mark.parametrize("compiled", COMPILED)
def test_a_compiled_model_is_watched_under_its_own_names(compiled):
    plain, ids = lively_model(), random_ids(2, 7)
    model = compiled(lively_model())
    model(ids)  # compiled before anybody watches
    with record(plain) as expected:
        plain(ids)
    with record(model) as activations:
        model(ids)
    assert list(activations) == list(expected)
    assert set(activations) == set(taps(model))
    for name, tensor in expected.items():
        assert torch.equal(activations[name], tensor), name


@pytest.mark.parametrize("compiled", COMPILED)
@pytest.mark.parametrize("first_within", [False, True])
def test_a_compiled_model_is_patched_for_as_long_as_the_patch_lasts(compiled, first_within):
    plain, ids = lively_model(), random_ids(2, 7)
    with patch(plain, ZEROS):
        patched = plain(ids)
    model = compiled(lively_model())
    if not first_within:
        model(ids)
    with patch(model, ZEROS):
        assert torch.equal(model(ids), patched)
    torch.testing.assert_close(model(ids), plain(ids))


def test_watchers_in_two_threads_may_end_in_any_order():
    model, ids, stance = compiled_by_wrapping(lively_model()), random_ids(1, 3), []
    model(ids)
    first, second = record(model), record(model)
    first.__enter__()
    activations = second.__enter__()
    first.__exit__(None, None, None)
    model(ids)
    assert len(activations) == len(taps(model))
    second.__exit__(None, None, None)

    def backend(graph, _inputs):
        stance.append("compiles again")
        return graph

    torch.compile(lively_model(), backend=backend)(ids)
    assert stance


def test_a_copy_made_within_a_patch_is_not_patched():
    model, ids = lively_model(), random_ids(2, 7)
    before = model(ids)
    with patch(model, ZEROS), record(model, "residual_start") as activations:
        duplicate = copy.deepcopy(model)
        torch.testing.assert_close(duplicate(ids), before)
        assert not activations
    torch.testing.assert_close(duplicate(ids), before)


@pytest.mark.parametrize("model", [torch.nn.Linear(2, 2), torch.nn.Sequential()])
def test_a_model_without_taps_is_explained(model):
    with pytest.raises(ValueError, match="has no taps, so nothing in it can be"), record(model):
        pass
