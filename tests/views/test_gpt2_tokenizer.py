"""Whatever takes a tokenizer takes GPT-2's as well."""

from functools import cache

import pytest
from helpers import lively_model
from samples import TEXT

from gptcourse.views import (
    AblationBench,
    AttentionExplorer,
    AttentionMicroscope,
    GenerationStepper,
    ModelWalk,
    PatchingMap,
    SamplingBench,
    TimeMachine,
    TokenizerExplorer,
    TrainingDashboard,
)
from gptlib.config import GPTConfig
from gptlib.data import join_documents
from gptlib.generation import complete
from gptlib.storyteller import tell_stories
from gptlib.tokenizer import END_OF_TEXT, gpt2_tokenizer


@cache
def model():
    return lively_model(config=GPTConfig(vocab_size=50257, context_length=16, emb_dim=8, n_heads=2,
                                         n_layers=1, drop_rate=0.0, qkv_bias=False))


@pytest.mark.parametrize("make", [
    lambda gpt2: AttentionExplorer(model(), gpt2, "The cat sat."),
    lambda gpt2: AttentionMicroscope(model(), gpt2, "The cat sat."),
    lambda gpt2: ModelWalk(model(), gpt2, "The cat sat."),
    lambda gpt2: SamplingBench(model(), gpt2, "The cat"),
    lambda gpt2: GenerationStepper(model(), gpt2, "The cat"),
    lambda gpt2: TimeMachine([(0, model()), (5, model())], gpt2, "The cat sat."),
    lambda gpt2: AblationBench(model(), gpt2, "The cat"),
    lambda gpt2: PatchingMap(model(), gpt2, "The cat sat", "The dog sat", (" cat", " dog")),
    lambda gpt2: TokenizerExplorer(gpt2, "The cat sat."),
])
def test_a_view_takes_gpt2_tokenizer(make):
    view = make(gpt2_tokenizer())
    assert view.last_error is None and len(view.shown["summary"]) > 20


def test_the_training_dashboard_takes_gpt2_tokenizer_and_writes_a_sample():
    gpt2 = gpt2_tokenizer()
    ids = gpt2.encode(TEXT)
    view = TrainingDashboard(ids[:-40], ids[-40:], gpt2, model_config=model().config)
    view.batch.value, view.steps.value = 4, 10
    view.start()
    assert view.wait(60) and view.last_error is None
    assert view.run.step == 10 and view.samples


def test_documents_stories_and_completions_take_gpt2_tokenizer():
    gpt2 = gpt2_tokenizer()
    texts = ["The cat sat.", f"It wrote {END_OF_TEXT} and went."]
    row = join_documents(texts, gpt2)
    assert row.count(gpt2.end_token) == 2 and row[-1] == gpt2.end_token
    assert gpt2.decode(row) == "".join(text + END_OF_TEXT for text in texts)
    stories = tell_stories(model(), gpt2, 2)
    assert len(stories) == 2 and all(isinstance(story, str) for story in stories)
    assert complete(model(), gpt2, "The cat", 3, temperature=0).startswith("The cat")
