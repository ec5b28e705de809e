"""Inputs cannot break it: whatever comes in, out comes a result or a sentence that helps.

`make trust` tries fifty times as many.
"""

import pytest
from answers import is_sentence, lost
from targets import TARGETS
from trying import share_of, try_inputs

INPUTS = 2_000


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_input_gets_a_result_or_a_sentence(target):
    tried, found = try_inputs(target, share_of(target, INPUTS))
    assert tried
    assert not found, "\n".join(f"{fault}  <-  {content}" for fault, content in found.items())


def raised_within():
    from gptlib.data import windows

    windows([1, 2], 1)
    [].pop()


def told_in_a_sentence():
    from gptlib.data import windows

    windows([1], 1)


def raised_by_torch():
    import torch

    torch.zeros(2) @ torch.zeros(3)


def endless():
    while True:
        pass


def greedy():
    return bytearray(2**31)


@pytest.mark.parametrize(("call", "fault"), [
    (raised_within, "IndexError"), (raised_by_torch, "RuntimeError"), (greedy, "MemoryError"),
    (endless, "no answer within 0.3 s"), (lambda: int("x"), "not raised by gptlib: ValueError"),
])
def test_what_is_no_answer_is_counted_as_lost(call, fault):
    assert lost(call, seconds=0.3).startswith(fault)


def test_a_result_and_a_sentence_are_answers():
    assert lost(told_in_a_sentence) is None
    assert lost(lambda: 5) is None


@pytest.mark.parametrize(("message", "helps"), [
    ("n is 0, but must be a whole number of at least 1: say how many stories you want.", True),
    ("list index out of range", False), ("'config'", False), ("", False),
    ("expected str, bytes or os.PathLike object, not list", False),
])
def test_a_sentence_says_what_is_wrong_and_what_to_do(message, helps):
    assert is_sentence(message) is helps
