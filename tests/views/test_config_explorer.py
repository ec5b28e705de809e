import pytest

from gptcourse.views import ConfigExplorer
from gptlib.config import GPT2_FAMILY, GPT_CONFIG_124M, GPTConfig
from gptlib.model import GPTModel, count_parameters, flops_per_token, parameters_by_part


@pytest.mark.parametrize("name", GPT2_FAMILY)
def test_a_preset_sets_every_slider_and_shows_that_model(name):
    view = ConfigExplorer({**GPT_CONFIG_124M, "n_layers": 3})
    view.preset.value = name
    assert view.config == GPTConfig.of(GPT2_FAMILY[name])
    assert view.shown["parts"] == parameters_by_part(GPT2_FAMILY[name])
    assert view.shown["parameters"] == sum(view.shown["parts"].values())


def test_gpt2_small_has_the_known_numbers():
    view = ConfigExplorer()
    assert view.preset.value == "gpt2-small (124M)"
    assert view.shown["parameters"] == 163_009_536 and view.shown["tied"] == 124_412_160
    assert round(view.shown["mib"], 2) == 621.83
    view.tie_weights.value = True
    assert view.shown["parameters"] == 124_412_160


def test_a_slider_leaves_the_preset_and_finds_it_again():
    view = ConfigExplorer()
    view.layers.set_state({"value": 13})
    assert view.preset.value == "own choice" and view.shown["config"].n_layers == 13
    view.layers.set_state({"value": 12})
    assert view.preset.value == "gpt2-small (124M)"


def test_the_heads_always_share_the_width_evenly():
    view = ConfigExplorer()
    for width, heads in ((800, 10), (1600, 10), (32, 8), (2048, 8)):
        view.width.value = width
        assert view.heads.value == heads and view.last_error is None
        assert all(width % n == 0 for _, n in view.heads.options)
    view.heads.value = 32
    assert view.shown["config"].n_heads == 32


def test_all_presets_are_drawn_on_one_scale():
    view, reach = ConfigExplorer(), []
    for name in GPT2_FAMILY:
        view.preset.value = name
        reach.append(view._axes.get_xlim())
    assert len(set(reach)) == 1
    behind = [bar.get_width() for bar in view._axes.containers[0]]        # the last preset is XL
    assert behind == [bar.get_width() for bar in view._axes.containers[1]]


@pytest.mark.parametrize("tie_weights", [False, True])
@pytest.mark.parametrize("n_layers", [1, 2, 5])
def test_compute_counts_the_parameters_of_the_real_model(n_layers, tie_weights):
    config = GPTConfig(50, 8, 12, 2, n_layers, 0.0, True, tie_weights)
    result = ConfigExplorer.compute(config)
    assert result["parameters"] == count_parameters(GPTModel(config))
    assert result["parts"] == parameters_by_part(config)
    assert result["training_mib"] == 4 * result["mib"] == 16 * result["parameters"] / 2**20


@pytest.mark.parametrize("modern", [
    {}, {"n_kv_heads": 1, "feed_forward": "swiglu", "hidden_dim": 20, "positions": "rotary"}])
def test_work_is_two_per_weight_of_each_matrix_and_attention_besides(modern):
    config = GPTConfig(50, 8, 12, 2, 3, 0.0, True, **modern)
    model = GPTModel(config)
    tables = ("token_embedding", "position_embedding")
    matrices = sum(parameter.numel() for name, parameter in model.named_parameters()
                   if parameter.dim() == 2 and not name.startswith(tables))
    products = 3 * 2 * 8 * 12       # layers, queries with keys and weights with values, T, C
    assert flops_per_token(config) == 2 * (matrices + products)
    assert ConfigExplorer.compute(config)["training_flops"] == 3 * flops_per_token(config)


def test_a_start_outside_the_usual_range_is_shown_as_it_is():
    config = GPTConfig(61, 5, 24, 4, 60, 0.0, True)
    assert ConfigExplorer(config).shown["config"] == config
