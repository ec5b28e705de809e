"""A check survives whatever a learner's function does, and says what it was."""

import contextlib
import dataclasses
import html
import io
import math
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from itertools import pairwise
from pathlib import Path

import IPython
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from gptcourse.exercises import (
    TODO,
    NotSolved,
    all_exercises,
    answers,
    check,
    checking,
    progress,
    trial,
)
from gptcourse.exercises.exercise import Property
from gptcourse.exercises.result import with_code


@pytest.fixture(autouse=True)
def in_an_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPTLIB_CHECK", raising=False)
    monkeypatch.setattr(progress, "_unsaved", [])


def right_mask(n_tokens):
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()


def endless(n_tokens):
    while True:
        pass


def endless_and_deaf(n_tokens):
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.001)


def test_the_line_of_a_right_answer_says_what_was_tried():
    assert repr(check.causal_mask(right_mask)).startswith(
        "✅ causal_mask: right on 5 trials of different sizes; inputs untouched. ")


@pytest.mark.parametrize(("function", "sign", "told"), [
    (lambda n_tokens: TODO, "⬜", "not done yet"),
    (TODO, "⬜", "not done yet"),
    (lambda n_tokens: TODO + 1, "⬜", "still returns TODO"),
    (lambda n_tokens: n_tokens % abs(TODO // 2), "⬜", "still returns TODO"),
    (lambda n_tokens: torch.ones(n_tokens, n_tokens) @ TODO, "⬜", "still returns TODO"),
    (lambda n_tokens: (TODO, TODO), "⬜", "not done yet"),
    (lambda n_tokens: None, "❌", "forget `return`"),
    (right_mask(5), "❌", "without calling it"),
    (None, "❌", "without calling it"),
    (lambda: 1, "❌", "your function takes ()"),
    (lambda a, b: 1, "❌", "your function takes (a, b)"),
    (lambda n_tokens: exec("raise SystemExit"), "💥", "SystemExit"),
    (lambda n_tokens: exec("raise KeyboardInterrupt"), "💥", "KeyboardInterrupt"),
    (lambda n_tokens: 1 / 0, "💥", "ZeroDivisionError"),
    (lambda n_tokens: right_mask(n_tokens).to("meta"), "❌", "device of what you return is meta"),
    (lambda n_tokens: right_mask(n_tokens).float().to_sparse(), "❌", "sparse"),
    (lambda n_tokens: right_mask(n_tokens).to(torch.complex64), "❌", "torch.complex64"),
    (lambda n_tokens: torch.full((n_tokens, n_tokens), torch.nan), "❌", "torch.float32"),
    (lambda n_tokens: iter([1]), "❌", "list_iterator"),
    (lambda n_tokens: torch.ones, "❌", "must be a torch tensor"),
], ids=str)
def test_what_comes_back_is_one_line_with_its_reason(function, sign, told):
    line = repr(check.causal_mask(function))
    assert line.startswith(f"{sign} causal_mask: ") and told in line
    assert "\n" not in line and "Traceback" not in line


def test_the_line_that_raised_is_named(tmp_path):
    cell = tmp_path / "cell.py"
    cell.write_text("def causal_mask(n_tokens):\n    x = [1]\n    return x[n_tokens]\n")
    names = {}
    exec(compile(cell.read_text(), str(cell), "exec"), names)
    assert repr(check.causal_mask(names["causal_mask"])) == (
        "💥 causal_mask: in line 3, `return x[n_tokens]`: A place is asked for that is not there: "
        "the last one is the size less 1, for counting begins at 0; or it is looked up along "
        "another axis than it should. "
        "(IndexError: list index out of range; called with n_tokens = 4)")


def test_endless_recursion_is_told():
    def causal_mask(n_tokens):
        return causal_mask(n_tokens)
    assert "it calls itself without end" in repr(check.causal_mask(causal_mask))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such timers")
@pytest.mark.parametrize("function", [endless, endless_and_deaf])
def test_an_endless_loop_is_stopped(function, monkeypatch):
    monkeypatch.setattr(checking, "TIME_LIMIT", 0.3)
    former = signal.getsignal(signal.SIGALRM)
    line = repr(check.causal_mask(function))
    assert line.startswith("💥") and "a loop that never ends" in line
    assert signal.getsignal(signal.SIGALRM) is former
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert check.causal_mask(right_mask).ok


@pytest.mark.parametrize("function", [endless, endless_and_deaf])
def test_an_endless_loop_is_stopped_in_another_thread_too(function, monkeypatch):
    monkeypatch.setattr(checking, "TIME_LIMIT", 0.3)
    lines = []
    thread = threading.Thread(target=lambda: lines.append(repr(check.causal_mask(function))))
    thread.start()
    thread.join(30)
    assert len(lines) == 1 and "a loop that never ends" in lines[0]


def test_systems_without_timers_stop_an_endless_loop(monkeypatch):
    monkeypatch.setattr(checking, "TIME_LIMIT", 0.3)
    monkeypatch.delattr(trial.signal, "setitimer", raising=False)
    assert "a loop that never ends" in repr(check.causal_mask(endless))
    assert check.causal_mask(right_mask).ok


@pytest.mark.parametrize("thread", [False, True])
def test_a_machine_that_is_busy_elsewhere_makes_no_answer_wrong(monkeypatch, thread):
    """What waits for its turn, here asleep, does not work meanwhile."""
    monkeypatch.setattr(checking, "TIME_LIMIT", 0.3)
    said = []

    def judge():
        said.append(check.causal_mask(lambda n: (time.sleep(0.1), right_mask(n))[1]).ok)

    if thread:
        worker = threading.Thread(target=judge)
        worker.start()
        worker.join()
    else:
        judge()
    assert said == [True]


def test_everything_around_stays_as_it_was(capsys):
    def careless(n_tokens):
        print("x" * 10_000)
        print("y", file=sys.stderr)
        warnings.warn("z", stacklevel=1)
        for seed in (torch.manual_seed, random.seed, np.random.seed):
            seed(1)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        sys.stdout = None
        os.environ["GPTLIB_CHECK"] = "require"
        return right_mask(n_tokens)

    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    stdout = sys.stdout
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert check.causal_mask(careless).ok
    assert seen == [] and sys.stdout is stdout and capsys.readouterr() == ("", "")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
    assert "GPTLIB_CHECK" not in os.environ


@contextlib.contextmanager
def set_by(switch, on, off):
    switch(on)
    try:
        yield
    finally:
        switch(off)


SURROUNDINGS = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "double": lambda: set_by(torch.set_default_dtype, torch.float64, torch.float32),
    "half": lambda: set_by(torch.set_default_dtype, torch.float16, torch.float32),
    "deterministic": lambda: set_by(torch.use_deterministic_algorithms, True, False),
    "device": lambda: torch.device("meta"),
    "default device": lambda: set_by(torch.set_default_device, "meta", None),
    "detect_anomaly": torch.autograd.detect_anomaly,
    "errors of numpy": lambda: np.errstate(all="raise"),
}


def settings_of_torch():
    return (torch.is_autocast_enabled("cpu"), torch.is_grad_enabled(), torch.get_default_dtype(),
            torch.is_inference_mode_enabled(), torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(), torch.get_default_device(),
            torch.is_anomaly_enabled(), np.geterr(), torch._C._len_torch_function_stack())


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_right_answers_are_right_whatever_holds_around_the_check(surroundings):
    for exercise in all_exercises():
        with SURROUNDINGS[surroundings]():
            before = settings_of_torch()
            status, text = checking.judge(exercise, exercise.solution)
            assert settings_of_torch() == before, exercise.name
        assert status == "right", f"{exercise.name}: {text}"


@pytest.mark.parametrize("switch", [
    lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_default_device("meta"),
    lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    lambda: torch.set_grad_enabled(False), lambda: torch.autocast("cpu").__enter__(),
], ids=["dtype", "device", "deterministic", "grad", "autocast"])
def test_what_a_function_switches_holds_for_nothing_but_itself(switch):
    def attention_weights(*arguments):
        weights = check.attention_weights.exercise.solution(*arguments)
        switch()
        return weights

    before = settings_of_torch()
    assert check.attention_weights(attention_weights).ok
    assert settings_of_torch() == before


# ------------------------------------------------------------------------- faults of the judge


def faulty(place):
    """An exercise of which one part raises, as if it stood in a file of the library."""
    source = "def broken(*_): raise ZeroDivisionError('a fault of the judge')"
    exec(compile(source, checking.__file__, "exec"), names := {})
    broken, exercise = names["broken"], check.causal_mask.exercise
    if place in ("malformed", "difference", "alike"):
        kind = type("Faulty", (answers.TensorAnswer,), {place: broken})
        return dataclasses.replace(exercise, returns=kind("mask", ("T", "S"), "bool"))
    values = {"symptoms": [broken], "properties": [Property("never", broken)]}
    return dataclasses.replace(exercise, **{place: values.get(place, broken)})


def now_and_then_wrong(n_tokens):
    mask = right_mask(n_tokens)
    mask[3:4, 1:2] &= n_tokens != 7
    return mask


PLACES = ["malformed", "difference", "alike", "symptoms", "properties", "use", "cases"]


@pytest.mark.parametrize("place", PLACES)
def test_a_fault_of_the_judge_is_not_hidden_from_the_tests(place):
    function = right_mask if place == "properties" else now_and_then_wrong
    with pytest.raises(ZeroDivisionError, match="a fault of the judge"):
        checking.judge(faulty(place), function)


@pytest.mark.parametrize("place", PLACES)
def test_a_fault_of_the_judge_stops_no_notebook(place, monkeypatch):
    monkeypatch.delenv("GPTLIB_FAULTS")
    function = right_mask if place == "properties" else now_and_then_wrong
    status, text = checking.judge(faulty(place), function)
    assert status == "wrong" and "\n" not in text
    assert place in ("alike", "symptoms") or "is in the course, and not yours" in text


def strange():
    return {
        "nothing in it": [], "an empty tensor": torch.empty(0), "one number": torch.tensor(1.0),
        "sparse": torch.eye(3).to_sparse(), "rows": torch.eye(3).to_sparse_csr(),
        "meta": torch.ones(2, 2, device="meta"),
        "nested": torch.nested.nested_tensor([torch.ones(2)]),
        "quantized": torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8),
        "eight bits": torch.ones(2, 2).to(torch.float8_e4m3fn), "complex": torch.tensor(1j),
        "a pair": (torch.eye(3).to_sparse(), None), "huge": 10**400, "array": np.array([None, 1]),
        "a dictionary": {(1, 2): 0.5}, "a generator": (x for x in [1]), "a layer": torch.nn.ReLU(),
    }

