from dataclasses import replace

import pytest
import torch
from helpers import lively_model
from samples import SMALL, model, tokenizer

from gptcourse.views import GenerationStepper
from gptlib.model import GPTModel
from gptlib.tap import record
from gptlib.tokenizer import BPETokenizer

END = tokenizer().special_tokens["<|endoftext|>"]


def plain_tokenizer() -> BPETokenizer:
    """Without an end-of-text token."""
    return BPETokenizer(tokenizer().merges, ("<other>",), tokenizer().byte_order)


def stepper(prompt: str = "The cat") -> GenerationStepper:
    return GenerationStepper(model(), tokenizer(), prompt)


def walk(view: GenerationStepper, steps: int) -> list[int]:
    for _ in range(steps):
        view.step()
    return view.shown["ids"]


def seed_without_an_end(steps: int) -> int:
    for seed in range(50):
        view = stepper()
        view.seed.value = seed
        walk(view, steps)
        if not view.stopped:
            return seed
    raise AssertionError("every seed ends at once")


def probabilities_after(ids: list[int], temperature: float = 1.0) -> torch.Tensor:
    with torch.inference_mode():
        return (model()(torch.tensor([ids]))[0, -1] / temperature).softmax(-1)


def test_the_prompt_begins_with_the_end_token_and_is_read_at_once():
    view = stepper()
    assert view.shown["ids"] == [END, *tokenizer().encode("The cat")]
    assert view.shown["work"]["with_cache"] == len(view.shown["ids"])


def test_tiny_probabilities_are_told_apart_from_zero():
    large = BPETokenizer.from_gpt2()
    newborn = GPTModel(replace(SMALL, vocab_size=large.vocab_size)).eval()
    view = GenerationStepper(newborn, large, "The cat")
    probability = view.shown["probabilities"][view.shown["drawn"]]
    assert probability < 0.0005 and f"whose probability is {probability:.5f}." in repr(view)


def test_what_can_be_drawn_never_reads_as_zero_beside_what_is_likely():
    view = stepper()
    view.temperature.value = 0.15
    chances = view.shown["probabilities"][view.shown["best"]].tolist()
    said = [text.get_text() for text in view._bars[1]]
    assert chances[0] > 0.5 and 0 < chances[-1] < 0.0005
    assert not any(text.startswith("0.000 ") or text == "0.000" for text in said)
    assert said[0].startswith(f"{chances[0]:.3f}")


def test_the_probabilities_with_the_cache_are_those_of_the_model_without():
    view = stepper()
    view.seed.value = seed_without_an_end(4)
    for _ in range(5):
        expected = probabilities_after(view.shown["ids"])
        torch.testing.assert_close(view.shown["probabilities"], expected, atol=1e-5, rtol=0)
        view.step()


def test_the_drawn_token_is_appended():
    view = stepper()
    drawn = view.shown["drawn"]
    assert drawn in view.shown["best"]
    view.step_button.click()
    assert view.shown["ids"][-1] == drawn


def test_back_and_forth_with_the_same_seed_leads_to_the_same_tokens():
    view = stepper()
    view.seed.value = seed_without_an_end(6)
    there = walk(view, 6)
    probabilities = view.shown["probabilities"]
    for _ in range(4):
        view.back_button.click()
    assert view.shown["ids"] == there[:-4]
    torch.testing.assert_close(view.shown["probabilities"], probabilities_after(there[:-4]),
                               atol=1e-5, rtol=0)
    assert walk(view, 4) == there
    torch.testing.assert_close(view.shown["probabilities"], probabilities, atol=1e-5, rtol=0)


def test_the_model_reads_only_what_it_has_not_read_before(monkeypatch):
    lengths = []
    read = GPTModel.hidden_states

    def counted(self, ids, cache=None):
        lengths.append(ids.shape[1])
        return read(self, ids, cache)

    monkeypatch.setattr(GPTModel, "hidden_states", counted)
    view = stepper()
    prompt, view.seed.value = len(view.shown["ids"]), seed_without_an_end(3)
    lengths.clear()
    there = walk(view, 3)
    assert lengths == [1, 1, 1]
    for _ in range(2):
        view.back()
    assert walk(view, 2) == there
    view.temperature.value = 1.5
    view.restart()
    assert lengths == [1, 1, 1] and len(view.shown["ids"]) == prompt
    view.temperature.value = 0
    other = view.shown["drawn"]
    view.step()
    assert lengths == [1, 1, 1] + [1] * (other != there[prompt])


def test_the_columns_of_the_cache_that_came_last_are_framed():
    view = stepper()
    length = view._length
    assert (view._frame.get_x(), view._frame.get_width()) == (-0.5, length)     # the prompt's
    view.step()
    assert (view._frame.get_x(), view._frame.get_width()) == (length - 0.5, 1)


def test_what_was_taken_back_leaves_no_trace_after_another_token():
    view = stepper()
    view.seed.value = seed_without_an_end(3)
    walk(view, 3)
    view.restart()
    view.temperature.value = 0
    for _ in range(3):
        view.step()
        expected = probabilities_after(view.shown["ids"]).argmax()
        assert view.shown["drawn"] == expected
    plain = stepper()
    plain.temperature.value = 0
    walk(plain, 3)
    assert view.picture.data == plain.picture.data


def test_another_seed_leads_elsewhere_and_draws_are_independent_between_positions():
    even = torch.zeros(200)
    drawn = {(seed, at): GenerationStepper.compute(even, 1.0, seed, at)["drawn"]
             for seed in range(8) for at in range(8)}
    assert len(set(drawn.values())) > 40
    again = GenerationStepper.compute(even, 1.0, 3, 5)["drawn"]
    assert again == drawn[3, 5]


