import pytest

from gptlib.config import GPT2_FAMILY, GPT_CONFIG_124M, GPTConfig


def test_the_dictionary_of_gpt2_small_is_as_published():
    assert GPT_CONFIG_124M == {
        "vocab_size": 50257, "context_length": 1024, "emb_dim": 768, "n_heads": 12,
        "n_layers": 12, "drop_rate": 0.1, "qkv_bias": False,
    }


def test_a_dictionary_and_a_config_mean_the_same():
    config = GPTConfig.of(GPT_CONFIG_124M)
    assert GPTConfig.of(config) is config
    assert GPTConfig.of(config.to_dict()) == config
    assert config.head_dim == 64


@pytest.mark.parametrize("name", GPT2_FAMILY)
def test_every_size_of_the_family_is_possible_with_heads_of_64(name):
    assert GPTConfig.of(GPT2_FAMILY[name]).head_dim == 64


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"emb_dim": 770}, r"width \(emb_dim\) of 770 is not divisible by 12 heads \(n_heads\), .*"
                           "choose from 1, 2"),
        ({"n_layers": 0}, "n_layers is 0, but must be a whole number from 1 to 512"),
        ({"n_layers": -3}, "n_layers is -3"),
        ({"vocab_size": 3.5}, "vocab_size is 3.5"),
        ({"context_length": "1024"}, "context_length is '1024'"),
        ({"n_heads": True}, "n_heads is True"),
        ({"drop_rate": 1.0}, "drop_rate is 1.0, but must be a number from 0 to below 1"),
        ({"drop_rate": -0.1}, "drop_rate is -0.1"),
        ({"drop_rate": None}, "drop_rate is None"),
        ({"qkv_bias": 1}, "qkv_bias is 1, but must be True or False"),
        ({"n_layer": 12}, "Unknown configuration key 'n_layer'.*did you mean 'n_layers'"),
        ({"zzz": 12}, "Unknown configuration key 'zzz'.*remove it"),
    ],
)
def test_a_value_that_cannot_work_is_explained(change, words):
    with pytest.raises(ValueError, match=words):
        GPTConfig.of({**GPT_CONFIG_124M, **change})


def test_missing_keys_are_all_named():
    config = {k: v for k, v in GPT_CONFIG_124M.items() if k not in ("n_heads", "drop_rate")}
    with pytest.raises(ValueError, match="lacks 'n_heads', 'drop_rate'"):
        GPTConfig.of(config)


def test_what_is_no_dictionary_is_refused():
    with pytest.raises(TypeError, match=r"a dictionary or a GPTConfig, not str"):
        GPTConfig.of("gpt2")
