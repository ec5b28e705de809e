"""The model that ships: it is what its card says, and a damaged file is told from a whole one."""

import importlib
import json
import shutil
import subprocess
import sys

import pytest
import torch

from gptlib import evaluate
from gptlib.corpus import storybook
from gptlib.data import join_documents
from gptlib.storyteller import ASSETS, storyteller, storyteller_checkpoints, tell_stories, untrained
from gptlib.tokenizer import BPETokenizer

shipped = importlib.import_module("gptlib.storyteller")  # gptlib.storyteller is the function


@pytest.fixture(scope="module")
def validation():
    return list(storybook.stories(60, seed=7, part="validation"))


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The assets in a folder of their own, where they may be damaged."""
    folder = tmp_path / "assets"
    shutil.copytree(ASSETS, folder)
    monkeypatch.setattr(shipped, "ASSETS", folder)
    return folder


def loss_per_story(model, tokenizer, stories):
    ids = join_documents([story.text for story in stories], tokenizer)
    loss = evaluate(model, ids, end_token=tokenizer.end_token)
    return loss * len(ids) / len(stories)


def test_the_storyteller_is_within_one_percent_of_the_best_possible_loss(validation):
    floor = sum(story.nats for story in validation) / len(validation)
    assert floor * 0.999 < loss_per_story(*storyteller(), validation) < floor * 1.01


def test_nearly_all_of_its_stories_are_valid_and_new():
    told = tell_stories(*storyteller(), 100, seed=3)
    seen = {story.text for story in storybook.stories(2000, shipped.SEED)}
    verdict = storybook.judge(told, seen)
    assert verdict.valid >= 0.9
    assert verdict.new >= 0.95


def test_telling_is_repeatable_and_draws_nothing_from_the_common_random_numbers():
    model, tokenizer = storyteller()
    before = torch.get_rng_state()
    assert tell_stories(model, tokenizer, 2, seed=1) == tell_stories(model, tokenizer, 2, seed=1)
    assert tell_stories(model, tokenizer, 2, seed=1) != tell_stories(model, tokenizer, 2, seed=2)
    untrained()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_checkpoints_lead_from_random_weights_to_the_storyteller(validation):
    checkpoints = storyteller_checkpoints()
    steps = [checkpoint.step for checkpoint in checkpoints]
    losses = [checkpoint.validation_loss for checkpoint in checkpoints]
    assert len(checkpoints) >= 7 and steps == sorted(steps) and steps[0] == 0
    assert losses == sorted(losses, reverse=True)
    tokenizer = storyteller()[1]
    tokens = len(join_documents([story.text for story in validation], tokenizer)) / len(validation)
    for checkpoint in checkpoints:
        loss = loss_per_story(checkpoint.model, tokenizer, validation) / tokens
        assert loss == pytest.approx(checkpoint.validation_loss, rel=0.05)


def test_the_files_are_as_small_as_promised():
    sizes = {path.name: path.stat().st_size for path in ASSETS.iterdir()}
    own = ("storyteller.safetensors", "storyteller.tokenizer.json", "storyteller.md")
    assert sum(sizes[name] for name in own) <= 5e6
    assert sum(sizes.values()) - sum(sizes[name] for name in own) <= 8e6


def test_every_file_that_is_read_is_signed():
    signed = (ASSETS / "SHA256SUMS").read_text().split()[1::2]
    losses = json.loads((ASSETS / "storyteller.losses.json").read_text())
    stations = [f"storyteller.{step}.safetensors" for step in list(losses)[1:-1]]
    assert set(signed) == {
        "storyteller.safetensors", "storyteller.tokenizer.json", "storyteller.losses.json",
        *stations,
    }


@pytest.mark.parametrize("name", ["storyteller.safetensors", "storyteller.tokenizer.json"])
def test_a_file_with_a_wrong_digest_is_refused_in_one_sentence(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[-1] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is missing or not the file") as error:
        storyteller()
    assert "make storyteller" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_checkpoint_is_named(copied):
    next(copied.glob("storyteller.*00.safetensors")).unlink()
    with pytest.raises(ValueError, match=r"storyteller\.\d+\.safetensors is missing"):
        storyteller_checkpoints()


def test_loading_needs_neither_the_corpus_nor_a_figure():
    program = (
        "import sys; from gptlib.storyteller import storyteller; storyteller(); "
        "assert not {'gptlib.corpus.storybook', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_model_that_ends_at_once_tells_empty_stories():
    model, tokenizer = storyteller()
    with torch.no_grad():
        model.final_norm.scale.zero_()                      # whatever was read, the same vector ...
        model.final_norm.shift.fill_(1)
        model.output_head.weight.zero_()                    # ... for which one token scores high
        model.output_head.weight[tokenizer.end_token] = 1
    assert tell_stories(model, tokenizer, 3) == ["", "", ""]


@pytest.mark.parametrize("n", [0, 2.5, "3", True])
def test_no_story_cannot_be_told(n):
    with pytest.raises(ValueError, match=f"n is {n!r}, but must be a whole number of at least 1"):
        tell_stories(*storyteller(), n)


def test_a_tokenizer_without_an_end_of_text_tells_no_stories():
    model, tokenizer = storyteller()
    with pytest.raises(ValueError, match=r"has no token '<\|endoftext\|>'"):
        tell_stories(model, BPETokenizer(tokenizer.merges), 1)


# -- training it anew ----------------------------------------------------------------------------


@pytest.fixture
def tool(monkeypatch):
    """The tool that trains it, but for two steps."""
    tool = importlib.import_module("storyteller")
    for name, few in {"N_STORIES": 400, "STEPS": 2, "STATIONS": (1,), "N_VALIDATION": 4,
                      "N_JUDGED": 2}.items():
        monkeypatch.setattr(tool, name, few)
    threads = torch.get_num_threads()
    yield tool
    torch.set_num_threads(threads)


def test_a_storyteller_that_muon_trained_anew_takes_the_place_of_the_old_one(tool, copied, capsys):
    old = shipped._asset("storyteller.safetensors").read_bytes()
    assert tool.main(["--into", str(copied)]) == 0
    assert shipped._asset("storyteller.safetensors").read_bytes() != old
    assert storyteller()[1].end_token is not None
    assert "2 steps" in (copied / "storyteller.md").read_text(encoding="utf-8")
    assert [path.name for path in copied.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("step", ["card", "digests", "evaluate"])
def test_until_muon_has_trained_all_of_it_the_old_one_stays(tool, copied, monkeypatch, step):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    monkeypatch.setattr(tool, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        tool.main(["--into", str(copied)])
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before