def test_temperature_bends_the_next_draw_and_leaves_the_text():
    view = stepper()
    view.step()
    ids = view.shown["ids"]
    view.temperature.set_state({"value": 0})
    assert view.shown["ids"] == ids
    assert view.shown["drawn"] == probabilities_after(ids).argmax()
    view.temperature.value = 2.0
    torch.testing.assert_close(view.shown["probabilities"], probabilities_after(ids, 2.0),
                               atol=1e-5, rtol=0)


def test_back_stops_at_the_prompt_and_starting_over_returns_to_it():
    view = stepper()
    start = view.shown["ids"]
    view.back()
    assert view.shown["ids"] == start and view.back_button.disabled
    walk(view, 3)
    view.restart_button.click()
    assert view.shown["ids"] == start


def test_the_cache_holds_as_many_numbers_as_the_view_says():
    view = stepper()
    view.temperature.value = 0
    names = [f"blocks.{layer}.attention.{kind}" for layer in range(SMALL.n_layers)
             for kind in ("keys", "values")]
    with torch.inference_mode(), record(model(), *names) as kept:
        model()(torch.tensor([view.shown["ids"]]))
    assert view.shown["work"]["floats"] == sum(tensor.numel() for tensor in kept.values())


def test_work_counts_the_tokens_that_pass_through_the_model():
    assert GenerationStepper.work(SMALL, 3, 3)["without_cache"] == 3
    assert GenerationStepper.work(SMALL, 3, 5) == {
        "floats": 2 * 2 * 32 * 5, "with_cache": 5, "without_cache": 3 + 4 + 5}


def test_generation_ends_at_the_end_token_and_can_be_taken_back():
    eager = lively_model(config=SMALL)
    with torch.no_grad():                            # the head's row of the end token wins always
        eager.final_norm.scale.zero_()
        eager.final_norm.shift.fill_(1.0)
        eager.output_head.weight[END] = 9.0
    view = GenerationStepper(eager, tokenizer(), "cat")
    length = len(view.shown["ids"])
    view.step()
    assert view.shown["ids"][-1] == END and "complete" in view.shown["summary"]
    assert view.step_button.disabled
    view.step()
    assert len(view.shown["ids"]) == length + 1
    view.back()
    assert not view.step_button.disabled and view.stopped == ""
    assert view.shown["work"]["with_cache"] == length


def test_generation_ends_where_the_context_is_full():
    plain = plain_tokenizer()
    view = GenerationStepper(model(), plain, "The cat")
    walk(view, SMALL.context_length + 3)
    assert len(view.shown["ids"]) == SMALL.context_length
    assert "The context of 16 tokens is full" in view.shown["summary"]
    view.back()
    view.step()
    assert len(view.shown["ids"]) == SMALL.context_length and view.last_error is None


def test_a_story_may_begin_with_nothing_where_there_is_an_end_token():
    assert stepper("").shown["ids"] == [END]
    plain = plain_tokenizer()
    view = GenerationStepper(model(), plain, "")
    view.temperature.value = 0.5
    assert "type a word" in repr(view) and 'role="alert"' in view.children[1].value
    view.step()
    view.back()
    view.prompt.value = "The"
    assert view.last_error is None and view.shown["text"] == "The"


def test_a_prompt_beyond_the_context_is_cut_to_its_end_with_a_sentence():
    view = stepper("The cat sat on the mat. " * 9)
    assert len(view.shown["ids"]) == SMALL.context_length - 1
    assert "only the last 14 are read" in view.shown["summary"]


def test_markup_and_every_script_are_shown_and_not_obeyed():
    view = stepper("<b>🙂")
    assert view.last_error is None
    assert "<b>" not in view.children[3].value and "&lt;" in view.children[3].value


def test_numbers_that_are_none_are_explained_and_stay_explained():
    broken = GPTModel(SMALL).eval()
    with torch.no_grad():
        broken.output_head.weight.fill_(torch.nan)
    view = GenerationStepper(broken, tokenizer(), "The")
    view.temperature.value = 0.5
    view.step()
    assert "not finite" in repr(view)


@pytest.mark.parametrize("action", ["step", "back", "restart"])
def test_no_button_touches_the_learners_random_numbers(action):
    view = stepper()
    state = torch.get_rng_state()
    getattr(view, action)()
    assert torch.equal(torch.get_rng_state(), state)


def test_play_steps_on_by_itself_to_the_end(monkeypatch):
    monkeypatch.setattr("gptcourse.views.stepper.SECONDS_A_TOKEN", 0.0)
    view, by_hand = stepper(), stepper()
    while not by_hand.stopped:
        by_hand.step()
    view.play_button.click()
    view._player.join(60)
    assert view.shown["ids"] == by_hand.shown["ids"]
    assert view.play_button.description == "play" and view.play_button.disabled


@pytest.mark.parametrize("ending", ["play", "back", "restart", "leave_page"])
def test_what_plays_is_paused_when_pressed_again_or_gone_back_or_gone(monkeypatch, ending):
    monkeypatch.setattr("gptcourse.views.stepper.SECONDS_A_TOKEN", 0.05)
    view = stepper()
    view.play()
    assert view.play_button.description == "pause"
    getattr(view, ending)()
    view._player.join(60)
    assert view.play_button.description == "play" and not view.stopped