@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda exercise: exercise.name)
def test_strange_values_are_refused_in_a_sentence(exercise, monkeypatch):
    monkeypatch.setattr(checking, "TIME_LIMIT", 100)
    for name, value in strange().items():
        status, text = checking.judge(exercise, lambda *_, value=value: value)
        assert status in ("wrong", "raised") and "\n" not in text, name
        assert "stumbles" not in text, (name, text)


def test_two_checks_of_one_function_say_the_same():
    def shared(queries, keys, mask):
        return (queries @ keys.transpose(-2, -1)).softmax(-1)
    lines = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        lines.append(repr(check.attention_weights(shared)))
    assert lines[0] == lines[1]


def test_a_tensor_that_claims_to_equal_everything_does_not_pass():
    class Flatterer(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            result = super().__torch_function__(function, types, args, kwargs or {})
            if function in (torch.isclose, torch.Tensor.eq):
                return torch.ones_like(result)
            return result

    def causal_mask(n_tokens):
        return torch.ones(n_tokens, n_tokens).bool().as_subclass(Flatterer)

    assert check.causal_mask(causal_mask).status == "wrong"


def test_a_number_that_claims_to_equal_everything_does_not_pass():
    class Yes(int):
        def __eq__(self, other):
            return True
        __hash__ = int.__hash__

    assert check.merge(lambda ids, pair, new_id: [Yes(0)] * 3).status == "wrong"


def test_an_object_that_cannot_be_looked_at_does_no_harm():
    class Thorny:
        def __getattribute__(self, name):
            raise RuntimeError("no")

    assert check.merge(lambda ids, pair, new_id: Thorny()).status in ("wrong", "raised")
    assert check.causal_mask(lambda n_tokens: Thorny()).status in ("wrong", "raised")


def test_two_numbers_that_differ_are_told_apart_by_their_digits():
    kind = answers.TensorAnswer("x", ("C",))
    told = kind.difference(*torch.tensor([[0.5, 0.1888], [0.5, 0.18884]], dtype=torch.float64))
    assert told == "x[1] is 0.1888, but should be 0.18884 (1 of 2 numbers differ)."


def test_an_error_whose_text_raises_is_told_by_its_name():
    class Odd(Exception):
        def __str__(self):
            raise ValueError

    def causal_mask(n_tokens):
        raise Odd

    assert "Odd" in repr(check.causal_mask(causal_mask))


# -------------------------------------------------------------------------------------- the causes


def test_a_wrong_answer_that_depends_on_chance_is_told_so():
    def attention_weights(queries, keys, mask):
        scores = (queries @ keys.mT).masked_fill(~mask, -math.inf)
        return torch.nn.functional.dropout(scores.softmax(-1), 0.5)
    assert "Called twice with the same input" in check.attention_weights(attention_weights).text


def test_chance_that_spares_the_first_trial_is_told_too():
    def split_heads(x, n_heads):
        heads = x.unflatten(-1, (n_heads, -1)).transpose(1, 2)
        return heads if n_heads == 3 else torch.nn.functional.dropout(heads, 0.5)
    assert "Called twice with the same input" in check.split_heads(split_heads).text


def test_a_wrong_answer_that_depends_on_earlier_calls_is_told_so():
    def count_pairs(ids, counts={}):  # noqa: B006
        for pair in pairwise(ids):
            counts[pair] = counts.get(pair, 0) + 1
        return counts
    assert "nor on what an earlier call left" in check.count_pairs(count_pairs).text


def test_wrong_numbers_are_told_before_something_of_another_kind_that_came_later():
    def last_token_forgotten(logits, targets):
        logs, total = logits.log_softmax(dim=-1), 0
        for row, text in zip(logs[:, :-1], targets, strict=True):
            for t, log in enumerate(row):
                total = total - log[text[t]]
        return total / targets.numel()               # for texts of one token a plain 0

    assert "the loss is " in check.next_token_loss(last_token_forgotten).text


def test_of_two_likely_mistakes_the_one_is_told_that_leaves_right_trials_right():
    edits = [(".tril()", ".triu()", "Always."),
             (".tril()", ".triu() if n_tokens > 4 else causal_mask(n_tokens)", "For large ones.")]
    exercise = dataclasses.replace(check.causal_mask.exercise, edits=edits, symptoms=())
    exercise.mistakes[1].function.__globals__["causal_mask"] = right_mask
    told = checking.judge(exercise, lambda n: right_mask(n) if n < 5 else right_mask(n).T)[1]
    assert told.endswith(" For large ones.")


def test_a_known_mistake_must_explain_most_of_what_went_wrong():
    edits = [(".tril()", ".triu()", "Upside down.")]
    exercise = dataclasses.replace(check.causal_mask.exercise, edits=edits)
    told = checking.judge(exercise, lambda n: right_mask(n).T if n == 4 else right_mask(n) ^ True)
    assert told[0] == "wrong" and "Upside down" not in told[1]


def test_what_is_nan_in_every_text_is_not_taken_for_a_mixture_of_texts():
    text = check.attention_weights(lambda queries, keys, mask: (queries @ keys.mT * 0).log().sqrt()
                                   ).text
    assert "That is no usable number" in text and "batch" not in text


def with_symptom(name, symptom):
    return dataclasses.replace(getattr(check, name).exercise, symptoms=[symptom])


def test_a_symptom_is_asked_about_the_first_wrong_trial():
    def one_hole(n_tokens):
        mask = right_mask(n_tokens)
        mask[3:4, 1:2] &= n_tokens != 7
        return mask
    asked = with_symptom("causal_mask", lambda answer, n_tokens: f"{n_tokens}, {answer(1)}.")
    assert checking.judge(asked, one_hole)[1].endswith(" 7, tensor([[True]]).")


@pytest.mark.parametrize("symptom", [lambda *_: 1 / 0, lambda *_: None, lambda *_: sys.exit()])
def test_a_symptom_that_fails_does_no_harm(symptom):
    asked = with_symptom("causal_mask", symptom)
    status, text = checking.judge(asked, lambda n: right_mask(n) if n != 7 else right_mask(n).T)
    assert status == "wrong" and text.startswith("with n_tokens = 7, mask[0, 1] is True")


def test_an_answer_of_very_many_numbers_is_looked_at_by_its_shape_alone():
    asked = with_symptom("causal_mask", lambda *_: "Never said.")
    very_many = torch.ones(1, dtype=torch.bool).expand(2000, 2000)
    assert "Never said" not in checking.judge(asked, lambda n: very_many)[1]
    assert "Never said" in checking.judge(asked, lambda n: very_many[:20, :20])[1]


def test_no_symptom_is_looked_for_in_a_thing_of_another_kind():
    asked = with_symptom("causal_mask", lambda *_: "Never said.")
    assert "Never said" not in checking.judge(asked, lambda n: "mask")[1]


# ------------------------------------------------------------------------------------ the result


def test_the_page_shows_the_same_words():
    for function in (right_mask, lambda n_tokens: "<b>", lambda n_tokens: 1 / 0):
        result = check.causal_mask(function)
        page = result._repr_html_()
        line = html.unescape(re.sub("<[^>]*>", "", page.partition('<div class="gpt-help"')[0]))
        assert result.text.replace("`", "") in line and 'role="status"' in page
        assert ("hint 1</summary>" in page) is not result.ok
        assert ("solution</summary>" in page) is not result.ok


def test_what_is_code_in_a_sentence_looks_like_it():
    told = with_code("Take x.mean(dim=-1), not x[0], and `+=` as in my_gpt.py: 2 < 3, a row.")
    assert re.findall("<code>(.*?)</code>", told) == ["x.mean(dim=-1)", "x[0]", "+=", "my_gpt.py"]
    assert "2 &lt; 3, a row." in told


def test_a_check_says_when_the_newest_version_did_not_run(monkeypatch):
    shell = InteractiveShell()
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    shell.run_cell("def causal_mask(n_tokens):\n    return 1", store_history=True)
    assert "did not run" not in check.causal_mask(shell.user_ns["causal_mask"]).text
    with contextlib.redirect_stdout(io.StringIO()):
        shell.run_cell("def causal_mask(n_tokens):\n    return (1", store_history=True)
    assert "did not run" in check.causal_mask(shell.user_ns["causal_mask"]).text


def test_require_makes_an_exception_of_all_but_right(monkeypatch):
    monkeypatch.setenv("GPTLIB_CHECK", "require")
    assert check.causal_mask(right_mask).ok
    for function in (lambda n_tokens: TODO, lambda n_tokens: 1 / 0, lambda n_tokens: 1):
        with pytest.raises(NotSolved, match="causal_mask: "):
            check.causal_mask(function)


def test_hints_and_solution():
    notes = [repr(check.causal_mask.hint(n)) for n in (1, 2, 3)]
    assert len(set(notes)) == 3 and notes[0].startswith("Hint 1 of 3 for causal_mask\n")
    assert repr(check.causal_mask.hint()) == notes[0]
    assert "hints 1 to 3" in repr(check.causal_mask.hint(4))
    assert "hints 1 to 3" in repr(check.causal_mask.hint("one"))
    assert "hints 1 to 3" in repr(check.causal_mask.hint(2.0))
    assert ".tril()" in repr(check.causal_mask.solution())
    assert "<pre" in check.causal_mask.solution()._repr_html_()


def test_an_unknown_exercise_names_the_nearest():
    with pytest.raises(AttributeError, match="did you mean check.causal_mask"):
        check.casual_mask  # noqa: B018
    assert {"causal_mask", "report"} <= set(dir(check))


# ---------------------------------------------------------------------------------- the progress


def state_of(name):
    return next(row for row in check.report().rows if row.exercise.name == name)


def test_progress_is_kept_in_the_folder():
    check.causal_mask(lambda n_tokens: TODO)
    assert not Path(progress.FOLDER).exists()                 # a blank notebook leaves nothing
    check.causal_mask(lambda n_tokens: 1)
    assert state_of("causal_mask").state == "not right yet, 1 try"
    check.causal_mask(right_mask)
    check.causal_mask(lambda n_tokens: 1)                     # solved stays solved
    assert state_of("causal_mask").state == "solved in 2 tries"
    other_kernel = subprocess.run(
        [sys.executable, "-c", "from gptcourse.exercises import check; print(check.report(3))"],
        capture_output=True, encoding="utf-8", check=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert "✅ 03.causal_mask" in other_kernel.stdout
    assert other_kernel.stdout.startswith(f"1 of {len(check.report(3).rows)} exercises")


def test_the_report_of_all_has_a_line_for_each_chapter():
    check.causal_mask(right_mask)
    report = check.report()
    lines = repr(report).splitlines()[1:]
    chapters = {row.exercise.chapter for row in report.rows}
    assert [int(line.split()[0]) for line in lines] == sorted(chapters)
    of_three = check.report(3)
    [line] = [line for line in lines if line.startswith("3 · Attention")]
    assert line.endswith(f" 1 of {len(of_three.rows)}")
    assert line.count("✅") == 1 and line.count("⬜") == len(of_three.rows) - 1
    page = report._repr_html_()
    assert page.count("<tr>") == len(lines) and "causal_mask" not in page
    assert "causal_mask" in of_three._repr_html_()


@pytest.mark.parametrize("chapter", [-1, 12, "3"])
def test_a_report_of_a_chapter_without_exercises_says_which_have_some(chapter):
    told = f"chapter is {chapter!r}, .* in chapters 0, 1, 2, 3, .*: name"
    with pytest.raises(ValueError, match=told):
        check.report(chapter)


MARKS = f"""
import runpy, sys
record = runpy.run_path({progress.__file__!r})["record"]          # without torch
for number in range(60):
    record(f"02.shared_{{number}}", "wrong")
    record(f"02.own_{{number}}_{{sys.argv[1]}}", "right")
"""


def test_three_notebooks_at_once_lose_no_try():
    kernels = [subprocess.Popen([sys.executable, "-c", MARKS, name]) for name in "abc"]
    assert [kernel.wait() for kernel in kernels] == [0, 0, 0]
    entries = progress.load()
    assert sum(entry["solved"] for entry in entries.values()) == 180
    assert [entries[f"02.shared_{number}"]["tries"] for number in range(60)] == [3] * 60


def test_what_was_solved_elsewhere_meanwhile_stays_solved(monkeypatch):
    outdated = progress.load()
    check.causal_mask(right_mask)
    with monkeypatch.context() as another_notebook:            # it looked before
        another_notebook.setattr(progress, "load", lambda: outdated)
        check.causal_mask(lambda n_tokens: 1)
    assert state_of("causal_mask").state == "solved in 2 tries"


def test_whatever_else_lies_in_the_folder_does_no_harm():
    Path(progress.FOLDER).mkdir()
    for name in (".DS_Store", "02.causal_mask.1.right (copy)", "right", "99.unknown.1.right",
                 "02.causal_mask"):
        Path(progress.FOLDER, name).write_bytes(b"\xff")
    assert state_of("causal_mask").state == "not done yet"
    assert check.causal_mask(right_mask).ok
    assert state_of("causal_mask").state == "solved in 1 try"


def test_a_file_in_the_place_of_the_folder_does_no_harm():
    Path(progress.FOLDER).touch()
    assert check.causal_mask(right_mask).ok
    assert state_of("causal_mask").solved
    assert "as long as the kernel" in repr(check.report())


def test_where_nothing_can_be_written_progress_lasts_as_long_as_the_kernel(monkeypatch):
    def refuse(path, **_settings):
        raise PermissionError(13, "read-only")

    with monkeypatch.context() as read_only:
        read_only.setattr(Path, "touch", refuse)
        check.causal_mask(lambda n_tokens: 1)
        assert check.causal_mask(right_mask).ok
        assert state_of("causal_mask").state == "solved in 2 tries"
        assert "as long as the kernel" in check.report()._repr_html_()
    check.split_heads(lambda x, n_heads: 1)                    # now it can be: all of it is kept
    assert not check.report().remarks
    assert state_of("causal_mask").state == "solved in 2 tries"


def test_a_folder_that_is_gone_does_no_harm(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert check.causal_mask(right_mask).ok
    os.chdir(tmp_path)
