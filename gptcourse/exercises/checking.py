"""Judging a learner's function: a few trial calls, the first problem, its likely cause in words.

The order is that in which a beginner can use it: nothing written, nothing returned, the wrong kind
of thing, the wrong shape, then wrong numbers. A wrong answer that is known has a name.
"""

from __future__ import annotations

import copy
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from gptcourse.exercises import progress
from gptcourse.exercises.answers import Kind, described
from gptcourse.exercises.classes import unwritten
from gptcourse.exercises.errors import meaning
from gptcourse.exercises.exercise import TODO, Exercise, Mistake, NotDoneYet, Todo
from gptcourse.exercises.experiments import Experiments
from gptcourse.exercises.keeping import FILE, is_of_the_course, keep, written_in
from gptcourse.exercises.properties import settings
from gptcourse.exercises.resemblance import Trial, relation, resemblance
from gptcourse.exercises.result import Hint, Result, hint, solution
from gptcourse.exercises.trial import (
    TIME_LIMIT,
    Ending,
    NoAnswer,
    OutOfTime,
    Raised,
    Unreadable,
    alone,
    asked,
    attempt,
    time_limit,
    undisturbed,
)
from gptcourse.listing import Source

SEED = 0

class NotSolved(AssertionError):
    """What GPTLIB_CHECK=require makes of every result that is not right."""


class _Verdict(Ending):
    """The end of a judgement: a status and its sentence."""

    def __init__(self, status: str, text: str):
        super().__init__(text)
        self.status, self.text = status, text


class Check:
    """`check.causal_mask`: call it with your function, or ask it for help."""

    def __init__(self, exercise: Exercise):
        self.exercise = exercise
        self.__doc__ = exercise.goal

    def __call__(self, definition: Callable = TODO) -> Result:
        """Judge a function or class, and keep it in the learner's file where it is right.

        It never stops the notebook, unless GPTLIB_CHECK=require.
        """
        if asked(is_of_the_course, definition, self.exercise.defines):
            status, text = "todo", _NOT_YOURS.format(self.exercise)
        elif self._is_as_given(definition):
            status, text = "todo", _STILL_THE_BUG
        else:
            status, text = judge(self.exercise, definition)
        if self._is_older(definition):
            text = (f"{text} (The cell with your newest version did not run, so this is about the "
                    "one before: look at the error there.)")
        progress.record(self.exercise.id, status)
        if status == "right" and self.exercise.kept:
            kept = asked(keep, self.exercise, definition, judge,
                         otherwise=f"It isn't in {FILE}: that is the course's mistake.")
            text = f"{text} {kept}"
        result = Result(self.exercise, status, text)
        if os.environ.get("GPTLIB_CHECK") == "require" and not result.ok:
            raise NotSolved(repr(result))
        return result

    def _is_as_given(self, definition: Any) -> bool:
        """Whether a bug that is to be found stands in its cell untouched."""
        exercise = self.exercise
        return (bool(exercise.bug) and callable(definition)
                and written_in(definition).strip() == exercise.stub.strip())

    def _is_older(self, definition: Any) -> bool:
        """Whether the last cell that was to define it is another one, which Python refused."""
        in_a_notebook = "IPython" in sys.modules
        shell = sys.modules["IPython"].get_ipython() if in_a_notebook else None
        ran = written_in(definition)
        begins = re.compile(rf"^(?:def|class)\s+{self.exercise.defines}\b", re.MULTILINE)
        cells = shell.user_ns.get("In", []) if shell and ran else []
        newest = next((cell for cell in reversed(cells) if begins.search(cell)), ran)
        return newest.strip() != ran.strip()

    def hint(self, number: int = 1) -> Hint | Source:
        """1 is a nudge, 2 says the steps, 3 gives all but one line."""
        hints = self.exercise.hints
        if type(number) is not int or number not in range(1, len(hints) + 1):
            return Hint(f"There is no hint {number!r}: this exercise has hints 1 to {len(hints)}.",
                        "")
        return hint(self.exercise, number)

    def solution(self) -> Source:
        """One right answer; yours may look different."""
        return solution(self.exercise)

    def __repr__(self) -> str:
        return f"check.{self.exercise.name}: {self.exercise.goal}"


