"""Exercises: functions to write, each with a check, hints and a solution.

>>> from gptlib.exercises import TODO, check
>>> def causal_mask(n_tokens):
...     return TODO
>>> result = check.causal_mask(causal_mask); result
⬜ causal_mask: not done yet. ...
>>> mask = result.use(5)             # the library's, until yours is right

The exercises of a chapter stand in a module of its name (`attention`, ...), their parts in
`exercise`; `book` lists them all and makes `check`. `checking` judges an answer: `trial` calls it
without harm, `answers` compares, and where it is wrong, `resemblance` looks at the numbers,
`experiments` calls it in other ways, `properties` tests facts, and `errors` explains exceptions.
`progress` remembers, `transplanting` puts an answer into a model, `quiz` asks questions.
"""

from gptlib.exercises import quiz
from gptlib.exercises.book import all_exercises, check
from gptlib.exercises.checking import NotSolved, Result
from gptlib.exercises.exercise import TODO
from gptlib.exercises.transplanting import transplant

__all__ = ["TODO", "NotSolved", "Result", "all_exercises", "check", "quiz", "transplant"]
