"""gptcourse/gpt.py as one whole: it runs alone, and it is the GPT of the library and of OpenAI.

With GPT_FILE in the environment, all of it is asked of that file: of a learner's my_gpt.py, say.
"""

import copy
import dataclasses
import importlib.util
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import TINY, lively_model, random_ids
from parity.gpt2_peer import CONFIG, mapped, peer
from torch import nn

import gptcourse.gpt
from gptlib import (
    GPT_CONFIG_124M,
    BPETokenizer,
    GPTModel,
    attention,
    blocks,
    count_parameters,
    evaluate,
    generate,
    generation,
    gpt2_tokenizer,
)
from gptlib import tokenizer as library_tokenizer
from gptlib.corpus import storybook
from gptlib.optimizer import share_of_peak
from gptlib.pretrained.gpt2 import gpt2_tensors
from gptlib.storyteller import storyteller

FILE = Path(os.environ.get("GPT_FILE", gptcourse.gpt.__file__))
specification = importlib.util.spec_from_file_location("gpt", FILE)
gpt = importlib.util.module_from_spec(specification)
specification.loader.exec_module(gpt)
T = TINY.context_length
KINDS = [{}, {"qkv_bias": False}, {"tie_weights": True}]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


def pair(kind: dict | None = None) -> tuple[gpt.GPTModel, GPTModel]:
    """A model of the file and one of the library, with the same lively weights."""
    config = {**TINY.to_dict(), **(kind or {})}
    library = lively_model(config=type(TINY)(**config))
    mine = gpt.GPTModel(config).eval()
    mine.load_state_dict(library.state_dict())
    return mine, library


