"""my_gpt.py: what is right is kept there in the order of the course, and nothing in it is lost."""

import ast
import difflib
import itertools
import linecache
import multiprocessing
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gptcourse import gpt
from gptcourse.exercises import TODO, all_exercises, check, keeping, mine, progress
from gptcourse.exercises.early import CALLERS, EARLY, FIRST
from gptcourse.exercises.keeping import FILE, TITLE, pieces
from gptcourse.exercises.page import course_pieces, course_source, run

DEFINITIONS = [piece.names[0] for piece in course_pieces() if piece.kind == "definition"]
numbers = itertools.count()


@pytest.fixture(autouse=True)
def in_an_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPTLIB_CHECK", raising=False)


def cell(source, notebook):
    """Run a cell as a notebook does: its lines can be looked up afterward."""
    name = f"<cell {next(numbers)} of {os.getpid()}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), notebook)


def a_notebook():
    return {**vars(gpt), "__name__": "__main__"}


def checked(name, source=None):
    """The line of the check after a cell with this source, or with the solution, was run."""
    one, notebook = getattr(check, name), a_notebook()
    cell(source or one.exercise.solution_source, notebook)
    return repr(one(notebook[one.exercise.defines]))


def file_text():
    return Path(FILE).read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------- the file grows


@pytest.mark.parametrize("name", [one.name for one in all_exercises() if one.bug])
def test_a_bug_as_it_was_given_is_not_done_yet_and_no_try(name):
    stub = getattr(check, name).exercise.stub
    assert checked(name, stub) == (f"⬜ {name}: not done yet. This is still the code with the bug: "
                                   "find it and mend it, then run both cells again.")
    assert progress.load() == {}
    assert "needs the" in repr(getattr(check, name)(torch.ones(2)))
    assert checked(name, stub + "\n# I have looked at it.\n").startswith(f"❌ {name}: ")
    assert progress.load() == {getattr(check, name).exercise.id: {"solved": False, "tries": 2}}


def test_a_bug_that_uses_what_is_not_written_yet_is_told_once_that_it_is_not_done():
    notebook = a_notebook()
    notebook["TODO"] = TODO
    cell(check.cached_attention.exercise.stub, notebook)
    cell(check.cached_block.exercise.stub, notebook)
    assert repr(check.cached_block(notebook["TransformerBlock"])).count("not done yet") == 1


@pytest.mark.parametrize("source", [mine, gpt])
@pytest.mark.parametrize("name", ["causal_mask", "GELU", "generate"])
def test_the_version_of_the_course_is_told_as_such_and_not_kept(source, name):
    line = repr(getattr(check, name)(getattr(source, name)))
    assert line.startswith(f"⬜ {name}: not done yet. This is the course's own version")
    assert not Path(FILE).exists() and progress.load() == {}


def test_what_mine_gives_back_of_the_learner_is_right_and_kept_already():
    checked("causal_mask")
    before = file_text()
    line = repr(check.causal_mask(mine.causal_mask))
    assert line.startswith("✅") and line.endswith("It is in my_gpt.py already.")
    assert file_text() == before
    assert repr(check.split_heads(mine.split_heads)).startswith("⬜")


def test_what_is_right_is_kept_and_what_is_wrong_is_not():
    assert "Kept in my_gpt.py." in checked("causal_mask")
    before = file_text()
    checked("attention_weights", "def attention_weights(queries, keys, mask):\n    return keys\n")
    assert file_text() == before and "def causal_mask" in before


@pytest.mark.parametrize("seed", range(10))
def test_all_pieces_in_any_order_become_the_whole_answer(seed):
    text, order = "", DEFINITIONS.copy()
    random.Random(seed).shuffle(order)
    for name in order:
        piece = next(piece for piece in course_pieces() if name in piece.names)
        text = keeping._with_all(text, [piece], name)
        pieces(text)                                  # it can be read at every moment
    whole = Path(gpt.__file__).read_text(encoding="utf-8")
    body = whole[whole.index("\nimport") :]
    difference = difflib.unified_diff(body.splitlines(), text[len(TITLE) :].splitlines())
    assert not list(difference)


