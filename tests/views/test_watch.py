import io
import math
import signal
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from samples import SMALL, TEXT, learners_model, tokenizer

from gptcourse import gpt
from gptcourse.views import live, losses, watch
from gptlib.model import GPTModel
from gptlib.training import TrainConfig, TrainingRun


def training(steps: int = 25, validation: bool = True, **settings) -> TrainingRun:
    ids = tokenizer().encode(TEXT)
    torch.manual_seed(0)
    return TrainingRun(GPTModel(SMALL), ids[:-60], ids[-60:] if validation else None,
                       TrainConfig(steps=steps, batch_size=2, evaluate_every=10, **settings))


def falling(n: int):
    for step in range(n):
        yield 5 / (1 + step)


def press_stop():
    """As the notebook's stop button does."""
    signal.raise_signal(signal.SIGINT)


def test_a_run_that_is_watched_is_the_run_step_by_step():
    seen = list(watch(training()))
    assert seen == list(training_as_before(seen))


def training_as_before(seen):
    """The same run, unseen; how fast a step was is another every time."""
    for step, there in zip(training(), seen, strict=True):
        yield replace(step, tokens_per_second=there.tokens_per_second)


def test_the_loop_ends_in_a_sentence_that_is_the_same_every_time(capsys):
    said = []
    for _ in range(2):
        run = training()
        view = watch(run, tokenizer(), floor=0.5)
        for _ in view:
            pass
        said.append(capsys.readouterr().out)
    last = run.history[-1]
    assert said[0] == said[1] == (
        f"Step 25 of 25: training loss {last.loss:.3f}, validation loss "
        f"{last.validation_loss:.3f}, {last.validation_loss - 0.5:.3f} above the floor of 0.500; "
        "in nats per token.\n")
    assert repr(view) == f"<watch: {said[0].strip()}>"
    np.testing.assert_array_equal(view.shown["loss"], [step.loss for step in run.history])


def test_the_losses_of_a_loop_of_ones_own_are_watched_and_handed_on(capsys):
    view = watch(falling(8), total=8)
    assert list(view) == list(falling(8)) == list(view.shown["loss"])
    assert capsys.readouterr().out == (
        "Step 8 of 8: training loss 0.625; in nats per token.\n")
    assert "steps per second" not in view._status.value      # it is over


def test_a_loss_may_be_a_tensor():
    weight = torch.ones((), requires_grad=True)
    view = watch(iter([weight * 3]))
    assert list(view) == [3.0] == view.shown["loss"].tolist()


def test_a_loss_that_is_no_number_ends_in_one_sentence():
    view = watch(iter(["low"]))
    with pytest.raises(TypeError, match="'low' from the loop, but it draws losses: have the loop"):
        list(view)
    assert "draws losses" in view.children[1].value and not view._running


def test_the_stop_button_of_the_notebook_ends_the_loop_after_the_step_without_an_error(capsys):
    run, before = training(), signal.getsignal(signal.SIGINT)
    for step in watch(run):
        if step.step == 3:
            press_stop()
    assert run.step == 3 and signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr().out
    assert said.startswith("Stopped. Step 3 of 25: training loss ")
    assert said.endswith("Run this cell again, and it goes on.\n")


def test_within_a_step_it_acts_after_the_step(monkeypatch):
    run, update = training(), TrainingRun._update

    def pressed_within(run):
        if run.step == 4:
            press_stop()
        return update(run)

    monkeypatch.setattr(TrainingRun, "_update", pressed_within)
    assert [step.step for step in watch(run)] == [1, 2, 3, 4, 5]


def test_pressed_twice_it_acts_at_once_and_still_without_an_error(monkeypatch, capsys):
    def endless():
        yield 3.0
        press_stop()
        press_stop()
        yield from falling(99)

    assert list(watch(endless())) == [3.0]
    assert "Stopped. Step 1: training loss 3.000" in capsys.readouterr().out


def test_the_button_of_the_view_ends_the_loop_too():
    run = training()
    view = watch(run)
    assert view.stop_button.disabled
    for step in view:
        if step.step == 2:
            assert not view.stop_button.disabled
            view.stop_button.click()
            assert "Stopping after this step" in view._status.value
    assert run.step == 2 and view.stop_button.disabled


def test_the_same_run_goes_on_with_all_that_was_drawn_and_told():
    run = training()
    for step in watch(run, tokenizer()):
        if step.step == 12:
            press_stop()
    again = watch(run, tokenizer())
    assert again.shown["step"].tolist() == list(range(1, 13))
    assert [step for step, _ in again.shown["stories"]] == [10]
    assert [step.step for step in again] == list(range(13, 26))
    whole = watch(training(), tokenizer())
    list(whole)
    assert again.shown["stories"] == whole.shown["stories"]
    np.testing.assert_array_equal(again.shown["loss"], whole.shown["loss"])


def test_a_loop_of_ones_own_goes_on_too():
    steps = falling(6)
    for loss in watch(steps):
        if loss < 2:
            break
    again = watch(steps)
    assert list(again) == list(falling(6))[3:]
    np.testing.assert_array_equal(again.shown["loss"], list(falling(6)))


