import pytest
import torch

from gptlib.data import (
    IGNORED,
    Batches,
    as_ids,
    document_windows,
    join_documents,
    seed_for,
    train_validation_split,
    windows,
)
from gptlib.tokenizer import END_OF_TEXT, BPETokenizer


def test_targets_are_the_inputs_moved_on_by_one():
    inputs, targets = windows(range(10), context_length=3)
    assert inputs.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert targets.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_a_text_of_exactly_one_window_is_enough():
    inputs, targets = windows(range(5), context_length=4)
    assert inputs.shape == targets.shape == (1, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((range(4), 4), ValueError, "needs 5 tokens, but the text has 4: take"),
        ((range(9), 0), ValueError, "context_length is 0, but must be a whole number of"),
        ((range(9), 1.5), ValueError, "context_length is 1.5, but must be a whole number"),
        (([0.5, 1.5], 1), TypeError, "one row of whole numbers"),
        (([[1, 2], [3, 4]], 1), TypeError, r"shape \(2, 2\)"),
        (("a text", 1), TypeError, "are given as str, but must be one row of whole numbers"),
        (([[1, 2], [3]], 1), TypeError, "are given as list, but must be one row"),
        (([1, None], 1), TypeError, "are given as list, but must be one row"),
        ((5, 1), TypeError, "are given as int, but must be one row"),
    ],
)
def test_windows_that_cannot_be_are_explained(arguments, error, words):
    with pytest.raises(error, match=words):
        windows(*arguments)


def test_the_last_part_of_the_text_is_kept_for_validation():
    train, validation = train_validation_split(range(100), 0.2)
    assert train.tolist() == list(range(80))
    assert validation.tolist() == list(range(80, 100))
    assert [len(part) for part in train_validation_split(range(10), 0.9)] == [1, 9]
    for share in (1.5, None):
        with pytest.raises(ValueError, match=f"validation_share is {share}, but must lie between"):
            train_validation_split(range(9), share)


def test_a_window_of_documents_holds_whole_ones_only():
    """Documents 1 2, 3, 4 5 6 and 7, each closed by 0, in windows of six."""
    inputs, targets = document_windows([1, 2, 0, 3, 0, 4, 5, 6, 0, 7, 0, 8, 8], 6, end_token=0)
    assert inputs.tolist() == [[0, 1, 2, 0, 3, 0], [0, 4, 5, 6, 0, 7]]
    assert targets.tolist() == [[1, 2, 0, 3, 0, IGNORED], [4, 5, 6, 0, 7, 0]]


def test_every_closed_document_is_predicted_once():
    documents = [[n % 7 + 1] * (n % 5 + 1) for n in range(40)]
    ids = [token for document in documents for token in [*document, 0]]
    _, targets = document_windows(ids, 9, end_token=0)
    assert targets[targets != IGNORED].tolist() == ids


def test_a_batch_is_as_wide_as_its_longest_row():
    batches = Batches(*document_windows([1, 0, 2, 3, 0, 4, 5, 6, 0] * 2, 8, end_token=0), 1)
    shapes = sorted(batches.at(step)[0].shape[1] for step in range(batches.per_epoch))
    assert shapes == [5, 6, 7]
    for step in range(3):
        inputs, targets = batches.at(step)
        assert inputs.shape == targets.shape
        assert (targets != IGNORED).all()


def test_documents_that_cannot_be_are_explained():
    with pytest.raises(ValueError, match="holds no end token"):
        document_windows([1, 2, 3], 6, end_token=0)
    with pytest.raises(ValueError, match="A document has 7 tokens, but a window holds 6"):
        document_windows([1] * 6 + [0], 6, end_token=0)


def test_texts_that_cannot_be_joined_are_explained():
    with pytest.raises(TypeError, match=r"texts is one string, .* write \[text\]"):
        join_documents("a text", BPETokenizer([], [END_OF_TEXT]))
    with pytest.raises(ValueError, match=r"has no token '<\|endoftext\|>', but each text"):
        join_documents(["a text"], BPETokenizer([]))


def batches_of(n_tokens: int, context_length: int, batch_size: int, seed: int = 0) -> Batches:
    return Batches(*windows(range(n_tokens), context_length), batch_size, seed)


def test_an_epoch_shows_every_window_once_and_the_next_in_another_order():
    batches = batches_of(8 * 5 + 1, context_length=5, batch_size=2, seed=3)
    assert batches.per_epoch == 4
    epochs = []
    for epoch in range(2):
        inputs = [batches.at(4 * epoch + step)[0] for step in range(4)]
        starts = torch.cat(inputs)[:, 0].tolist()
        assert sorted(starts) == list(range(0, 40, 5))
        epochs.append(starts)
    assert epochs[0] != epochs[1]


def test_a_batch_depends_on_seed_and_step_only():
    one, other = (batches_of(500, 8, 4, seed=1) for _ in range(2))
    later = one.at(40)
    for step in (3, 40, 17, 40):
        assert torch.equal(one.at(step)[0], other.at(step)[0])
    assert torch.equal(one.at(40)[1], later[1])
    assert torch.equal(later[0] + 1, later[1])
    assert not torch.equal(batches_of(500, 8, 4, seed=2).at(3)[0], one.at(3)[0])


@pytest.mark.parametrize("batch_size", [0, 9, 2.0])
def test_a_batch_size_that_cannot_be_is_explained(batch_size):
    with pytest.raises(ValueError, match=f"batch_size is {batch_size}.*from 1 to 8"):
        batches_of(41, 5, batch_size)


def test_ids_of_any_whole_type_become_one_row():
    assert as_ids(torch.tensor([1, 2], dtype=torch.int16)).dtype == torch.int64
    assert as_ids([3, 4]).tolist() == [3, 4]


def test_each_place_has_a_seed_of_its_own():
    assert len({seed_for(a, b) for a in range(20) for b in range(20)}) == 400


def test_batches_of_something_else_than_windows_are_refused():
    with pytest.raises(TypeError, match=r"both must be tensors: windows\(ids"):
        Batches([1, 2, 3], 2, batch_size=1)