def test_a_helper_and_imports_of_the_same_cell_come_along_and_the_rest_does_not():
    checked("causal_mask", (
        "import numpy as np\nfrom torch.nn import functional as F\nSIZE = 3\n\n\n"
        "def positions(n):\n    return torch.from_numpy(np.arange(n))\n\n\n"
        "# who comes first\n"
        "def causal_mask(n_tokens):\n    places = positions(n_tokens)\n"
        "    return places[:, None] >= places\n\n\nprint(causal_mask(SIZE))\n"))
    text = file_text()
    assert "import numpy as np\n" in text and "def positions" in text and "# who comes" in text
    assert "SIZE" not in text and "functional" not in text and "print" not in text
    assert mine.causal_mask(4).equal(gpt.causal_mask(4))
    assert mine.causal_mask.__code__.co_names[0] == "positions"


def test_what_another_cell_imported_is_imported_in_the_file():
    notebook = a_notebook()
    cell("import numpy as np\nfrom torch.nn.functional import pad\n", notebook)
    cell("def causal_mask(n_tokens):\n    pad\n"
         "    return torch.from_numpy(np.tri(n_tokens, dtype=bool))\n", notebook)
    check.causal_mask(notebook["causal_mask"])
    assert "import numpy as np\n" in file_text() and "import pad\n" in file_text()


def test_a_helper_of_another_cell_is_asked_for_by_its_name():
    notebook = a_notebook()
    cell("def triangle(x):\n    return x.tril()\n", notebook)
    cell("def causal_mask(n_tokens):\n"
         "    return triangle(torch.ones(n_tokens, n_tokens, dtype=torch.bool))\n", notebook)
    line = repr(check.causal_mask(notebook["causal_mask"]))
    assert line.startswith("✅") and "It uses triangle" in line and "same cell" in line
    assert not Path(FILE).exists()


def test_a_definition_without_lines_is_told_so():
    assert "can't be read here" in repr(check.causal_mask(eval(
        "lambda n_tokens: torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()",
        {"torch": torch})))


def test_magics_in_the_cell_do_no_harm():
    name = "<cell with magics>"
    source = "%time 1\n" + check.causal_mask.exercise.solution_source
    linecache.cache[name] = (1, None, source.splitlines(keepends=True), name)
    notebook = a_notebook()
    exec(compile(source.replace("%time 1", ""), name, "exec"), notebook)
    assert "Kept" in repr(check.causal_mask(notebook["causal_mask"]))


# --------------------------------------------------------------------------------- nothing is lost


def test_a_better_version_takes_the_place_of_the_one_before():
    checked("causal_mask")
    other = ("def causal_mask(n_tokens):\n    places = torch.arange(n_tokens)\n"
             "    return places[:, None] >= places\n")
    assert "Kept" in checked("causal_mask", other)
    assert file_text().count("def causal_mask") == 1 and "arange" in file_text()


@pytest.mark.parametrize(("by_hand", "verdict"), [
    ("    return torch.ones(n_tokens, n_tokens).tril() > 0\n", "is right, too"),
    ("    return torch.ones(n_tokens, n_tokens).triu() > 0\n", "isn't right yet"),
])
def test_a_version_edited_by_hand_is_judged_and_stays(by_hand, verdict):
    checked("causal_mask")
    edited = file_text().replace(
        "    return torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()\n", by_hand)
    Path(FILE).write_text(edited, encoding="utf-8")
    line = checked("causal_mask")
    assert verdict in line and "left as it is" in line
    assert file_text() == edited


def test_comments_and_definitions_of_the_learner_stay_where_they_are():
    checked("split_heads")
    own = file_text() + "\n# my own notes\nLUCKY = 7\n\ndef try_it():\n    return LUCKY\n"
    Path(FILE).write_text(own, encoding="utf-8")
    checked("causal_mask")
    checked("MultiHeadAttention")
    for line in own.splitlines():
        assert line in file_text()
    assert mine.causal_mask(3).shape == (3, 3)


