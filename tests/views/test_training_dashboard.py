import math
import re
import threading
import time

import numpy as np
import pytest
import torch
from samples import SMALL, TEXT, dashboard, model, tokenizer

from gptcourse.experiments import finished_run
from gptcourse.views import (
    AttentionExplorer,
    SamplingBench,
    Session,
    TrainingDashboard,
    losses,
    training,
)
from gptlib.model import GPTModel
from gptlib.training import TrainConfig, TrainingDiverged, TrainingRun

LONG = 60        # seconds that no step of these tests comes near to


@pytest.fixture
def view():
    made = dashboard()
    yield made
    made.close()


def test_start_trains_a_model_of_the_chosen_shape_to_the_end(view):
    view.width.value, view.layers.value, view.heads.value = 48, 1, 2
    view.start()
    assert view.wait(LONG) and view.last_error is None
    config = view.run.model.config
    assert (config.emb_dim, config.n_layers, config.n_heads) == (48, 1, 2)
    assert view.run.step == 12 and view.run.history[-1].loss < view.run.history[0].loss


def test_what_is_on_screen_is_the_history_of_the_run(view):
    view.start()
    view.wait(LONG)
    history = view.run.history
    np.testing.assert_array_equal(view.shown["loss"], [step.loss for step in history])
    np.testing.assert_array_equal(view.shown["gradient_norm"],
                                  [step.gradient_norm for step in history])
    assert view.shown["validation"][-1] == history[-1].validation_loss
    assert view.shown["samples"][-1][0] == 12
    assert f"training loss {history[-1].loss:.3f}" in repr(view)
    assert "above the floor of 0.500" in repr(view)


def test_the_view_trains_as_a_bare_run_with_the_same_settings_does(view):
    view.start()
    view.wait(LONG)
    ids = tokenizer().encode(TEXT)
    torch.manual_seed(0)
    run = TrainingRun(GPTModel(SMALL), ids[:-60], ids[-60:], view.run.config)
    assert [step.loss for step in run] == [step.loss for step in view.run.history]


def test_a_run_that_is_stopped_goes_on_to_the_same_end(view):
    view.steps.value = 40
    view.start()
    view.wait(LONG)
    whole = [step.loss for step in view.run.history]

    first_step = threading.Event()
    view.progress.observe(lambda change: change["new"] > 0 and first_step.set(), names="value")
    view.start()
    assert first_step.wait(LONG)
    view.stop()
    stopped = view.run.step
    assert 0 < stopped < 40 and not view.running
    assert not view.resume_button.disabled and view.stop_button.disabled
    view.resume()
    assert view.wait(LONG)
    assert [step.loss for step in view.run.history] == whole


def test_a_run_is_told_in_words_from_its_first_step_on(view):
    said = []
    view.children[-2].observe(lambda change: said.append(change["new"]), names="value")
    view.start()
    view.wait(LONG)
    assert "Step 1 of 12" in said[0] and "Step 12 of 12" in said[-1]


def test_the_end_says_how_long_the_run_took_with_all_its_parts(view):
    view.start()
    view.wait(LONG)
    assert "Ended after step 12. It took 0:" in view._status.value and view._seconds > 0
    view._seconds = 600.0
    view.resume()                                           # nothing is left to do
    view.wait(LONG)
    assert "Ended after step 12. It took 10:00." in view._status.value


def test_stop_ends_the_run_after_the_step_under_way(view, monkeypatch):
    """Each step waits for a permit; the run is stopped while the fourth one waits."""
    permits, waiting = threading.Semaphore(3), threading.Semaphore(0)
    take_step = TrainingRun.__next__

    def step_with_permit(run):
        waiting.release()
        assert permits.acquire(timeout=LONG)
        return take_step(run)

    monkeypatch.setattr(TrainingRun, "__next__", step_with_permit)
    view.start()
    for _ in range(4):
        assert waiting.acquire(timeout=LONG)
    assert view.running and not view.wait(0)
    stopper = threading.Thread(target=view.stop)
    stopper.start()
    while not view._stopping.is_set():
        time.sleep(0.001)
    permits.release(99)
    stopper.join(LONG)
    assert view.run.step == 4 and not view.running