# ------------------------------------------------------------------------------- the judgement


def judge(exercise: Exercise, definition: Any) -> tuple[str, str]:
    """-> status ("todo", "right", "wrong" or "raised") and one line of text."""
    try:
        _check_callable(exercise, definition)
        with undisturbed(), time_limit(TIME_LIMIT):
            return asked(lambda: _Trials(exercise, definition).verdict(),
                         otherwise=("wrong", _UNREADABLE))
    except _Verdict as verdict:
        return verdict.status, verdict.text
    except OutOfTime:
        return "raised", (f"stopped after {TIME_LIMIT:.0f} seconds: it has not returned yet; look "
                          "for a loop that never ends, such as a `while` in which one branch "
                          "forgets i += 1, or for one that does far too much.")


def _check_callable(exercise: Exercise, definition: Any) -> None:
    if isinstance(definition, Todo):
        raise _Verdict("todo", _NOT_DONE)
    kind = "class" if isinstance(exercise.solution, type) else "function"
    if not callable(definition) or (kind == "class" and not isinstance(definition, type)):
        raise _Verdict("wrong", (
            f"the check was given {described(definition)}, but needs the {kind} itself: write "
            f"check.{exercise.name}({exercise.defines}), without calling it."))
    _check_parameters(exercise, definition)


_NOT_A_NUMBER = ("That is no usable number: look for a division by zero, a logarithm of zero or of "
                 "a negative number, the root or a power of a negative number, or a row in which "
                 "everything is minus infinity.")
_TWICE = ("twice with the same input, it does two different things: it must depend on nothing but "
          "its arguments, neither on chance, such as dropout or the numbers of a new layer, nor on "
          "what an earlier call left behind.")
_UNREADABLE = ("the check stumbles over what it returns: return a plain value; if it is one, the "
               "mistake is in the course, and not yours.")
_NOT_DONE = "not done yet. Write your lines in place of TODO, then run both cells again."
_STILL_THE_BUG = ("not done yet. This is still the code with the bug: find it and mend it, then "
                  "run both cells again.")
_NOT_YOURS = ("not done yet. This is the course's own version, so nothing of it is kept: write "
              "yours in a cell, and check that one, check.{0.name}({0.defines}).")


