import json
import subprocess
import sys

import pytest
import torch
from helpers import TINY, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib import data, prepare
from gptlib.checkpoint import load_run, save_run
from gptlib.data import Batches, digest_of_ids, scattered, windows
from gptlib.token_files import TokenFacts, open_tokens
from gptlib.tokenizer import END_OF_TEXT, BPETokenizer, pre_split
from gptlib.training import TrainConfig, TrainingRun, evaluate

TEXT = ("Anna's cat, a tame one, sat on\tthe mat.\r\n\r\n  Then it\u00a0left!  \n\n\n" * 9
        + f"12 mice   came.{END_OF_TEXT}\nñandú 漢字。\u3000漢字\n" * 9)


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.train(TEXT, 290)


@pytest.fixture
def texts(tmp_path, tokenizer):
    """A folder of texts, and the path of a tokenizer."""
    folder = tmp_path / "texts" / "more"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    (folder.parent / "b.txt").write_bytes(TEXT[::-1].encode())
    (folder.parent / "empty.txt").write_bytes(b"")
    tokenizer.save(tmp_path / "tokenizer.json")
    return folder.parent, str(tmp_path / "tokenizer.json")


def expected(tokenizer, *texts):
    ids = []
    for text in texts:
        text = text.replace("\r\n", "\n")
        ids += [*tokenizer.encode(text, allowed_special="all"), tokenizer.end_token]
    return ids


def made(texts, path, **options):
    folder, its_tokenizer = texts
    return list(prepare.prepare([folder], path, its_tokenizer, **options))[-1]


@pytest.mark.parametrize("size", [16, 300, 2**21])
def test_the_tokens_are_those_of_the_whole_texts_however_small_the_pieces(
    texts, tokenizer, tmp_path, monkeypatch, size
):
    monkeypatch.setattr(prepare, "PIECE", size)
    facts = made(texts, tmp_path / "all.bin")
    ids, same_tokenizer = open_tokens(tmp_path / "all.bin")
    assert ids.tolist() == expected(tokenizer, TEXT[::-1], TEXT)
    assert len(ids) == facts.tokens and ids.dtype == torch.uint16
    assert same_tokenizer.digest == tokenizer.digest == facts.tokenizer


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="a'sé1.<>| \n\r\t\u00a0\u3000漢", min_size=1, max_size=60),
       st.integers(1, 9))
def test_no_cut_changes_a_word(tmp_path_factory, text, size):
    path = tmp_path_factory.mktemp("cut") / "text.txt"
    path.write_bytes(text.encode())
    length = len(text.encode())
    starts = range(0, length, size)
    pieces = [prepare.Piece(path, start, min(start + size, length)) for start in starts]
    words = [word for piece in pieces for word in pre_split(prepare.read(piece))]
    assert words == pre_split(text.replace("\r\n", "\n"))


def test_two_processes_write_what_one_writes(texts, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prepare, "PIECE", 300)
    facts = made(texts, tmp_path / "one.bin")
    assert facts.pieces > 5
    folder, its_tokenizer = texts
    out = str(tmp_path / "two.bin")
    arguments = [str(folder), "--out", out, "--tokenizer", its_tokenizer, "--workers", "2"]
    assert prepare.main(arguments) == 0
    assert capsys.readouterr().out == f"{out} holds {facts.tokens:,} tokens.\n"
    assert (tmp_path / "two.bin").read_bytes() == (tmp_path / "one.bin").read_bytes()


@pytest.mark.parametrize("stop", [0, 1, 5])
def test_an_interrupted_preparation_goes_on_where_it_stopped(
    texts, tmp_path, monkeypatch, stop
):
    monkeypatch.setattr(prepare, "PIECE", 100)
    made(texts, tmp_path / "whole.bin")
    folder, its_tokenizer = texts
    path = tmp_path / "stopped.bin"
    for facts in prepare.prepare([folder], path, its_tokenizer):
        if facts.pieces_done == stop:
            break
    with path.open("ab") as file:
        file.write(bytes(10_000))      # written, but not yet noted down when the process was killed
    with pytest.raises(ValueError, match=f"{stop} of {facts.pieces} pieces.*goes on from there"):
        open_tokens(path)
    encoded = []
    honest = prepare.encode
    monkeypatch.setattr(
        prepare, "encode", lambda piece, **rest: encoded.append(piece) or honest(piece, **rest))
    made(texts, path)
    assert len(encoded) == facts.pieces - stop
    assert path.read_bytes() == (tmp_path / "whole.bin").read_bytes()
    assert made(texts, path).complete and len(encoded) == facts.pieces - stop


def test_a_large_vocabulary_takes_four_bytes():
    kinds = [TokenFacts("", size, [], 1).dtype.name for size in (2**16, 2**16 + 1)]
    assert kinds == ["uint16", "uint32"]


def test_a_run_on_a_token_file_is_the_run_on_its_ids(texts, tmp_path):
    made(texts, tmp_path / "all.bin")
    ids, tokenizer = open_tokens(tmp_path / "all.bin")
    config = TrainConfig(4, batch_size=4, evaluate_every=2)
    shape = {**TINY.to_dict(), "vocab_size": tokenizer.vocab_size}
    losses = {}
    for kind, row in {"file": ids, "list": ids.tolist()}.items():
        model = tiny_model(config=TINY.of(shape))
        run = TrainingRun(model, row, row[-200:], config, device="cpu")
        losses[kind] = [(step.loss, step.validation_loss) for step in run]
        save_run(run, tmp_path / f"{kind}.safetensors")
    assert losses["file"] == losses["list"]
    assert evaluate(model, ids) == evaluate(model, ids.tolist())
    assert load_run(tmp_path / "list.safetensors", ids, None).step == 4
    assert digest_of_ids(ids) == run.text_digest