def test_stop_ends_a_measurement_after_the_batch_under_way_and_the_run_goes_on_to_the_same_end(
    view, monkeypatch
):
    """The validation text has many batches; the run is stopped while the first one is read."""
    ids = tokenizer().encode(TEXT)
    view.validation_ids = ids * 4
    view.start()
    assert view.wait(LONG)
    whole = view.run.history

    read, go_on, seen = threading.Event(), threading.Event(), []
    view.start()
    forward = type(view.run.model).forward

    def slow(model, *arguments):
        if not torch.is_grad_enabled() and not go_on.is_set():
            seen.append(len(arguments[0]))
            read.set()
            assert go_on.wait(LONG)
        return forward(model, *arguments)

    view.stop()
    monkeypatch.setattr(GPTModel, "forward", slow)
    view.start()
    assert read.wait(LONG)
    view.stop_button.click()                                # which does not wait
    assert "Stopping after this batch" in view._status.value and view.running
    view.stop_button.click()                                # and neither does a second press
    go_on.set()
    assert view.wait(LONG) and len(seen) == 1
    assert view.last_error is None and not view.resume_button.disabled
    assert not view.run.model._forward_pre_hooks
    view.resume()
    assert view.wait(LONG)
    assert [(step.loss, step.validation_loss) for step in view.run.history] == [
        (step.loss, step.validation_loss) for step in whole]


def test_continue_pressed_while_a_run_is_about_to_end_is_not_lost(view, monkeypatch):
    ended, go_on = threading.Event(), threading.Event()
    enable = view._enable_buttons

    def slowly(running):
        enable(running)
        if not running and not go_on.is_set():
            ended.set()
            assert go_on.wait(LONG)

    view.steps.value = 200
    monkeypatch.setattr(view, "_enable_buttons", slowly)
    view.start()
    view.ask_to_stop()
    assert ended.wait(LONG)
    presser = threading.Thread(target=view.resume_button.click)
    presser.start()
    go_on.set()
    presser.join(LONG)
    assert view.wait(LONG) and view.run.step == 200