def test_what_begins_anew_is_drawn_anew():
    given = [3.0, 2.0]
    list(watch(given))
    assert len(watch(given).shown["loss"]) == 0
    view = watch(map(float, given))                        # nothing can be kept beside a map
    assert list(view) == given == view.shown["loss"].tolist()


def test_stories_come_after_steps_that_double_and_after_the_last():
    view = watch(training(), tokenizer())
    list(view)
    assert [step for step, _ in view.shown["stories"]] == [10, 20, 25]
    block = view._stories.value
    assert block.index("after 25 steps") < block.index("after 10 steps")


def test_the_picture_that_is_kept_has_the_last_stories_below_the_curve():
    view = watch(training(), tokenizer())
    begun = Image.open(io.BytesIO(view.picture.data))
    list(view)
    kept = Image.open(io.BytesIO(view.picture.data))
    assert kept.height == begun.height + 2 * 90 * 3 and kept.width == begun.width
    below = np.asarray(kept)[begun.height:]
    assert (below != below[0, 0]).any(axis=-1).sum() > 2000          # which is written on
    assert view.picture.alt == view.shown["summary"]


def test_the_learners_own_model_tells_stories_too():
    model = learners_model()
    ids = torch.tensor(tokenizer().encode(TEXT))
    steps = gpt.train(model, ids, 10, 2, generator=torch.Generator().manual_seed(0))
    view = watch(steps, tokenizer(), model=model, total=10)
    list(view)
    [(step, story)] = view.shown["stories"]
    assert step == 10 and story


def test_watching_changes_nothing_of_what_is_trained():
    model, unseen = learners_model(), learners_model()
    ids = torch.tensor(tokenizer().encode(TEXT))
    given = {"steps": 12, "batch_size": 2}
    draws = [torch.Generator().manual_seed(0) for _ in range(2)]
    expected = list(gpt.train(unseen, ids, generator=draws[0], **given))
    state = torch.get_rng_state()
    watched = watch(gpt.train(model, ids, generator=draws[1], **given), tokenizer(), model=model)
    assert list(watched) == expected
    assert torch.equal(torch.get_rng_state(), state) and torch.is_grad_enabled()
    for mine, other in zip(model.parameters(), unseen.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_story_needs_somebody_who_tells_it():
    with pytest.raises(ValueError, match="no model to tell them: pass the model"):
        watch(falling(3), tokenizer())


def test_an_error_of_the_training_is_raised_and_said_in_the_view(capsys):
    def breaking():
        yield 4.0
        raise RuntimeError("The valley ends here.")

    view = watch(breaking())
    with pytest.raises(RuntimeError, match="valley"):
        list(view)
    assert "The valley ends here." in view.children[1].value
    assert view.stop_button.disabled and capsys.readouterr().out == ""


def test_drawing_takes_a_twentieth_of_the_time_at_most(monkeypatch):
    """By a clock of the test's own: a step takes 10 ms, a picture 40."""
    now, pictures = [0.0], []

    def draws(view):
        pictures.append(now[0])
        now[0] += 0.04

    def steps():
        for loss in falling(1000):
            now[0] += 0.01
            yield loss

    view, other = watch(steps()), watch(steps())
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(watch, "refresh", draws)
    list(view)
    while_it_runs = pictures[:-1]
    assert len(while_it_runs) > 5
    assert np.diff(while_it_runs).min() > 0.04 * 19.9 > losses.SECONDS_BETWEEN_PICTURES
    monkeypatch.setattr(watch, "refresh", lambda view: pictures.append(now[0]))
    pictures.clear()
    list(other)
    assert np.diff(pictures[1:-1]).min() > 0.249          # and they are four a second at most


def test_above_the_floor_a_curve_that_sinks_by_a_factor_is_a_straight_line():
    view = watch(iter([0.5 + 2.0**-n for n in range(6)] + [0.4]), floor=0.5)
    list(view)
    axes = view._curve.axes
    assert axes.get_yscale() == "log" and "above the floor of 0.5" in view._curve._title.get_text()
    x, y = view._curve._training.get_data()
    np.testing.assert_allclose(y[:6], 2.0 ** -np.arange(6.0))
    assert math.isnan(y[6]) and len(x) == 7                # below the floor, so beyond the scale
    view.scale.value = losses.PLAIN
    assert axes.get_yscale() == "linear"
    np.testing.assert_allclose(view._curve._training.get_data()[1][6], 0.4)
    low, high = axes.get_ylim()
    assert low < 0.4 and high > 1.5


def test_without_a_floor_there_is_no_scale_above_it():
    assert losses.ABOVE not in dict(watch(falling(2)).scale.options).values()


def test_a_run_in_another_thread_is_watched_as_well():
    seen = []
    thread = threading.Thread(target=lambda: seen.extend(watch(falling(5))))
    thread.start()
    thread.join(60)
    assert seen == list(falling(5))