def test_a_run_leaves_the_ids_in_the_file(texts, tmp_path):
    """As the file changes under it, the windows do, too."""
    made(texts, tmp_path / "all.bin")
    ids, tokenizer = open_tokens(tmp_path / "all.bin")
    model = tiny_model(config=TINY.of({**TINY.to_dict(), "vocab_size": tokenizer.vocab_size}))
    run = TrainingRun(model, ids, None, TrainConfig(4, batch_size=4), device="cpu")
    with (tmp_path / "all.bin").open("r+b") as file:
        file.write(bytes(2 * len(ids)))
    assert not run.batches.at(0)[0].any()


# -- the order of windows ----------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4097])
def test_a_scattered_order_has_every_number_once(n):
    order = scattered(torch.arange(n), n, seed=3)
    assert sorted(order.tolist()) == list(range(n))


def test_a_scattered_order_looks_random():
    """No step from a number to the next is usual, and neighbors are no nearer than others."""
    n = 100_000
    for seed in range(3):
        order = scattered(torch.arange(n), n, seed).double()
        pairs = torch.stack([order[:-1], order[1:]])
        assert abs(torch.corrcoef(pairs)[0, 1]) < 4 / n**0.5
        with_place = torch.corrcoef(torch.stack([order, torch.arange(n).double()]))[0, 1]
        assert abs(with_place) < 4 / n**0.5
        distances = (pairs[0] - pairs[1]).abs()
        assert distances.mean().item() == pytest.approx(n / 3, rel=0.02)
    others = scattered(torch.arange(n), n, 9).double()
    assert (order == others).sum() < 10


def test_the_order_of_very_many_windows_depends_on_seed_and_step_only(monkeypatch):
    monkeypatch.setattr(data, "MOST_LISTED", 10)
    text = windows(range(41 * 5 + 1), 5)
    batches, again = Batches(*text, 4, seed=3), Batches(*text, 4, seed=3)
    epoch = [batches.at(step)[0] for step in range(10)]
    starts = torch.cat(epoch)[:, 0].tolist()
    assert len(set(starts)) == 40 and starts != sorted(starts)
    assert torch.equal(again.at(7)[0], epoch[7])
    assert not torch.equal(batches.at(17)[0], epoch[7])
    assert batches._order is None


# -- what cannot be ------------------------------------------------------------------------------


def shorten(folder):
    path = folder / "all.bin"
    path.write_bytes(path.read_bytes()[:-3])


def describe(folder, **changes):
    path = folder / "all.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(("damage", "words"), [
    (shorten, r"all\.bin has .* bytes, but its .* tokens take .*, so it was cut short"),
    (lambda folder: BPETokenizer([]).save(folder / "all.tokenizer.json"),
     r"all\.bin was made with another tokenizer than .*all\.tokenizer\.json: bring back"),
    (lambda folder: (folder / "all.json").write_text("{"), "does not describe a token file"),
    (lambda folder: describe(folder, format="mine"), "does not describe a token file"),
    (lambda folder: describe(folder, color="red"), "does not describe a token file"),
    (lambda folder: (folder / "all.json").unlink(), r"There is no file .*all\.json"),
    (lambda folder: (folder / "all.bin").unlink(), r"There is no file .*all\.bin"),
], ids=lambda value: "" if callable(value) else value[:20])
def test_a_token_file_that_cannot_be_read_is_explained(texts, tmp_path, damage, words):
    made(texts, tmp_path / "all.bin")
    damage(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        open_tokens(tmp_path / "all.bin")


def test_a_token_file_of_something_else_is_not_written_over(texts, tmp_path):
    made(texts, tmp_path / "all.bin")
    folder, its_tokenizer = texts
    with pytest.raises(ValueError, match="holds the tokens of another tokenizer: choose another"):
        list(prepare.prepare([folder], tmp_path / "all.bin", "gpt2"))
    (folder / "b.txt").write_text("something new")
    with pytest.raises(ValueError, match="holds the tokens of other texts: choose another name"):
        list(prepare.prepare([folder], tmp_path / "all.bin", its_tokenizer))


@pytest.mark.parametrize(("content", "name", "words"), [
    (b"good \xff bad", "all.bin", r"text\.txt is not UTF-8, as byte 5 \(0xff\) shows"),
    (b"", "all.bin", r"text\.txt is empty, but must hold some text"),
    (b"a text", "all.tokens", r"'all\.tokens', but its name must end in \.bin: call it 'all\.bin'"),
    (None, "all.bin", r"text\.txt' does not exist: name a text file, or a folder"),
])
def test_texts_that_cannot_be_prepared_are_told_in_one_sentence(tmp_path, content, name, words):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        list(prepare.prepare([path], tmp_path / name))


def test_the_command_tells_an_error_without_a_traceback(tmp_path):
    finished = subprocess.run(
        [sys.executable, "-m", "gptlib.prepare", "nowhere", "--out", tmp_path / "x.bin"],
        capture_output=True, text=True,
    )
    assert finished.returncode == 1
    assert finished.stderr.strip() == (
        "'nowhere' does not exist: name a text file, or a folder of them."
    )