def test_a_file_with_a_syntax_error_is_explained_and_left_alone():
    checked("causal_mask")
    broken = file_text() + "\ndef half(:\n"
    Path(FILE).write_text(broken, encoding="utf-8")
    line = checked("attention_weights")
    assert line.startswith("✅") and "can't be read by Python (line " in line
    assert file_text() == broken
    with pytest.warns(UserWarning, match="the course's definitions are used"):
        assert mine.causal_mask(2).shape == (2, 2)


def test_a_file_that_fails_when_it_runs_is_explained():
    Path(FILE).write_text("import torch\n\nX = 1 / 0\n\ndef merge(a, b, c):\n    return []\n")
    with pytest.warns(UserWarning, match=r"can't be run \(ZeroDivisionError: division by zero\)"):
        assert mine.merge([1, 1], (1, 1), 9) == [9]


def test_a_version_in_a_file_that_fails_is_not_called_right():
    Path(FILE).write_text("import torch\n\nX = 1 / 0\n\ndef causal_mask(n_tokens):\n    return X\n")
    with pytest.warns(UserWarning, match="can't be run"):
        assert "it can't be tried, because of something else in the file" in checked("causal_mask")


@pytest.mark.parametrize(("content", "told"), [
    (b"x = '\xff'\n", "isn't text in UTF-8"), (b"x = '\0'\n", "can't be read by Python"),
    (b"(" * 5000, "can't be read by Python"), (b"return 1\n", "can't be read by Python"),
    (None, "It is not in my_gpt.py yet"),
])
def test_a_file_that_cannot_be_read_is_told_and_left_alone(content, told):
    Path(FILE).mkdir() if content is None else Path(FILE).write_bytes(content)
    line = checked("causal_mask")
    assert line.startswith("✅") and told in line
    with pytest.warns(UserWarning, match="the course's definitions are used"):
        assert mine.causal_mask(2).shape == (2, 2)
    assert content is None or Path(FILE).read_bytes() == content


@pytest.mark.parametrize("odd", ["\f", "\v", "\x1c", "\x85", "\u2028"])
def test_what_ends_a_line_for_others_than_python_ends_none_here(odd):
    checked("causal_mask")
    own = file_text().replace("import torch\n", f"import torch\n\nNOTE = '{odd}'\nOTHER = 2\n")
    Path(FILE).write_text(own, encoding="utf-8")
    other = "def causal_mask(n_tokens):\n    return torch.ones(n_tokens, n_tokens).tril() > 0\n"
    assert "Kept" in checked("causal_mask", other)
    assert file_text() == own.replace(check.causal_mask.exercise.solution_source, other)


def test_what_must_stand_on_top_stays_there():
    Path(FILE).write_text("from __future__ import annotations\nimport zlib\n\n"
                          "Z: int = zlib.MAX_WBITS\n\n"
                          "def merge(ids, pair, new_id):\n    return [Z]\n")
    assert "Kept" in checked("causal_mask") and mine.merge([1], (1, 1), 2) == [15]
    compile(file_text(), FILE, "exec")


def helped(helper="lower"):
    return (f"def {helper}(x):\n    return x.tril()\n\n\ndef causal_mask(n_tokens):\n"
            f"    return {helper}(torch.ones(n_tokens, n_tokens)) > 0\n")


def test_a_helper_takes_no_place_of_another_thing_with_its_name():
    own = "lower = 3\nOTHER = 4\n\ndef try_it():\n    return lower\n"
    Path(FILE).write_text(own)
    line = checked("causal_mask", helped())
    assert line.startswith("✅") and "where another lower stands" in line and file_text() == own
    assert "Kept" in checked("causal_mask", helped("triangle"))


def test_a_helper_changes_with_its_definition_but_not_under_another_one():
    assert "Kept" in checked("causal_mask", helped())
    better = helped().replace("x.tril()", "x.tril(0)")
    assert "Kept" in checked("causal_mask", better) and "tril(0)" in file_text()
    two = check.split_heads.exercise.solution_source.replace(
        "x.view(", "lower(x).view(") + "\ndef lower(x):\n    return x\n"
    assert "where another lower stands" in checked("split_heads", two)
    assert "tril(0)" in file_text()


