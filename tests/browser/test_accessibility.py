"""axe looks at every view, as a tool that reads pages for people who cannot see them would."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from lab_notebook import write_notebook
from page import ViewPage
from views.samples import MAKERS

import gptcourse.views
from gptcourse.views.browser import BrowserView

# axe's two highest ranks of four.
SERIOUS = {"serious", "critical"}
OF_THE_BROWSER = [
    name for name in MAKERS if issubclass(getattr(gptcourse.views, name), BrowserView)
]
MODEL = """
import torch
from gptlib import BPETokenizer, GPTModel
from gptcourse.views import *
text = "The cat sat on the mat. The dog sat on the cat. " * 12
tokenizer = BPETokenizer.train(text, 270)
ids = tokenizer.encode(text)
model = GPTModel({"vocab_size": 270, "context_length": 32, "emb_dim": 32, "n_heads": 4,
                  "n_layers": 2, "drop_rate": 0.0, "qkv_bias": False})
"""
OF_THE_KERNEL = {
    "TokenizerExplorer": "TokenizerExplorer(tokenizer, 'The cat sat.')",
    "GradientFlow": "GradientFlow()",
    "ConfigExplorer": "ConfigExplorer()",
    "GenerationStepper": "GenerationStepper(model, tokenizer, 'The cat')",
    "TrainingDashboard": "TrainingDashboard(ids[:-60], ids[-60:], tokenizer, floor=0.5)",
    "watch": "watch(iter([3.0, 2.0]), tokenizer, 0.5, model)",
}


def serious_violations(page, context=None) -> list[str]:
    found = Axe().run(page, context=context).response["violations"]
    return [
        f"{one['id']}: {one['help']} {[node['html'][:160] for node in one['nodes']]}"
        for one in found if one["impact"] in SERIOUS
    ]


def test_no_view_is_forgotten():
    assert set(OF_THE_BROWSER) | set(OF_THE_KERNEL) == set(MAKERS)


def arcs():
    """Attention in its other look."""
    view = MAKERS["AttentionExplorer"]()
    view.look, view.heads, view.token = "arcs", [1, 2, 3], 3
    return view


# JupyterLab's own dark colors, as its theme of that name sets them.
DARK = """
body {
  --jp-layout-color0: #111; --jp-layout-color1: #212121; --jp-layout-color2: #424242;
  --jp-border-color1: #616161; --jp-border-color2: #424242; --jp-error-color1: #f44336;
  --jp-content-font-color1: #fff; --jp-content-font-color2: rgba(255, 255, 255, 0.7);
  background: var(--jp-layout-color1);
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*OF_THE_BROWSER, "arcs"])
def test_axe_finds_nothing_serious_in_a_view_of_the_browser(window, name, scheme):
    page = window.page()
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme=scheme)
    view = ViewPage(page, arcs() if name == "arcs" else MAKERS[name]())
    if scheme == "dark":
        page.add_style_tag(content=DARK)
        page.evaluate("() => document.body.setAttribute('data-jp-theme-light', 'false')")
    assert serious_violations(view.page, "#view") == []
    view.stop_listening()
    window.give_back(page)


def test_axe_finds_nothing_serious_in_the_views_of_the_kernel(lab):
    cells = [MODEL, *OF_THE_KERNEL.values()]
    write_notebook(lab, "98_views.ipynb", cells)
    with lab.open("98_views.ipynb") as chapter:
        chapter.run_all(seconds=120)
        chapter.page.wait_for_function(
            f"() => document.querySelectorAll('.widget-vbox').length >= {len(OF_THE_KERNEL)}")
        assert serious_violations(chapter.page, ".jp-OutputArea-output") == []
        chapter.page.evaluate("""() => window.jupyterapp.commands.execute(
            'apputils:change-theme', { theme: 'JupyterLab Dark' })""")
        chapter.page.wait_for_selector(
            "body[data-jp-theme-light=false]", state="attached")
        assert serious_violations(chapter.page, ".jp-OutputArea-output") == []
