"""Exercises: functions to write, each with a check, hints and a solution.

>>> from gptcourse.exercises import TODO, check
>>> def causal_mask(n_tokens):
...     return TODO
>>> result = check.causal_mask(causal_mask); result
⬜ causal_mask: not done yet. ...
>>> mask = result.use(5)             # the library's, until yours is right

The exercises of a chapter stand in a module of its name (`attention`, ...), their parts in
`exercise`; `book` lists them all and makes `check`. `checking` judges an answer: `trial` calls it
without harm, `answers` compares, and where it is wrong, `resemblance` looks at the numbers,
`experiments` calls it in other ways, `properties` tests facts, and `errors` explains exceptions.
`progress` remembers, `transplanting` puts an answer into a model.
"""

from gptcourse.exercises.book import all_exercises, check
from gptcourse.exercises.checking import NotSolved, Result
from gptcourse.exercises.exercise import TODO
from gptcourse.exercises.transplanting import transplant

__all__ = ["TODO", "NotSolved", "Result", "all_exercises", "check", "transplant"]
