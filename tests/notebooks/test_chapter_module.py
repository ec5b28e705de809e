"""gptcourse.chapter: what the first cell of a chapter sets, and what the page shows."""

import functools
import math
import random
import re
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import torch

from gptcourse import chapter, gpt, listing
from gptlib import config
from gptlib.attention import attention
from gptcourse.titles import TITLES


@pytest.fixture(autouse=True)
def same_threads_afterwards():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_setup_makes_random_numbers_come_out_the_same():
    chapter.setup(3)
    first = draws()
    assert draws() != first
    chapter.setup(3)
    assert draws() == first


def test_setup_fixes_the_number_of_threads():
    torch.set_num_threads(2)
    chapter.setup(0)
    assert torch.get_num_threads() == chapter.THREADS == 1


def test_setup_says_which_chapter_is_ready():
    assert repr(chapter.setup(3)) == "Chapter 3 · Attention: ready."
    assert "<div>Chapter 3 · Attention: ready.</div>" in chapter.setup(3)._repr_html_()


@pytest.mark.parametrize("number", [-1, len(TITLES), 99, "3", 3.0, 3.5, True, None, [3]])
def test_setup_refuses_a_chapter_that_does_not_exist(number):
    allowed = ", ".join(map(str, TITLES))
    with pytest.raises(ValueError, match=f"^chapter is .*, but must be one of {allowed}:"):
        chapter.setup(number)


def test_source_shows_the_code_as_it_stands_in_the_library():
    shown = chapter.source(attention)
    assert shown.title == "gptlib/attention.py"
    assert "return attention_weights(queries, keys, mask) @ values" in repr(shown)
    without_markup = re.sub(r"<[^>]+>", "", shown._repr_html_())
    assert "return attention_weights(queries, keys, mask) @ values" in without_markup


def test_source_names_the_file_of_the_course_too():
    assert chapter.source(gpt.merge).title == "gptcourse/gpt.py"


def test_source_takes_classes_methods_and_modules():
    assert repr(chapter.source(config.GPTConfig)).startswith("# gptlib/config.py\n@dataclass")
    method = chapter.source(config.GPTConfig.to_dict)
    assert method.code.startswith("def to_dict(self)"), "a method is shown without its indent"
    assert chapter.source(config).code.startswith('"""The numbers that define a GPT')


def test_source_looks_through_a_decorator():
    @functools.wraps(attention)
    def wrapped(*arguments):
        return attention(*arguments)

    assert chapter.source(wrapped) == chapter.source(attention)


def test_source_of_a_function_of_ones_own_shows_no_path_of_this_machine():
    assert chapter.source(draws).title == "test_chapter_module.py"


def test_source_escapes_what_html_would_take_for_markup():
    page = listing.Source("x.py", "a = '<b>' < c\n")._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_every_color_of_the_source_follows_the_theme_and_has_a_fallback():
    colors = re.findall(r"(?:color|background): ([^;\"]+)", chapter.source(config)._repr_html_())
    assert len(colors) > 50
    assert all(re.fullmatch(r"var\(--jp-[\w-]+,#\w+\)|none", color) for color in colors)


@pytest.mark.parametrize("thing", [3, "attention", math.sqrt, torch.matmul])
def test_source_refuses_what_has_no_python_source(thing):
    with pytest.raises(TypeError, match="has no source in Python: pass a function"):
        chapter.source(thing)


def test_the_machine_report_stores_nothing_of_this_machine():
    report = chapter.machine()
    bundle = report._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "application/vnd.jupyter.widget-view+json"}
    assert bundle["text/plain"] == repr(report)
    assert not re.search(r"\d", repr(report))


def test_the_machine_report_shows_device_threads_and_versions():
    torch.set_num_threads(2)
    report = chapter.machine()
    assert report.shown["Threads in use"] == "2"
    assert report.shown["torch"].startswith(torch.__version__.split("+")[0])
    for name, value in report.shown.items():
        assert f">{name}</th>" in report.value
        assert f">{value}</td>" in report.value


def test_the_machine_report_works_where_no_package_is_installed(monkeypatch):
    """A hosted notebook finds the library on its path, and has another page than JupyterLab's."""
    def no_metadata(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(chapter, "version", no_metadata)
    facts = chapter.machine().shown
    assert facts["gptlib"] == facts["JupyterLab"] == "not installed as a package"
    assert facts["torch"] == torch.__version__ and facts["NumPy"] == np.__version__