def test_a_constant_may_be_typed_anew_in_another_layout():
    checked("count_pairs")
    solution = check.Tokenizer.exercise.solution_source
    other = f"WORD = regex.compile({gpt.WORD.pattern + '|x'!r})\n\n"
    assert "where another WORD stands" in checked("Tokenizer", other + solution)
    typed = f"WORD = regex.compile({gpt.WORD.pattern!r})   # in one line\n\n"
    assert "Kept" in checked("Tokenizer", typed + solution)
    assert {"END_OF_TEXT", "WORD"} <= {name for one in pieces(file_text()) for name in one.names}


def test_a_definition_of_another_name_is_told_so():
    notebook = a_notebook()
    cell(check.causal_mask.exercise.solution_source.replace("causal_mask", "my_mask"), notebook)
    line = repr(check.causal_mask(notebook["my_mask"]))
    assert line.startswith("✅") and "must be called causal_mask, and not my_mask" in line


@pytest.mark.parametrize(("first", "uses", "kept"), [
    ("from torch import tril as lower", "lower(", True),
    ("import torch.nn.functional as F", "F.relu(", True),
    ("where = torch.device('cpu')", "torch.tensor(1., device=where) * (", False),
    ("from functools import partial\nlower = partial(torch.tril)", "lower(", False),
    ("lower = torch.tril.__get__(0) if False else (lambda x: x.tril())", "lower(", False),
])
def test_what_another_cell_made_is_imported_or_asked_for(first, uses, kept):
    notebook = a_notebook()
    cell(first + "\n", notebook)
    cell("def causal_mask(n_tokens):\n"
         f"    return {uses}torch.ones(n_tokens, n_tokens)).tril() > 0\n", notebook)
    line = repr(check.causal_mask(notebook["causal_mask"]))
    assert line.startswith("✅") and ("Kept" in line) is kept, line
    assert ("same cell" in line) is not kept
    assert mine.causal_mask(2).sum() == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark_and_windows_line_ends_are_kept(encoding, end):
    checked("causal_mask")
    Path(FILE).write_bytes(file_text().replace("\n", end).encode(encoding))
    assert "Kept" in checked("split_heads")
    content = Path(FILE).read_bytes()
    assert content.startswith(b"\xef\xbb\xbf") == (encoding == "utf-8-sig")
    assert (b"\r\n" in content) == (end == "\r\n") and content.count(b"\n") == content.count(
        end.encode())
    assert "2 of" in repr(mine)


def test_a_definition_that_was_deleted_by_hand_comes_back_with_the_next_check():
    checked("causal_mask")
    checked("split_heads")
    text = file_text()
    start = text.index("def causal_mask")
    Path(FILE).write_text(text[:start] + text[text.index("def split_heads") :], encoding="utf-8")
    assert "Kept" in checked("causal_mask")
    assert file_text() == text


def test_a_link_to_the_file_is_followed():
    Path("elsewhere").mkdir()
    Path(FILE).symlink_to(Path("elsewhere", "own.py"))
    assert "Kept" in checked("causal_mask") and "Kept" in checked("split_heads")
    assert Path(FILE).is_symlink() and "def split_heads" in Path("elsewhere", "own.py").read_text()


def test_a_link_that_leads_nowhere_is_told():
    Path(FILE).symlink_to(Path("gone", "own.py"))
    line = checked("causal_mask")
    assert line.startswith("✅") and "there is no folder" in line and Path(FILE).is_symlink()


def test_a_check_reads_each_text_once(monkeypatch):
    checked("causal_mask")
    parsed, parse = [], ast.parse
    monkeypatch.setattr(ast, "parse", lambda text, *more: parsed.append(text) or parse(text, *more))
    source = check.split_heads.exercise.solution_source
    assert "Kept" in checked("split_heads", f"# read in no other test\n{source}")
    assert len(parsed) == len(set(parsed)) > 1


def test_a_folder_that_cannot_be_written_to_is_told(monkeypatch):
    def full(_text):
        raise OSError("No space left on device")
    monkeypatch.setattr(keeping, "_write", full)
    line = checked("causal_mask")
    assert line.startswith("✅") and "No space left" in line


def _solve(folder, name):
    os.chdir(folder)
    for _ in range(5):
        checked(name)