def _check_parameters(exercise: Exercise, function: Callable) -> None:
    """The trial calls pass the arguments by place, so their number must fit."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return
    expected = [name for name, one in inspect.signature(exercise.solution).parameters.items()
                if one.kind is one.POSITIONAL_OR_KEYWORD]    # a class without __init__ takes none
    try:
        signature.bind(*expected)
    except TypeError:
        wanted, got = ", ".join(expected), ", ".join(signature.parameters)
        raise _Verdict("wrong", (
            f"your function takes ({got}), but is called with ({wanted}): keep the first line of "
            "the cell as it was.")) from None


class _Trials:
    """All trial calls of one check."""

    def __init__(self, exercise: Exercise, definition: Any):
        self.exercise = exercise
        self.definition = alone(definition)
        self.function = alone(exercise.use(self.definition))
        self.returns = exercise.returns
        self.cases = [tuple(case) for case in exercise.cases(_generator())]
        self.answers: list = []                # as far as the trials went
        self.expected: list = []
        self.explained: dict = {}              # of each mistake and trial that was looked at

    def verdict(self) -> tuple[str, str]:
        if self.exercise.structure:
            self._check_structure()
        for case in self.cases:
            self._try(case)
        self._compare()
        # One may be right by chance, as where dropout spared everything.
        if any(map(self._changes_by_itself, range(len(self.cases))[:3])):
            raise _Verdict("wrong", f"called {_TWICE}")
        for fact in self.exercise.properties:
            about = self.definition if fact.of_class else self._call
            problem = asked(fact.broken, about, otherwise=_UNREADABLE)
            if problem:
                raise _Verdict("wrong", problem)
        return "right", self._tried()

    def _check_structure(self) -> None:
        """That a class can be built, and that the weights of the course fit into it."""
        blank = unwritten(self.definition)
        if "__init__" in blank:
            raise _Verdict("todo", _NOT_DONE)
        problem = attempt(self.exercise.structure, (self.definition,))
        if problem:
            told = [mistake.told for mistake in self.exercise.mistakes if _in_words(problem) ==
                    _in_words(attempt(self.exercise.structure, (mistake.definition,)))]
            if isinstance(problem, Raised):
                self._raised(problem, (), *told[:1])
            raise _Verdict("wrong", " ".join([problem, *told[:1]]))
        if blank and self.exercise.hides_a_bug:
            raise _Verdict("todo", f"not done yet. First write {blank[0]}; once that is there, "
                                   "the check tells whether the bug is gone, too.")
        if blank:
            raise _Verdict("todo", f"not done yet. Its parts are right; now write {blank[0]}.")

    def _try(self, case: tuple) -> None:
        """One call; its answer must be well-formed, and the inputs as they were."""
        given = copy.deepcopy(case)
        answer = self._call(*given)
        self.expected.append(self.exercise.reference(*copy.deepcopy(case)))
        self.answers.append(answer)
        problem = asked(
            self.returns.malformed, answer, self.expected[-1], otherwise=_UNREADABLE)
        if problem:
            self._compare(len(self.answers) - 1)   # what went wrong before it tells more
            self._wrong(case, problem)
        if not self.exercise.changes_inputs:
            self._check_untouched(given, case)
        # What is compared later must not change with what the function does next.
        self.answers[-1] = copy.deepcopy(_detached(answer))

    def _compare(self, most: int | None = None) -> None:
        """The numbers of all answers so far, or of the first ones."""
        answers = self.answers[:most]
        for case, answer, expected in zip(self.cases, answers, self.expected, strict=False):
            problem = asked(self.returns.difference, answer, expected, otherwise=_UNREADABLE)
            if problem:
                self._wrong(case, problem)

    def _call(self, *arguments) -> Any:
        """The learner's result. An exception, None and TODO end the judgement here."""
        result = attempt(self.function, arguments)
        if isinstance(result, Raised):
            self._raised(result, arguments)
        parts = list(result) if isinstance(result, (tuple, list)) else [result]
        if any(isinstance(part, Todo) for part in parts):
            raise _Verdict("todo", _NOT_DONE)
        if result is None:
            cause = self._known_cause(lambda same: same is None)
            if not self.answers:
                raise _Verdict("wrong", "it returns None. " + (cause or (
                    "Did you forget `return`? Some methods return None, too, such as append and "
                    "sort of a list.")))
            cause = cause or ("A way through your function ends without `return`, perhaps because "
                              "it stands inside a loop or an if.")
            raise _Verdict("wrong", (
                f"called with {self._written(arguments)}, it returns None. {cause}"))
        return result

    def _raised(self, result: Raised, arguments: tuple, known: str | None = None) -> None:
        if isinstance(result.error, NotDoneYet):
            raise _Verdict("todo", "not done yet: it uses a function that still returns TODO. "
                                   "Write that one first.")
        self._compare()  # what went wrong before it raised tells more
        if isinstance(result.error, Unreadable):
            raise _Verdict("wrong", str(result.error))
        called = f"called with {self._written(arguments)}" if arguments else "when it is built"
        cause = known or self._known_error(result)
        text = f"{cause} ({result.what}; {called})" if cause else f"{result.what} ({called})."
        raise _Verdict("raised", f"{result.where}{': ' if cause else ', '}{text}"
                       if result.where else text)

    @property
    def _running(self) -> list[tuple]:
        """The arguments of the trial that is running; none where a property asks."""
        return self.cases[len(self.answers) :][:1]

    def _known_error(self, result: Raised) -> str | None:
        """The known mistake that raises the very same, or what else there is to say."""
        known = self._known_cause(
            lambda same: isinstance(same, Raised) and same.what == result.what)
        if known:
            return known
        for case in self._running:
            expected = self.exercise.reference(*copy.deepcopy(case))
            more = Experiments(self.exercise, self.function, [(case, None, expected)])
            for question in (more.number_of_axes, more.row_by_row, more.unused):
                if found := asked(question):
                    return found
        return meaning(result.what)

    def _known_cause(self, alike: Callable[[Any], bool]) -> str | None:
        """The known mistake from which the trial that is running gets something alike."""
        for case in self._running:
            for mistake in self.exercise.mistakes:
                if alike(attempt(mistake.function, copy.deepcopy(case))):
                    return mistake.told
        return None

    def _check_untouched(self, given: tuple, case: tuple) -> None:
        for name, now, before in zip(self.exercise.parameters, given, case, strict=False):
            if isinstance(before, nn.Module) and settings(now) != settings(before):
                raise _Verdict("wrong", (
                    f"it changes {name}, which others still need: leave train() and eval(), dtype "
                    "and requires_grad of a model as they are."))
            if not _equal(now, before):
                raise _Verdict("wrong", (
                    f"it changes its input {name}, which others still need: work on a copy, and "
                    "mind `+=`, `[...] =` and methods that end in an underscore."))

    def _wrong(self, case: tuple, problem: str) -> None:
        """End with where it goes wrong, and why, if the mistake is a known one."""
        try:
            cause = self._known_mistake(problem)
        except OutOfTime:  # what is wrong is known all the same
            cause = None
        text = f"{self._where(case)}{problem}"
        raise _Verdict("wrong", f"{text} {cause}" if cause else text)

    def _where(self, case: tuple) -> str:
        """Which trial it is, if that can be said in a few words."""
        return f"with {self._written(case, parts=False)}, " if any(map(_is_small, case)) else ""

    def _known_mistake(self, problem: str) -> str | None:
        """What explains all answers, the most certain first: a known mistake, chance, a relation
        to the right numbers, what the exercise itself or other inputs bring to light, a
        resemblance; or else the known mistake that explains the first wrong one and nearly all of
        the others."""
        trials = list(zip(self.cases, self.answers, strict=False))
        for mistake in self.exercise.mistakes:
            if all(self._explains(mistake, *trial) for trial in trials):
                return mistake.told
        places = [place for place, pair in enumerate(zip(self.answers, self.expected, strict=False))
                  if not _alike(self.returns, *pair)]
        failed = [(*trials[place], self.expected[place]) for place in places]
        unusable = _NOT_A_NUMBER if " is nan" in problem or " is inf" in problem else None
        if not failed:
            return unusable
        if any(map(self._changes_by_itself, {0, places[0], places[-1]})):
            return f"Called {_TWICE}"
        names = self.exercise.parameters
        wrong = [Trial(dict(zip(names, case, strict=False)), answer, expected)
                 for case, answer, expected in failed]
        more = Experiments(self.exercise, self.function, failed)
        misshapen = "the shape of your" in problem
        return (asked(relation, wrong) or self._symptom(failed)
                or (misshapen and asked(more.unused)) or asked(resemblance, wrong)
                or asked(more.number_of_axes) or asked(more.mixed_texts) or asked(more.row_by_row)
                or asked(self._trace, wrong)
                or self._likeliest_mistake(failed) or unusable
                or asked(more.unused))

    def _trace(self, wrong: list[Trial]) -> str | None:
        """What such answers have in common, where they are the kind of thing that is asked for."""
        if not all(_alike(self.returns, trial.answer, trial.answer) for trial in wrong):
            return None
        return getattr(self.returns, "trace", lambda trials: None)(wrong)

    def _symptom(self, failed: list[tuple]) -> str | None:
        """What the exercise itself finds out about the first wrong answer."""
        case, answer, _ = failed[0]
        if not _alike(self.returns, answer, answer):
            return None                        # it is not the kind of thing that could be asked

        @wraps(self.function)                  # with what the adapter hangs on it, such as `build`
        def answer_of(*arguments):
            result = attempt(self.function, arguments)
            if isinstance(result, Raised):
                raise NoAnswer
            return result

        for symptom in self.exercise.symptoms:
            if found := asked(symptom, answer_of, *copy.deepcopy(case)):
                return found
        return None

    def _likeliest_mistake(self, failed: list[tuple]) -> str | None:
        """Of several that explain as many wrong answers, the one that spoils the fewest right."""
        best, most = None, (2, 0)
        trials = list(zip(self.cases, self.answers, strict=False))
        for mistake in self.exercise.mistakes:
            if self._explains(mistake, *failed[0][:2]):
                same = [self._explains(mistake, case, answer) for case, answer, _ in failed]
                same = [alike for alike in same if alike is not None]
                found = sum(same), sum(bool(self._explains(mistake, *trial)) for trial in trials)
                if sum(same) > len(same) - 2 and found > most:
                    best, most = mistake, found
        return None if best is None else best.told

    def _explains(self, mistake: Mistake, case: tuple, answer: Any) -> bool | None:
        """Whether a known mistake gives the same answer; None where it gives none."""
        key = id(mistake), id(case)
        if key not in self.explained:      # to copy a model takes longer than to call it
            given = copy.deepcopy(case) if self.exercise.changes_inputs else case
            result = attempt(mistake.function, given)
            self.explained[key] = None if isinstance(result, Raised) else _alike(
                self.returns, result, answer)
        return self.explained[key]

    def _changes_by_itself(self, place: int) -> bool:
        """Whether the same input once more gives something else: by chance, or by former calls."""
        given, first = copy.deepcopy(self.cases[place]), self.answers[place]
        again = attempt(self.function, given)
        return _alike(self.returns, first, first) and not _alike(self.returns, again, first)

    def _tried(self) -> str:
        facts = [f"right on {len(self.cases)} trials of different sizes"]
        if not self.exercise.changes_inputs:
            facts.append("inputs untouched")
        return "; ".join([*facts, *(fact.name for fact in self.exercise.properties)]) + "."

    def _written(self, arguments: tuple, parts: bool = True) -> str:
        """The arguments by name; without `parts`, only tensors and what can be read at a glance."""
        named = zip(self.exercise.parameters, arguments, strict=False)
        return ", ".join(_argument(name, x) for name, x in named
                         if parts or isinstance(x, Tensor) or _is_small(x))