def test_a_second_interrupt_ends_the_waiting(view, monkeypatch):
    view.steps.value = 2000
    view.start()
    with monkeypatch.context() as pressing:
        def interrupted(timeout=None):
            raise KeyboardInterrupt

        pressing.setattr(view._thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            view.wait()
    assert view.wait(LONG) and view.run.step < 2000


def test_interrupting_the_wait_ends_the_run(view, monkeypatch):
    view.steps.value = 2000
    view.start()
    join, calls = view._thread.join, []

    def interrupted_once(timeout=None):
        calls.append(timeout)
        if len(calls) == 1:
            raise KeyboardInterrupt
        join(timeout)

    monkeypatch.setattr(view._thread, "join", interrupted_once)
    assert view.wait() and view.run.step < 2000


def test_the_columns_of_a_history_that_grows_have_one_length(view):
    class Growing(list):
        """Each look at it finds one step more, as while a run is under way."""

        def __iter__(self):
            self.append(self[-1])
            return super().__iter__()

    view.start()
    view.wait(LONG)
    columns = TrainingDashboard.compute(Growing(view.run.history))
    assert len({len(columns[name]) for name in ("step", "loss", "gradient_norm")}) == 1


def test_starting_again_begins_a_fresh_model(view):
    view.start()
    view.wait(LONG)
    first, samples = view.run, view.shown["samples"]
    view.start()
    view.wait(LONG)
    assert view.run is not first
    assert view.shown["samples"] == samples and len(samples) == 1
    assert [step.loss for step in view.run.history] == [step.loss for step in first.history]


def test_a_loss_that_is_no_number_is_told_in_words_and_the_next_run_works(view, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr("gptlib.training.next_token_loss", lambda logits, _: logits.sum() * math.nan)
        view.start()
        view.wait(LONG)
    assert isinstance(view.last_error, TrainingDiverged)
    assert "stopped being a number" in view.children[1].value
    assert not view.start_button.disabled
    view.start()
    view.wait(LONG)
    assert view.last_error is None and view.run.step == 12


def test_an_impossible_model_is_told_in_words_and_starts_nothing(view):
    view.heads.value = 5
    said = view.children[1].value
    assert f"{view.width.description} (emb_dim) of 32 is not divisible by 5 heads" in said
    view.start()
    assert view.run is None and "not divisible" in repr(view)
    view.heads.value = 4
    view.start()
    assert view.wait(LONG) and view.run.step == 12


def test_sliders_that_do_not_fit_leave_a_run_under_way_alone(view):
    view.steps.value = 200
    view.start()
    view.heads.value = 5
    view.stop()
    view.resume()
    assert view.wait(LONG) and view.run.step == 200


def test_what_is_wrong_with_a_slider_is_said_as_long_as_it_is(view):
    view.steps.value = 200
    view.start()
    view.heads.value = 5
    picture = view.children[2]
    assert view._plan.value == ""                       # start would train nothing
    assert "gpt-stale" not in picture._dom_classes      # but the run is as true as ever
    view.stop()
    assert "not divisible" in view.children[1].value
    assert f"Step {view.run.step} of 200" in view.children[-2].value
    view.resume()
    assert "not divisible" in view.children[1].value
    assert view.wait(LONG) and view.run.step == 200
    view.heads.value = 4
    assert view.children[1].value == "" and "Start trains" in view._plan.value


def test_a_view_that_is_taken_from_the_page_ends_its_run(view):
    view.steps.value = 2000
    view.start()
    view.children[-1]._handle_custom_msg("gone", [])    # as the page says it
    assert view.wait(LONG) and view.run.step < 2000
    assert not view.resume_button.disabled              # a view can come back


def test_no_text_at_all_is_told_in_words():
    assert "no text to train on" in repr(TrainingDashboard([], [], tokenizer()))


def test_to_continue_without_a_run_is_explained(view):
    view.resume()
    assert "press start" in view.children[1].value and not view.running


def test_the_buttons_call_the_public_methods(view):
    view.start_button.click()
    view.stop_button.click()
    assert view.run is not None and view.wait(LONG)


def test_settings_without_a_slider_come_from_the_given_configurations():
    end = tokenizer().special_tokens["<|endoftext|>"]
    ids = [end, *tokenizer().encode(TEXT[:40])] * 12
    training = TrainConfig(steps=3, batch_size=2, optimizer="muon", end_token=end, seed=5)
    view = TrainingDashboard(ids, ids, tokenizer(), model_config=SMALL, train_config=training)
    view.start()
    view.wait(LONG)
    assert view.last_error is None
    assert view.run.config == training and view.run.model.config == SMALL


def test_training_leaves_the_learners_random_numbers_alone(view):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    view.start()
    view.wait(LONG)
    assert torch.equal(torch.get_rng_state(), state)


def test_start_and_training_leave_what_others_draw_meanwhile_alone(view, monkeypatch):
    """What a cell draws while the button builds the model is neither changed nor taken back."""
    torch.manual_seed(7)
    expected = [torch.rand(1).item() for _ in range(3)]
    torch.manual_seed(7)
    drawn = [torch.rand(1).item()]
    build = GPTModel._initialize

    def cell_draws_meanwhile(model):
        if threading.current_thread() is not threading.main_thread():
            cell.release()
            assert button.acquire(timeout=LONG)
        return build(model)

    cell, button = threading.Semaphore(0), threading.Semaphore(0)
    monkeypatch.setattr(GPTModel, "_initialize", cell_draws_meanwhile)
    presser = threading.Thread(target=view.start_button.click)
    presser.start()
    assert cell.acquire(timeout=LONG)
    drawn.append(torch.rand(1).item())
    button.release(99)
    presser.join(LONG)
    drawn.append(torch.rand(1).item())
    assert drawn == expected
    assert view.wait(LONG) and view.last_error is None


def test_closing_the_view_ends_its_run():
    view = dashboard()
    view.steps.value = 2000
    view.start()
    view.close()
    assert not view.running


def cells(view) -> list[list[str]]:
    """The table of runs, row by row."""
    rows = re.findall("<tr.*?</tr>", view._runs.value)
    return [re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_former_runs_stay_as_curves_and_as_rows_with_their_settings_and_results(view):
    view.start()
    view.wait(LONG)
    first = view.run
    view.learning_rate.value, view.layers.value = 0.01, 1
    view.start()
    view.wait(LONG)
    heads, present, former = cells(view)
    assert heads == ["optimizer", "rate", "steps", "batch", "width", "layers", "loss",
                     "above floor", "time"]
    loss = first.history[-1].validation_loss
    assert former[:8] == ["AdamW", "0.003", "12", "4", "32", "2", f"{loss:.3f}",
                          f"{loss - 0.5:.3f}"]
    assert present[1] == "0.01" and present[5] == "1"
    gray = view._charts.loss._former[0]
    np.testing.assert_array_equal(gray.get_ydata(), [step.loss for step in first.history])
    assert [step.loss for step in first.history] == view.former[0].result["loss"].tolist()


def test_only_the_last_few_runs_are_kept(view):
    view.steps.value = 10
    for _ in range(training.MOST_FORMER + 2):
        view.start()
        view.wait(LONG)
    assert len(view.former) == training.MOST_FORMER and len(cells(view)) == 2 + training.MOST_FORMER


def test_a_start_that_fails_keeps_the_run(view):
    view.start()
    view.wait(LONG)
    view.heads.value = 5
    run = view.run
    view.start()
    assert view.run is run and view.former == [] and view.shown["step"][-1] == 12


@pytest.mark.parametrize(("scale", "change"), [(losses.LOG, 0.0), (losses.ABOVE, 0.5)])
def test_the_loss_is_shown_on_a_log_scale_and_above_the_floor(view, scale, change):
    view.start()
    view.wait(LONG)
    view.scale.set_state({"index": [value for _, value in view.scale.options].index(scale)})
    assert view._charts.loss.axes.get_yscale() == "log"
    np.testing.assert_allclose(view._charts.loss._training.get_ydata(), view.shown["loss"] - change)
    assert view._charts.loss._floor.get_visible() is (scale == losses.LOG)
    low, high = view._charts.loss.axes.get_ylim()
    assert high > 5 and (low < 0.5) == (scale == losses.LOG)    # down to the floor, if it is drawn


def test_before_a_run_the_picture_says_what_to_expect_of_it(view):
    view.learning_rate.value = 0.01
    guess = math.log(280)
    assert f"press start. In 12 steps, the loss should sink from about {guess:.3f}" in repr(view)
    assert "towards the floor of 0.500" in repr(view)
    assert view._charts.guess.get_visible() and view._charts.guess.get_ydata() == [guess] * 2
    planned = view._charts.expectations[-1].get_ydata()
    assert view._charts.loss._floor.get_visible()
    view.start()
    view.wait(LONG)
    np.testing.assert_allclose(planned, view.shown["learning_rate"])
    assert not any(part.get_visible() for part in view._charts.expectations)


def test_before_a_run_a_notebook_stores_a_finished_one_that_says_it_is_another():
    steps = finished_run()
    view = dashboard(finished=steps)
    data, metadata = view._repr_mimebundle_()
    words = metadata["image/png"]["alt"]
    assert words.startswith("A finished run, stored with the course. Step 300 of 300: training ")
    assert f"validation loss {steps[-1].validation_loss:.3f}, " in words
    assert "No run yet" in data["text/plain"] and view.picture.alt.startswith("No run yet")
    view.start()
    view.wait(LONG)
    assert view.stored_picture is view.picture and "Step 12 of 12" in view.picture.alt
    view.close()


def test_how_long_a_run_will_take_is_said_before_it(view, monkeypatch):
    """A step of this size takes two seconds, in a test that does not wait."""
    assert " s." not in view._plan.value
    monkeypatch.setattr(training, "seconds_per_step", lambda *_: 2.0)
    view.validation_ids = None
    view.children[-1]._handle_custom_msg("here", [])     # as the page says it
    assert arrives(lambda: "12 batches" in view._plan.value and "about 25 s" in view._plan.value)
    view.steps.value = 600
    assert "about 20 min" in view._plan.value
    view.layers.value, view.batch.value = 4, 8           # twice the batch, about twice the depth
    assert re.search(r"about (6|7)\d min", view._plan.value)


def test_after_a_run_its_own_pace_counts(view):
    view.start()
    view.wait(LONG)
    view._seconds = 24.0
    view._remember_pace()
    view.steps.value = 20
    assert "about 40 s" in view._plan.value
    view.measure()                                       # and no measurement beside it
    assert "about 40 s" in view._plan.value


def test_a_measurement_takes_a_few_steps_of_that_size_and_changes_nothing(view, monkeypatch):
    seen = []
    take_step = TrainingRun._take_step
    monkeypatch.setattr(TrainingRun, "_take_step",
                        lambda run: (seen.append((run.model.config, run.config.batch_size)),
                                     take_step(run)))
    state = torch.get_rng_state()
    view.measure()
    assert seen == [(SMALL, 4)] * training.MEASURED_STEPS
    assert torch.equal(torch.get_rng_state(), state) and view.run is None
    assert re.search(r"about \d+ s", view._plan.value)


def arrives(condition) -> bool:
    """What another thread brings about."""
    for _ in range(2000):
        if condition():
            return True
        time.sleep(0.005)
    return False


def test_the_model_is_handed_on_to_the_views_of_the_session():
    session = Session("The cat sat", layer=1, head=2)
    explorer = AttentionExplorer(model(), tokenizer(), session=session)
    bench = SamplingBench(model(), tokenizer(), session=session)
    view = dashboard(session=session)
    assert view.model is None and view.use_button.disabled
    view.use_model()
    assert "press start" in view.children[1].value
    view.layers.value = 1
    view.start()
    view.wait(LONG)
    assert view.model is view.run.model
    view.use_button.click()
    assert view.last_error is None and session.layer == 0
    fresh = AttentionExplorer(view.model, tokenizer(), session=Session("The cat sat", head=2))
    assert repr(explorer) == repr(fresh) and explorer.error == ""
    np.testing.assert_array_equal(explorer.shown["weights"], fresh.shown["weights"])
    assert repr(bench) == repr(SamplingBench(view.model, tokenizer(), "The cat sat"))


def test_a_model_that_was_handed_on_stays_as_it_is_while_the_run_goes_on(view):
    view.steps.value = 40
    view.start()
    view.ask_to_stop()
    view.wait(LONG)
    view.use_model()
    handed = view.session.model
    before = {name: weight.clone() for name, weight in handed.state_dict().items()}
    view.resume()
    view.wait(LONG)
    assert all(torch.equal(weight, before[name]) for name, weight in handed.state_dict().items())
    assert not handed._forward_pre_hooks
