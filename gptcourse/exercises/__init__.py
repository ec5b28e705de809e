"""Exercises: holes in gpt.py to fill, each with a check, hints and a solution.

>>> from gptcourse.exercises import TODO, check, mine
>>> def causal_mask(n_tokens):
...     return TODO
>>> check.causal_mask(causal_mask)
⬜ causal_mask: not done yet. ...
>>> mask = mine.causal_mask(5)       # the course's, until yours is right and kept in my_gpt.py

The exercises of a chapter stand in a module of its name (`attention`, ...), their parts in
`exercise`, their sources in `page`; `book` lists them all and makes `check`. `checking` judges an
answer: `trial` calls it without harm, `answers` compares, `properties` tests facts; `classes` is
for those that build a layer, `loops` for those that hand out one thing after the other. Where it is
wrong, `resemblance` looks at the numbers, `experiments` calls it in other ways, `listening` hears
what its parts read, and `errors` explains exceptions. `progress` remembers, `keeping` writes the
learner's file.

To add one: an `Exercise` in its chapter's module, with inputs of several sizes, three hints, and
mistakes as edits of gpt.py's lines, and answers of learners in tests/exercises/variants.
"""

from gptcourse.exercises.book import all_exercises, check
from gptcourse.exercises.checking import NotSolved
from gptcourse.exercises.exercise import TODO
from gptcourse.exercises.keeping import mine
from gptcourse.exercises.result import Result

__all__ = ["TODO", "NotSolved", "Result", "all_exercises", "check", "mine"]
