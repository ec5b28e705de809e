"""Answers that learners might give: the files in `variants/` collect them with these marks."""

RIGHT: dict[str, list] = {}
WRONG: dict[str, list] = {}


def right(name):
    """Another correct way to write the exercise `name`."""
    def keep(function):
        RIGHT.setdefault(name, []).append(function)
        return function
    return keep


def wrong(name, told=""):
    """A wrong way; `told` is part of what the learner must read about it."""
    def keep(function):
        WRONG.setdefault(name, []).append((function, told))
        return function
    return keep