def test_two_notebooks_at_once_lose_nothing(tmp_path):
    names = ["causal_mask", "attention_weights", "split_heads", "MultiHeadAttention"]
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    workers = [context.Process(target=_solve, args=(tmp_path, name)) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert all(f" {name}(" in file_text() for name in names)
    assert sorted(progress.load()) == sorted(f"03.{name}" for name in names)


def test_a_lock_that_a_killed_notebook_left_behind_opens(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.1)
    Path(progress.FOLDER).mkdir()
    Path(progress.FOLDER, "lock").touch()
    assert "Kept" in checked("causal_mask")
    assert not Path(progress.FOLDER, "lock").exists()


def test_a_kill_while_the_file_is_written_leaves_the_old_or_the_new_one(tmp_path):
    checked("causal_mask")
    program = (
        "import os, signal, pathlib\n"
        "from gptlib import files\n"
        "from gptcourse.exercises import keeping\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "keeping._write('x = 1\\n' * 100000)\n")
    before = file_text()
    finished = subprocess.run([sys.executable, "-c", program], check=False, cwd=tmp_path)
    assert finished.returncode == -9 and file_text() == before


# -------------------------------------------------------------------------------------------- mine


def test_mine_says_which_are_the_learners():
    assert "not begun yet, 0 of" in repr(mine)
    checked("causal_mask")
    n_lines = len(file_text().splitlines())
    assert f"beside this notebook: {n_lines} lines, 1 of" in repr(mine)
    assert "03 Attention             in it: causal_mask; to come: attention_weights" in repr(mine)
    html = mine._repr_html_()
    assert html.index("<code>causal_mask</code>") < html.index("<code>attention_weights</code>")
    checked("first_train")
    assert "06 Training              in it: train (its first form); to come: learn" in repr(mine)
    assert mine.merge([1, 1, 1], (1, 1), 9) == [9, 1]


def test_mine_follows_the_file():
    checked("causal_mask")
    first = mine.causal_mask
    assert mine.causal_mask is first
    checked("causal_mask", "def causal_mask(n_tokens):\n    p = torch.arange(n_tokens)\n"
                           "    return p[:, None] >= p\n")
    assert mine.causal_mask is not first


def test_an_unknown_name_is_told_with_those_that_there_are():
    with pytest.raises(AttributeError, match="Nothing in gpt.py is called 'attend': .*causal_mask"):
        mine.attend()


def test_what_the_learner_wrote_is_what_the_models_run(monkeypatch):
    checked("causal_mask", "def causal_mask(n_tokens):\n"
                           "    causal_mask.calls = getattr(causal_mask, 'calls', 0) + 1\n"
                           "    return torch.ones(n_tokens, n_tokens).tril() > 0\n")
    config = {**gpt.GPT_CONFIG_124M, "vocab_size": 11, "context_length": 8, "emb_dim": 8,
              "n_heads": 2, "n_layers": 3}
    mine.GPTModel(config)(torch.zeros(1, 5, dtype=torch.int64))
    assert mine.causal_mask.calls == 3


CONFIG = {"vocab_size": 13, "context_length": 6, "emb_dim": 8, "n_heads": 2, "n_layers": 2,
          "drop_rate": 0.0, "qkv_bias": False}


@pytest.mark.parametrize("kept", itertools.product(["", "early", "late"], repeat=4),
                         ids=lambda kept: "-".join(one or "course" for one in kept))
def test_definitions_with_and_without_the_cache_mix(kept):
    """Whatever has been solved of the four that hand the cache on, a model generates."""
    names = ["MultiHeadAttention", "TransformerBlock", "GPTModel", "generate"]
    page = [f"from torch import nn\nimport torch\nimport math\n\n{source}" for name, form in
            zip(names, kept, strict=True) if form
            for source in [course_source(name, EARLY[name] if form == "early" else ())]]
    Path(FILE).write_text("\n".join(page), encoding="utf-8")
    torch.manual_seed(0)
    model = mine.GPTModel(CONFIG)
    torch.manual_seed(0)
    expected = list(gpt.generate(gpt.GPTModel(CONFIG), [1, 2], 8, temperature=0))
    assert list(mine.generate(model, [1, 2], 8, temperature=0)) == expected
    assert {caller for caller, _ in CALLERS} | {"MultiHeadAttention"} == set(EARLY)


def first_train_and_write(source):
    """The losses of a short run of a table of one token, and what it writes then."""
    torch.manual_seed(0)
    table, generator = torch.nn.Embedding(7, 7), torch.Generator().manual_seed(1)
    losses = list(source.first_train(table, torch.arange(60) % 7, 4, 3, 5, 2.0, generator))
    return losses, list(source.first_generate(table, [1, 2], 8, generator=generator))


@pytest.mark.parametrize("kept", itertools.product(["", "first", "grown"], repeat=2),
                         ids=lambda kept: "-".join(one or "course" for one in kept))
def test_first_forms_serve_their_chapter_and_no_later_one(kept):
    expected = first_train_and_write(mine)
    torch.manual_seed(0)
    model, ids = gpt.GPTModel(CONFIG), torch.arange(40) % 13
    later = list(gpt.generate(model, [1, 2], 8, temperature=0))
    text = ""
    for first, form in zip(FIRST.values(), kept, strict=True):
        if form:
            source = course_source(first.of, first.edits if form == "first" else ())
            text = keeping._with_all(text, pieces(source), first.of)
    Path(FILE).write_text(text, encoding="utf-8")
    assert first_train_and_write(mine) == expected
    assert list(mine.generate(model, [1, 2], 8, temperature=0)) == later
    assert len(list(mine.train(model, ids, 2, peak=1e-3))) == 2
    own = [first.of if form == "grown" else name
           for (name, first), form in zip(FIRST.items(), kept, strict=True) if form]
    assert sorted(mine.own()) == sorted(own)


@pytest.mark.parametrize(("first", "later", "name"), [
    *((first, of, of) for first, (of, *_) in FIRST.items()),
    ("MultiHeadAttention", "cached_attention", "MultiHeadAttention"),
    ("TransformerBlock", "cached_block", "TransformerBlock"),
    ("GPTModel", "cached_model", "GPTModel"),
])
def test_a_first_form_never_takes_the_place_of_the_grown_one(first, later, name):
    checked(first)
    assert "Kept in my_gpt.py." in checked(later)
    grown = file_text()
    assert f"The {name} in my_gpt.py is the later one" in checked(first)
    assert file_text() == grown


def test_a_comment_about_the_later_form_is_not_taken_for_it():
    plain = check.MultiHeadAttention.exercise.solution_source
    checked("MultiHeadAttention", plain.replace("T, C)\n", "T, C), without a cache\n", 1))
    assert "without a cache" in file_text()
    model = mine.GPTModel(CONFIG)
    assert len(list(mine.generate(model, [1, 2], 3))) == 3
    assert "Kept in my_gpt.py." in checked("MultiHeadAttention", plain)
    assert "without a cache" not in file_text()


def test_a_first_form_that_was_edited_by_hand_is_judged_as_one():
    checked("first_generate")
    Path(FILE).write_text(file_text().replace("[0, -1]", "[0, 0] "), encoding="utf-8")
    assert "which you edited there; it isn't right yet" in checked("first_generate")


def test_in_a_file_that_cannot_be_read_the_first_forms_are_the_courses():
    Path(FILE).write_text("def broken(:\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="the course's definitions are used"):
        assert mine.first_train.__name__ == "train"


@pytest.mark.parametrize("start", [0, 1])
def test_every_second_definition_solved_mixes_with_the_course(start):
    text = ""
    for name in DEFINITIONS[start::2]:
        piece = next(piece for piece in course_pieces() if name in piece.names)
        text = keeping._with_all(text, [piece], name)
    Path(FILE).write_text(text, encoding="utf-8")
    ids = torch.arange(80) % 13
    losses = []
    for source in (mine, gpt):
        torch.manual_seed(0)
        model = source.GPTModel(CONFIG)
        generator = torch.Generator().manual_seed(1)
        losses.append(list(source.train(model, ids, 3, 2, generator=generator)))
    assert losses[0] == losses[1]
    assert len(run(text, "<my_gpt>", {})) > len(DEFINITIONS) // 2