def loss_of(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    return gpt.next_token_loss(model(ids[:, :-1]), ids[:, 1:])


# -- alone ------------------------------------------------------------------------------------

ALONE = """
import sys
sys.modules["gptlib"] = sys.modules["gptcourse"] = None         # whoever imports them fails
sys.path.insert(0, "")
import gpt
model, train = gpt.GPTModel, gpt.train                          # a quarter of an hour in seconds
gpt.GPTModel = lambda config: model({**config, "emb_dim": 32, "n_layers": 1})
gpt.train = lambda model, ids, steps, **given: train(model, ids, steps // 9, **given)
gpt.main()
"""


def run_alone(folder, *line, code=ALONE):
    """What the file says to a command line, in a folder in which nothing else lies."""
    shutil.copy(FILE, folder / "gpt.py")
    return subprocess.run(
        [sys.executable, "-I", "-X", "utf8", "-c", code, *line],
        cwd=folder, capture_output=True, encoding="utf-8",
    )


def told_by(folder):
    """What it says while it learns from some tales in this folder, in which nothing else lies."""
    tales = "<|endoftext|>".join(story.text for story in storybook.stories(30, seed=5))
    (folder / "tales.txt").write_text(tales, encoding="utf-8")
    finished = run_alone(folder, "tales.txt")
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    return folder, told_by(folder)


def test_alone_in_an_empty_folder_it_learns_from_a_text_and_goes_on_writing(learned):
    folder, said = learned
    head, _, told = said.partition("\n\n")
    first, *_, last = (float(loss) for loss in re.findall(r"loss (\d\.\d+)", head))
    unseen = float(re.search(r"never seen: (\d\.\d+) nats per token$", head)[1])
    assert last < first < math.log(1024)
    assert last < unseen           # of 30 tales, much is learned by heart
    assert len(told.split()) > 5
    names = {path.name for path in folder.iterdir()}
    assert names - {"__pycache__"} == {"gpt.py", "tales.txt", "tales.pt"}

    again = run_alone(folder, "tales.pt", "Do you", "know")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("Do you know") and len(again.stdout) > 20


def test_two_runs_say_the_same(learned, tmp_path):
    assert told_by(tmp_path) == learned[1]


@pytest.mark.parametrize(("n_tales", "draws"), [(14, gpt.batch), (30, gpt.story_batch)])
def test_windows_begin_at_stories_only_where_one_is_held_back(
        tmp_path, monkeypatch, n_tales, draws):
    tales = "<|endoftext|>".join(story.text for story in storybook.stories(n_tales, seed=5))
    (tmp_path / "tales.txt").write_text(tales, encoding="utf-8")
    asked = []
    monkeypatch.setattr(gpt, "train", lambda *given, draw, **named: asked.append(draw) or [])
    monkeypatch.setattr(sys, "argv", ["gpt.py", str(tmp_path / "tales.txt")])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpt.main()
    assert asked == [draws]


@pytest.mark.parametrize(("line", "told"), [
    ([], "Name a text to learn from"), (["nowhere.txt"], "Name a text to learn from"),
    (["."], "Name a text to learn from"), (["tiny.txt"], "tiny.txt is too short"),
])
def test_a_bad_command_line_is_answered_in_a_sentence(tmp_path, monkeypatch, capsys, line, told):
    (tmp_path / "tiny.txt").write_text("Poppy was a bear. " * 9, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpt.py", *line])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)    # or else main switches to it
    with pytest.raises(SystemExit) as end:
        gpt.main()
    sentence = end.value.code                   # a text, so Python prints it, and the status is 1
    assert told in sentence and "\n" not in sentence
    assert capsys.readouterr() == ("", "")


def test_what_is_saved_is_taken_up_again(tmp_path):
    mine, _ = pair()
    tokenizer = gpt.Tokenizer([(97, 98), (256, 99)])
    gpt.save(tmp_path / "kept.pt", tokenizer, mine)
    other_tokenizer, other = gpt.load(tmp_path / "kept.pt")
    ids = random_ids(1, T)
    assert torch.equal(other.eval()(ids), mine(ids))
    assert other_tokenizer.encode("abcab") == tokenizer.encode("abcab") == [257, 256]


def test_stories_are_drawn_from_where_they_begin():
    ids = torch.tensor([2, 9, 1, 2, 9, 3, 9, 4, 5, 6, 9, 7])         # the end of a first one, too
    inputs, targets = gpt.story_batch(ids, 200, 3, torch.Generator().manual_seed(0))
    assert {tuple(row) for row in inputs.tolist()} == {(9, 1, 2), (9, 3, 9), (9, 4, 5)}
    assert {tuple(row) for row in targets.tolist()} == {(1, 2, 9), (3, 9, 4), (4, 5, 6)}


def test_it_is_short_enough_to_be_printed():
    """A whole GPT on eight pages, chapters 1 to 7; what comes after them on two more."""
    text = FILE.read_text(encoding="utf-8")
    before, _, after = text.partition("# ---- 08 ")
    assert before.count("\n") <= 390
    assert after.count("\n") <= 120
    assert max(map(len, text.splitlines())) <= 100


# -- the tokenizer ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpt2():
    published = BPETokenizer.from_gpt2()
    return gpt.Tokenizer(published.merges, published.byte_order)


@pytest.fixture(scope="module")
def tiktoken():
    return gpt2_tokenizer()


@pytest.mark.parametrize("text", [
    "", " ", "a", "It's what we'll do, don't you? THEY'RE, 'S 's ' s", "x = 1234567 ** 89  # 007",
    "two  spaces, three   spaces \n\n\n and \t tabs\r\n ", "   ", "été, Übergröße, naïve, ŝanĝo",
    "中文字，日本語、한국어", "😀👩‍👩‍👧 🇫🇷👍🏽❤️",
    "\u200d\ufe0f\x00\x85\u00a0\u2003", "٣٤ ½ ²", "<|endoftext|> <|endoftext",
    "the the the" * 20, "!?!?...--==((", FILE.read_text(encoding="utf-8"),
])
def test_with_gpt2s_merges_a_text_gets_the_ids_that_tiktoken_gives_it(gpt2, tiktoken, text):
    ids = gpt2.encode(text)
    assert ids == tiktoken.encode(text)
    assert gpt2.decode(ids) == text


def test_the_end_token_comes_last_and_half_a_character_is_replaced(gpt2, tiktoken):
    assert gpt2.end_token == tiktoken.end_token == 50256
    assert gpt2.decode([gpt2.end_token]) == gpt.END_OF_TEXT == library_tokenizer.END_OF_TEXT
    assert gpt2.decode(gpt2.encode("日")[:1]) == "\ufffd"


@pytest.mark.parametrize("letters", ["ab", "abc", "abcdefgh"])
def test_the_merges_are_those_that_the_library_learns(letters):
    generator = torch.Generator().manual_seed(len(letters))
    draw = lambda most: int(torch.randint(1, most, (), generator=generator))  # noqa: E731
    words = {}
    for _ in range(40):
        word = "".join(letters[draw(len(letters) + 1) - 1] for _ in range(draw(9)))
        words[word.encode()] = draw(4)               # small counts: many pairs are equally frequent
    for n_merges in (0, 1, 20, 10_000):              # the last is more than there are
        learned = gpt.learn_merges(words, n_merges)
        assert learned == library_tokenizer.learn_merges(words, n_merges)
    assert 20 < len(learned) < 10_000


@pytest.mark.parametrize("ids", [[], [1], [1, 2, 1, 2], [1, 1, 1], [1, 1, 1, 1], [2, 1, 1, 2, 1]])
def test_pairs_are_counted_and_merged_as_in_the_library(ids):
    assert gpt.count_pairs(ids) == library_tokenizer.count_pairs(ids)
    for one in [(1, 1), (1, 2), (2, 1), (3, 3)]:
        assert gpt.merge(ids, one, 9) == library_tokenizer.merge(ids, one, 9)


def test_a_tokenizer_of_its_own_merges_encodes_like_the_librarys():
    text = " ".join(story.text for story in storybook.stories(20, seed=2))
    library = BPETokenizer.train(text, 400)
    words = Counter(word.encode() for word in gpt.WORD.findall(text))
    mine = gpt.Tokenizer(gpt.learn_merges(words, 400 - 257))
    assert (len(mine.vocabulary), mine.end_token) == (library.vocab_size, library.end_token)
    assert mine.encode(text) == library.encode(text)


# -- the model --------------------------------------------------------------------------------


def test_gpt2s_sizes_are_those_of_the_library():
    assert gpt.GPT_CONFIG_124M == GPT_CONFIG_124M
    with torch.device("meta"):
        assert count_parameters(gpt.GPTModel(gpt.GPT_CONFIG_124M)) == 163_009_536


@each_kind
def test_weights_load_strictly_both_ways(kind):
    mine, library = pair(kind)
    library.load_state_dict(mine.state_dict(), strict=True)
    mine.load_state_dict(library.state_dict(), strict=True)
    assert list(mine.state_dict()) == list(library.state_dict())
    assert count_parameters(mine) == count_parameters(library)


@each_kind
def test_logits_and_gradients_are_those_of_the_library(kind):
    mine, library = pair(kind)
    ids = random_ids(3, T + 1)
    torch.testing.assert_close(mine(ids[:, 1:]), library(ids[:, 1:]), atol=1e-5, rtol=1e-5)
    for model in (mine, library):
        loss_of(model, ids).backward()
    for (name, parameter), other in zip(
        mine.named_parameters(), library.parameters(), strict=True
    ):
        torch.testing.assert_close(parameter.grad, other.grad, atol=1e-5, rtol=1e-5, msg=name)


def test_logits_and_gradients_are_those_of_transformers_gpt2():
    mine, theirs = gpt.GPTModel(CONFIG.to_dict()).eval(), peer()
    weights = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in mine.named_parameters():
            parameter.copy_(mapped(name, weights))
    ids = random_ids(3, 33, vocab_size=97)
    expected = theirs(ids[:, :-1]).logits
    torch.testing.assert_close(mine(ids[:, :-1]), expected, atol=1e-5, rtol=1e-5)
    loss_of(mine, ids).backward()
    F.cross_entropy(expected.flatten(0, 1), ids[:, 1:].flatten()).backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in mine.named_parameters():
        torch.testing.assert_close(
            parameter.grad, mapped(name, gradients), atol=1e-5, rtol=1e-5, msg=name
        )


@each_kind
def test_a_fresh_model_is_the_librarys_fresh_model_of_the_same_seed(kind):
    config = {**TINY.to_dict(), **kind}
    torch.manual_seed(7)
    mine = gpt.GPTModel(config).state_dict()
    torch.manual_seed(7)
    library = GPTModel(config).state_dict()
    assert all(torch.equal(mine[name], library[name]) for name in library)


def test_no_position_sees_a_later_token():
    mine, _ = pair()
    ids = random_ids(1, T)
    before = mine(ids)
    for place in (1, T // 2, T - 1):
        changed = ids.clone()
        changed[0, place] = (ids[0, place] + 1) % TINY.vocab_size
        after = mine(changed)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.allclose(after[:, place:], before[:, place:])


def test_dropout_works_where_the_librarys_does_and_only_in_training():
    config = {**TINY.to_dict(), "drop_rate": 0.5}
    mine, library = gpt.GPTModel(config), GPTModel(config)
    quiet = gpt.GPTModel(TINY.to_dict()).eval()
    quiet.load_state_dict(mine.state_dict())
    droppers = {name: module for name, module in mine.named_modules()
                if isinstance(module, nn.Dropout)}
    assert list(droppers) == [name for name, module in library.named_modules()
                              if isinstance(module, nn.Dropout)]
    seen = {}
    for name, module in droppers.items():
        module.register_forward_hook(
            lambda _, given, result, name=name: seen.setdefault(name, []).append(
                (tuple(result.shape), torch.equal(given[0], result))))

    ids = random_ids(2, T)
    torch.testing.assert_close(mine.eval()(ids), quiet(ids))
    assert not torch.equal(mine.train()(ids), mine(ids))
    square, vectors = (2, TINY.n_heads, T, T), (2, T, TINY.emb_dim)
    for name, results in seen.items():
        shape = square if name.endswith("attention.dropout") else vectors
        times = 2 if re.fullmatch(r"blocks\.\d\.dropout", name) else 1    # a block drops twice
        expected = [(shape, True)] * times + [(shape, False)] * 2 * times
        assert results == expected, name
    assert set(seen) == set(droppers)


def test_what_has_changed_since_gpt2_is_the_librarys():
    x = 3 * torch.randn(2, 5, 8)
    sizes = {"emb_dim": 8, "hidden_dim": 12}
    config = dataclasses.replace(TINY, emb_dim=8, n_heads=2, hidden_dim=12)
    pairs = [(gpt.RMSNorm(8), blocks.RMSNorm(8)), (gpt.SwiGLU(sizes), blocks.SwiGLU(config))]
    for ours, librarys in pairs:
        with torch.no_grad():
            for parameter in librarys.parameters():
                parameter.normal_()
        ours.load_state_dict(librarys.state_dict())
        torch.testing.assert_close(ours(x), librarys(x))
    heads, positions = torch.randn(2, 3, 5, 8), torch.arange(7, 12)
    torch.testing.assert_close(gpt.rotate(heads, positions, 500.0),
                               attention.rotate(heads, positions, 500.0))
    torch.testing.assert_close(gpt.repeat_kv(heads, 2), attention.repeat_kv(heads, 2))


# -- pretrained weights -----------------------------------------------------------------------


def test_a_file_that_transformers_wrote_gives_its_very_scores(tmp_path):
    theirs, mine = peer(), gpt.GPTModel(CONFIG.to_dict()).eval()
    theirs.save_pretrained(tmp_path)
    tensors = gpt.read_safetensors(tmp_path / "model.safetensors")
    gpt.load_gpt2(mine, tensors)
    ids = random_ids(3, 32, vocab_size=97)
    torch.testing.assert_close(mine(ids), theirs(ids).logits, atol=1e-5, rtol=1e-5)
    assert {name: x for name, x in mine.state_dict().items() if not x.isfinite().all()} == {}


@pytest.mark.parametrize(("change", "told"), [
    (lambda all_: all_.pop("h.0.mlp.c_fc.bias"), "h.0.mlp.c_fc.bias"),
    (lambda all_: all_.update({"h.2.ln_1.bias": torch.zeros(32)}), "no place for .*h.2.ln_1.bias"),
    (lambda all_: all_.update({"wpe.weight": torch.zeros(1, 32)}), "position_embedding.weight"),
])
def test_weights_that_are_missing_left_over_or_of_another_shape_are_refused(change, told):
    mine, library = pair()
    tensors = gpt2_tensors(library)
    change(tensors)
    with pytest.raises((KeyError, ValueError, RuntimeError), match=told):
        gpt.load_gpt2(mine, tensors)


def test_a_head_of_its_own_is_refused_where_the_model_has_none():
    tensors = gpt2_tensors(pair()[1])
    tied = gpt.GPTModel({**TINY.to_dict(), "tie_weights": True, "qkv_bias": True})
    tensors["lm_head.weight"] = tensors["wte.weight"].clone()
    gpt.load_gpt2(tied, tensors)
    tensors["lm_head.weight"][-1, -1] += 1
    with pytest.raises(ValueError, match="head isn't tied: build the model with tie_weights=False"):
        gpt.load_gpt2(tied, tensors)


# -- training ---------------------------------------------------------------------------------


def test_the_loss_is_torchs_cross_entropy():
    logits, targets = 5 * torch.randn(3, T, 61), random_ids(3, T)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(gpt.next_token_loss(logits, targets), expected)
    assert gpt.next_token_loss(torch.tensor([[[0.0, -1e4]]]), torch.tensor([[1]])) == 1e4


def test_a_batch_comes_from_every_place_of_the_text_and_its_targets_are_one_token_further():
    ids = torch.arange(100, 110)
    inputs, targets = gpt.batch(ids, 400, 6, torch.Generator().manual_seed(0))
    assert inputs.shape == targets.shape == (400, 6)
    assert torch.equal(targets, inputs + 1)                     # in this text, one token further
    assert set(inputs[:, 0].tolist()) == {100, 101, 102, 103}   # the last target is the last id
    again, _ = gpt.batch(ids, 400, 6, torch.Generator().manual_seed(0))
    assert torch.equal(inputs, again)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (2, 1), (50, 20), (21, 20), (300, 0)])
def test_the_learning_rate_is_the_librarys(steps, warmup):
    for step in range(steps):
        rate = gpt.learning_rate(step, steps, warmup, 3e-3)
        assert math.isclose(rate, 3e-3 * share_of_peak(step, steps, warmup))


def test_each_step_follows_the_clipped_gradient_of_its_own_batch():
    mine = gpt.GPTModel({**TINY.to_dict(), "drop_rate": 0.5})
    ids = random_ids(400)
    run = gpt.train(mine, ids, 3, batch_size=4, generator=torch.Generator().manual_seed(3))
    draws = torch.Generator().manual_seed(3)
    for step in range(3):
        twin = copy.deepcopy(mine).train()
        inputs, targets = gpt.batch(ids, 4, T, draws)
        torch.manual_seed(step)                                 # for dropout
        loss = gpt.next_token_loss(twin(inputs), targets)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        torch.manual_seed(step)
        assert next(run) == pytest.approx(loss.item(), rel=1e-6)
        assert not mine.training
        for parameter, other in zip(mine.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, other.grad)
        if step == 0:    # AdamW's first: by the rate, and for a weight of 1, by a tenth of it more
            moved = max((a - b).abs().max().item() for a, b in
                        zip(mine.parameters(), twin.parameters(), strict=True))
            assert moved == pytest.approx(1.1 * gpt.learning_rate(0, 3, 20, 3e-3), rel=0.01)
    assert norm > 1, "nothing was clipped"
    assert list(run) == []


def test_training_takes_the_batches_that_it_is_given():
    torch.manual_seed(0)
    mine, ids, asked = gpt.GPTModel(TINY.to_dict()), random_ids(100), []

    def draw(*given):
        asked.append(given)
        return gpt.batch(*given)

    dice = torch.Generator().manual_seed(0)
    losses = list(gpt.train(mine, ids, 3, batch_size=2, generator=dice, draw=draw))
    assert len(losses) == len(asked) == 3
    assert all(one[0] is ids and one[1:] == (2, T, dice) for one in asked)


def test_training_learns_a_text_by_heart():
    torch.manual_seed(0)
    mine = gpt.GPTModel(TINY.to_dict())
    text = random_ids(20).repeat(20)
    losses = list(gpt.train(mine, text, 100, generator=torch.Generator().manual_seed(0)))
    assert len(losses) == 100
    assert losses[0] == pytest.approx(math.log(61), abs=0.1)
    assert losses[-1] < 0.5
    assert list(gpt.generate(mine, text[:10].tolist(), 30, temperature=0)) == text[10:40].tolist()


@pytest.mark.parametrize(("n", "batch_size"), [(1, 16), (7, 3), (8, 4)])
def test_the_loss_over_windows_is_the_librarys(n, batch_size):
    mine, library = pair({"drop_rate": 0.5})
    ids = random_ids(n * T + 1)
    inputs, targets = ids[:-1].view(n, T), ids[1:].view(n, T)
    expected = evaluate(library, ids)                    # which reads these very windows
    assert gpt.evaluate(mine.train(), inputs, targets, batch_size) == pytest.approx(
        expected, rel=1e-5)


# -- generation -------------------------------------------------------------------------------


def scores() -> torch.Tensor:
    """Rows of scores, with equals among them and tokens that are ruled out already."""
    logits = (3 * torch.randn(4, 50, generator=torch.Generator().manual_seed(0))).round(decimals=1)
    logits[1, ::3] = -math.inf
    logits[2] = 1.0
    return logits


@pytest.mark.parametrize("k", [1, 2, 7, 50])
def test_top_k_is_the_librarys(k):
    assert torch.equal(gpt.keep_top_k(scores(), k), generation.keep_top_k(scores(), k))


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9, 1.0])
def test_top_p_is_the_librarys(p):
    assert torch.equal(gpt.keep_top_p(scores(), p), generation.keep_top_p(scores(), p))


