"""Chapter 6. From one long row of token ids to batches of inputs and targets.

The target of every token is simply the token that follows it, so a window of T inputs needs
T + 1 ids, and one window holds T examples at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from gptlib.checks import ABOVE_0, BELOW_1, listed, number, whole
from gptlib.tokenizer import BPETokenizer

IGNORED = -100  # a target that counts in no loss; torch's cross_entropy has the same convention
IN_FILES = (torch.uint16, torch.uint32)  # the types of ids in a token file
MOST_LISTED = 2**20  # windows whose order is kept as a list, of 8 MB; that of more is computed


def as_ids(ids: Sequence[int] | Tensor) -> Tensor:
    """Token ids as one row of whole numbers, checked.  -> (N) int64

    Those of a token file stay in the file, as they are.
    Raises a TypeError for anything else, such as a text or a batch.
    """
    try:
        row = torch.as_tensor(ids, dtype=None if len(ids) else torch.int64)
        other = row.is_floating_point() or row.is_complex() or row.dtype == torch.bool
        fits = row.dim() == 1 and not other
        got = f"have shape {tuple(row.shape)} and type {row.dtype}"
    except (TypeError, ValueError, RuntimeError, OverflowError):  # torch on a text, unequal rows
        fits, got = False, f"are given as {type(ids).__name__}"
    if not fits:
        raise TypeError(
            f"The token ids {got}, but must be one row of whole numbers: pass "
            "tokenizer.encode(text)."
        )
    return row if row.dtype in IN_FILES else row.to("cpu", torch.int64)


def in_parts(ids: Tensor) -> Iterator[Tensor]:
    """The ids (N) a million at a time, so that a file of any size can be gone through.  -> int64"""
    return (part.to(torch.int64) for part in ids.split(2**20))


def digest_of_ids(ids: Tensor) -> str:
    """SHA-256 of the ids, wherever they lie."""
    digest = hashlib.sha256()
    for part in in_parts(ids):
        digest.update(part.contiguous().numpy())
    return digest.hexdigest()


def windows(ids: Sequence[int] | Tensor, context_length: int) -> tuple[Tensor, Tensor]:
    """Cut a text into windows, one after the other; the targets are the inputs moved on by one.

    ids (N) -> inputs (W, T), targets (W, T), where T = context_length.
    Raises a ValueError where the text is shorter than one window.
    """
    ids = as_ids(ids)
    context_length = whole("context_length", context_length, "64, for example.", least=1)
    if len(ids) < context_length + 1:
        raise ValueError(
            f"A window of {context_length} inputs and their targets needs {context_length + 1} "
            f"tokens, but the text has {len(ids)}: take a longer text or a shorter context."
        )
    pieces = ids.unfold(0, context_length + 1, context_length)           # (W, T + 1)
    return pieces[:, :-1], pieces[:, 1:]


def join_documents(texts: Iterable[str], tokenizer: BPETokenizer) -> list[int]:
    """The ids of all texts in one row, each text closed by the tokenizer's end-of-text token.

    Raises a TypeError for a single string, and a ValueError for a tokenizer without that token.
    """
    texts = listed("texts", texts, "write [text] for a single one.")
    end_token = tokenizer.end_token
    return [token for text in texts for token in [*tokenizer.encode(text), end_token]]


def document_windows(
    ids: Sequence[int] | Tensor, context_length: int, end_token: int
) -> tuple[Tensor, Tensor]:
    """Windows that hold whole documents only, each document with all that came before it.

    ids (N) is a row of documents, each closed by `end_token`. -> inputs (W, T), targets (W, T).
    A window begins with the end token, as if a document had just ended, and takes in as many
    documents as fit; what is left of it has the target IGNORED, which no loss counts.
    Raises a ValueError for a document that is longer than a window, or where none is closed.
    """
    ids = as_ids(ids)
    context_length = whole("context_length", context_length, "64, for example.", least=1)
    end_token = whole("end_token", end_token, "pass tokenizer.end_token.")
    ends = (ids == end_token).nonzero()[:, 0].tolist()
    if not ends:
        raise ValueError(
            f"The text holds no end token (id {end_token}), so no document in it is whole: close "
            "each of them with that token, or take windows of any place."
        )
    rows, start = [[end_token]], 0
    for end in ends:
        document, start = ids[start : end + 1].tolist(), end + 1
        if len(document) > context_length:
            raise ValueError(
                f"A document has {len(document)} tokens, but a window holds {context_length}: "
                "choose a longer context, or leave the document out."
            )
        if len(rows[-1]) + len(document) > context_length + 1:
            rows.append([end_token])
        rows[-1] += document
    inputs = torch.full((len(rows), context_length), end_token)
    targets = torch.full((len(rows), context_length), IGNORED)
    for x, y, row in zip(inputs, targets, rows, strict=True):
        x[: len(row) - 1], y[: len(row) - 1] = torch.tensor(row[:-1]), torch.tensor(row[1:])
    return inputs, targets


def train_validation_split(
    ids: Sequence[int] | Tensor, validation_share: float = 0.1
) -> tuple[Tensor, Tensor]:
    """The first part of a text for training, the rest for validation: the model never sees it.

    ids (N) -> (N - n), (n). Nothing is shuffled, so no validation text leaks into training.
    """
    share = number(
        "validation_share", validation_share, "lie between 0 and 1",
        "0.1 keeps a tenth of the text for validation.", ABOVE_0, BELOW_1,
    )
    ids = as_ids(ids)
    cut = round(len(ids) * (1 - share))
    return ids[:cut], ids[cut:]


class Batches:
    """All windows in shuffled order, without replacement, epoch after epoch.

    Batch number `step` depends on the seed and on nothing else: whoever knows the step knows the
    place in the data, and a run that is resumed repeats no batch and leaves none out.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, batch_size: int, seed: int = 0):
        """inputs (W, T) and targets (W, T) as `windows` or `document_windows` give them."""
        hint = "windows(ids, context_length) makes them of a text."
        if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor)):
            kinds = f"{type(inputs).__name__} and {type(targets).__name__}"
            raise TypeError(f"inputs and targets are {kinds}, but both must be tensors: {hint}")
        if inputs.dim() != 2 or inputs.shape != targets.shape or not len(inputs):
            raise ValueError(
                f"inputs has shape {tuple(inputs.shape)} and targets {tuple(targets.shape)}, but "
                f"both must be (windows, tokens) with at least one window: {hint}"
            )
        self.inputs, self.targets = inputs, targets
        n_windows, T = inputs.shape
        hint = f"this text has {n_windows} windows of {T} tokens; take fewer, or a longer text."
        self.batch_size = whole("batch_size", batch_size, hint, least=1, most=n_windows)
        self.seed = whole("seed", seed, "the usual seed is 0.")
        self._epoch, self._order = -1, None

    @property
    def per_epoch(self) -> int:
        """Whole batches in one pass over the text; the few windows left over wait."""
        return len(self.inputs) // self.batch_size

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Batch number `step`, counted from 0.  -> inputs (B, T), targets (B, T)

        Columns in which no target counts are left out, so T may be less than a whole window.
        """
        step = whole("step", step, "the first batch is number 0.")
        epoch, place = divmod(step, self.per_epoch)
        chosen = self._in_order(epoch, place * self.batch_size)                      # (B)
        inputs, targets = (x[chosen].to(torch.int64) for x in (self.inputs, self.targets))
        T = int((targets != IGNORED).any(dim=0).sum())
        return inputs[:, :T], targets[:, :T]

    def _in_order(self, epoch: int, place: int) -> Tensor:
        """The numbers of the batch of windows that is due at this place of an epoch.  -> (B)"""
        n, seed = len(self.inputs), seed_for(self.seed, epoch)
        if n > MOST_LISTED:
            return scattered(torch.arange(place, place + self.batch_size), n, seed)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(seed)
            self._epoch, self._order = epoch, torch.randperm(n, generator=generator)
        return self._order[place : place + self.batch_size]


def scattered(places: Tensor, n: int, seed: int) -> Tensor:
    """What stands at these places of a random order of 0 to n - 1, of which no list is made.

    A Feistel network: a place's bits are cut in two halves, and in each round one half is changed
    by a random function of the other. As each round could be undone, no two places get the same
    number. The halves can hold up to 4n numbers: what comes out as n or more goes through again.
    Black and Rogaway (2002), "Ciphers with Arbitrary Finite Domains".  places (B) -> (B) int64
    """
    bits = max(1, ((n - 1).bit_length() + 1) // 2)                                   # of a half
    first, second, *keys = np.random.SeedSequence(seed).generate_state(8, np.uint64)
    numbers = places.numpy().astype(np.uint64)
    beyond = numbers < n                                                             # all of them
    while beyond.any():
        left, right = numbers[beyond] >> bits, numbers[beyond] & (2**bits - 1)
        for key in keys:
            mixed = (right ^ key) * (first | 1)                                      # modulo 2^64
            mixed = (mixed ^ (mixed >> 32)) * (second | 1)
            left, right = right, left ^ (mixed >> (64 - bits))
        numbers[beyond] = (left << bits) | right
        beyond = numbers >= n
    return torch.from_numpy(numbers.astype(np.int64))


def seed_for(*numbers: int) -> int:
    """One seed made of several numbers, so that each epoch and each step draws its own chances."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
