"""Answers that learners might give: the files in `variants/` collect them with these marks."""

RIGHT: dict[str, list] = {}
WRONG: dict[str, list[tuple[str, str, str]]] = {}
ENDLESS = "a loop that never ends"            # told of an answer that has to be stopped


def right(name):
    """Another correct way to write the exercise `name`."""
    def keep(definition):
        RIGHT.setdefault(name, []).append(definition)
        return definition
    return keep


def wrong_edits(name, *edits):
    """Wrong ways as (old, new, told): the solution with `old` replaced by `new`, and a part of what
    the learner must read; without `old`, `new` is the whole body."""
    WRONG.setdefault(name, []).extend(edits)