def test_however_small_p_is_the_best_token_stays():
    assert torch.equal(gpt.keep_top_p(scores(), 0), gpt.keep_top_k(scores(), 1))


@pytest.mark.parametrize("temperature", [0, 0.3, 1.0, 2.5])
def test_the_temperature_bends_as_in_the_library(temperature):
    mine, library = (module.apply_temperature(scores(), temperature).softmax(dim=-1)
                     for module in (gpt, generation))
    assert torch.equal(mine, library)


@pytest.fixture(scope="module")
def tellers():
    library, tokenizer = storyteller()
    mine = gpt.GPTModel(library.config.to_dict())
    mine.load_state_dict(library.state_dict())
    return mine, library, tokenizer


@pytest.mark.parametrize("sampling", [
    {"temperature": 0}, {}, {"temperature": 1.3, "top_k": 5}, {"temperature": 0.8, "top_p": 0.9},
    {"temperature": 2.0, "top_k": 40, "top_p": 0.95},
], ids=str)
def test_the_storytellers_weights_tell_the_same_stories(tellers, sampling):
    mine, library, tokenizer = tellers
    end = tokenizer.end_token
    for seed in range(2):
        told = list(gpt.generate(mine, [end], 120, stop=end, **sampling,
                                 generator=torch.Generator().manual_seed(seed)))
        steps = generate(library, [[end]], 120, stop_token=end, **sampling,
                         generator=torch.Generator().manual_seed(seed))
        assert told == [step[0] for step in steps]
        assert len(told) > 20 and end not in told


