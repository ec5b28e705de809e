"""Chapter 9's chat in JupyterLab, with a model of SmolLM2's kind that knows nothing."""

import nbformat
from course import ROOT
from lab_notebook import write_notebook

START = """
import torch
from gptcourse import experiments
from gptcourse.exercises import mine
from gptlib import GPTModel
from gptlib.pretrained.smollm2 import SmolLM2Tokenizer, answer
from gptlib.tokenizer import printed_bytes
special = ["<|im_start|>", "<|im_end|>"]
words = SmolLM2Tokenizer([*special, *printed_bytes()], [], special)
torch.manual_seed(0)
smol = GPTModel({"vocab_size": 258, "context_length": 512, "emb_dim": 32, "n_heads": 4,
                 "n_kv_heads": 2, "n_layers": 2, "drop_rate": 0.0, "qkv_bias": False,
                 "norm": "rms", "positions": "rotary", "feed_forward": "swiglu",
                 "hidden_dim": 64, "output_bias": False}).eval()
"""


def chat_cell() -> str:
    """The chapter's own, but its answer goes on and on."""
    book = nbformat.read(next(ROOT.glob("notebooks/09_*.ipynb")), 4)
    [source] = [cell.source for cell in book.cells if "for piece in answer(yours" in cell.source]
    assert "max_new_tokens=40" in source
    return source.replace("max_new_tokens=40", "max_new_tokens=10**9")


def test_the_stop_button_ends_an_answer_and_leaves_what_came_of_it(lab):
    write_notebook(lab, "93_chat.ipynb", [START, chat_cell(), "print('and the kernel goes on')"])
    with lab.open("93_chat.ipynb") as chapter:
        page = chapter.page
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        output = page.locator(".jp-Cell[data-windowed-list-index='1'] .jp-OutputArea-output")
        page.wait_for_function(
            "output => document.querySelector(output)?.textContent.trim().length > 20",
            arg=".jp-Cell[data-windowed-list-index='1'] .jp-OutputArea-output")
        page.get_by_role("button", name="Interrupt the kernel").click()
        page.get_by_text("and the kernel goes on", exact=True).wait_for()
        answered = output.text_content()
        assert answered.rstrip().endswith("… (stopped)") and len(answered) > 30
        assert not any(cell["errors"] or cell["stderr"] for cell in chapter.cells)
        assert chapter.console_errors == []
