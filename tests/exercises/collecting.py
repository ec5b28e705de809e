"""Answers that learners might give: the files in `variants/` collect them with these marks."""

RIGHT: dict[str, list] = {}
WRONG: dict[str, list] = {}          # by exercise: edits of the solution, and what must be told
OTHER: dict[str, list] = {}          # by exercise: whole definitions that are wrong, likewise


def right(name):
    """Another correct way to write the exercise `name`."""
    def keep(definition):
        RIGHT.setdefault(name, []).append(definition)
        return definition
    return keep


def wrong(name, told=""):
    """A wrong way that is no edit; `told` is part of what the learner must read about it."""
    def keep(definition):
        OTHER.setdefault(name, []).append((definition, told))
        return definition
    return keep


def wrong_edits(name, *edits):
    """Wrong ways as (old, new, told): the solution's text with `old` replaced by `new`."""
    WRONG.setdefault(name, []).extend(edits)