def test_its_tokenizer_reads_the_storytellers_vocabulary(tellers):
    _, _, tokenizer = tellers
    mine = gpt.Tokenizer(tokenizer.merges, tokenizer.byte_order)
    text = next(storybook.stories(1, seed=9)).text
    assert mine.encode(text) == tokenizer.encode(text)
    assert mine.end_token == tokenizer.end_token


@pytest.mark.parametrize("n_prompt", [1, 5, T, T + 9])
def test_with_a_cache_it_writes_what_it_writes_without_also_beyond_the_context(n_prompt):
    mine, _ = pair()
    ids = random_ids(n_prompt).tolist()
    expected = list(ids)
    for _ in range(2 * T):
        logits = mine(torch.tensor([expected[-T:]]))[0, -1]
        expected.append(int(logits.argmax()))
    assert list(gpt.generate(mine.train(), ids, 2 * T, temperature=0)) == expected[n_prompt:]
    assert not mine.training, "it writes without dropout"
    assert len(ids) == n_prompt, "the prompt stays as it was"


@pytest.mark.parametrize("cuts", [[1] * T, [10, 1, T - 11], [T]], ids=str)
def test_a_text_read_in_pieces_gets_the_scores_that_it_gets_at_once(cuts):
    mine, _ = pair()
    ids = random_ids(2, T)
    cache = [gpt.KVCache() for _ in mine.blocks]
    pieces = [mine(piece, cache) for piece in ids.split(cuts, dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), mine(ids), atol=1e-5, rtol=1e-5)
    assert {one.length for one in cache} == {T}


def test_with_a_cache_each_token_passes_through_the_model_once():
    mine, _ = pair()
    lengths = []
    mine.token_embedding.register_forward_hook(lambda _, ids, __: lengths.append(ids[0].shape[1]))
    list(gpt.generate(mine, [1, 2, 3], 5))
    assert lengths == [3, 1, 1, 1, 1]


def test_writing_ends_before_the_stop_token():
    mine, _ = pair()
    written = list(gpt.generate(mine, [1], 12, temperature=0))
    stop = written[5]
    shorter = list(gpt.generate(mine, [1], 12, temperature=0, stop=stop))
    assert shorter == written[: written.index(stop)]