def _in_words(problem: str | Raised | None) -> str | None:
    return problem.what if isinstance(problem, Raised) else problem


def _alike(returns: Kind, answer: Any, other: Any) -> bool:
    return asked(returns.alike, answer, other, otherwise=False)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def _is_small(value: Any) -> bool:
    """Whether the value itself says more than its shape."""
    return not isinstance(value, (Tensor, nn.Module)) and not callable(value)


def _argument(name: str, value: Any) -> str:
    """An argument as a message shows it: a tensor by its shape, a number as it is."""
    if isinstance(value, Tensor):
        return f"{name} of shape {tuple(value.shape)}"
    if callable(value):                                  # a model
        return f"{name} of class {type(value).__name__}"
    text = " ".join(repr(value).split())
    return f"{name} = {text if len(text) <= 60 else text[:58] + ' …'}"


def _detached(value: Any) -> Any:
    """Without the history of its computation, which cannot be copied."""
    if isinstance(value, Tensor):
        with torch._C.DisableTorchFunctionSubclass():
            return value.detach().as_subclass(Tensor)
    if isinstance(value, (tuple, list)):
        return type(value)(map(_detached, value)) if type(value) in (tuple, list) else value
    return value


def _equal(one: Any, other: Any) -> bool:
    """Whether an input is what it was before."""
    if isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(other, nn.Module):
        ours, theirs = one.state_dict(), other.state_dict()
        return ours.keys() == theirs.keys() and all(
            torch.equal(ours[key], theirs[key]) for key in ours)
    if isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in other)
    return callable(other) or one == other
