"""How long a view takes to answer, on the page and in the kernel.

    python benchmarks/views.py [--moves 60]

A view of the browser is opened in Chromium and its controls are moved; counted is the work that the
page does for one move, from the event to the end of its drawing. A view of the kernel is moved in
this process, every control by one step, as an arrow key does; counted is the time until the new
picture is ready to be sent; so it is for AblationBench, of which each head is switched off alone.
A move that lets the model read takes at least as long as the model alone, so for a large one both
are measured in turns.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from functools import cache
from itertools import cycle
from pathlib import Path

import ipywidgets
import numpy as np
import torch
from playwright.sync_api import sync_playwright
from timing import in_turns, median_ratio

from gptcourse.chapter import THREADS
from gptcourse.experiments.scaling import scaling_runs
from gptcourse.views import (
    AblationBench,
    AttentionExplorer,
    AttentionMicroscope,
    ConfigExplorer,
    GenerationStepper,
    GradientFlow,
    ModelWalk,
    PatchingMap,
    RotaryExplorer,
    SamplingBench,
    ScalingExplorer,
    TimeMachine,
    TokenizerExplorer,
)
from gptcourse.views.ablation_numbers import INSTEAD
from gptcourse.views.base import BaseView
from gptcourse.views.browser import BrowserView
from gptlib.corpus import storybook
from gptlib.model import GPTModel
from gptlib.storyteller import storyteller, storyteller_checkpoints
from gptlib.tokenizer import BPETokenizer

TESTS = Path(__file__).parent.parent / "tests"
sys.path.append(str(TESTS / "browser"))

# Moves every slider of a page in turn, and what else it is moved by, and adds up the time that its
# handlers take.
MOVES = """async (moves) => {
  const moved = "[type=range], [type=radio], .gpt-box, .gpt-cell";
  const controls = [...document.querySelectorAll(`#view :is(${moved})`)];
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  let work = 0;
  const later = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (act) => later((time) => {
    const started = performance.now();
    act(time);
    work += performance.now() - started;
  });
  const times = [];
  for (let n = 0; n < moves; n += 1) {
    const control = controls[n % controls.length];
    work = 0;
    const started = performance.now();
    if (control.type !== "range") control.click();
    else {
      const [low, high] = [Number(control.min || 0), Number(control.max || 100)];
      control.value = low + ((n * 0.37) % 1) * (high - low);
      control.dispatchEvent(new Event("input", { bubbles: true }));
    }
    work += performance.now() - started;
    await frame();
    await frame();
    times.push(work);
  }
  return times;
}"""


def views() -> dict[str, BaseView]:
    """Each view as large as the course ever shows it, and two that are larger."""
    model, tokenizer = storyteller()
    text = next(storybook.stories(1, seed=3)).text
    points = storyteller_checkpoints()
    large = GPTModel({"vocab_size": tokenizer.vocab_size, "context_length": 64, "emb_dim": 144,
                      "n_heads": 9, "n_layers": 30, "drop_rate": 0.0, "qkv_bias": False})
    return {
        "AttentionExplorer": AttentionExplorer(model, tokenizer, text),
        "AttentionExplorer, 30 layers x 9 heads": AttentionExplorer(large, tokenizer, text),
        "AttentionMicroscope": AttentionMicroscope(model, tokenizer, text),
        "ModelWalk": ModelWalk(model, tokenizer, text),
        "SamplingBench": SamplingBench(model, tokenizer, "Once upon a time"),
        "SamplingBench, 50,257 tokens": SamplingBench(*vast(), "Once"),
        "TimeMachine": TimeMachine([(p.step, p.model) for p in points], tokenizer, text),
        "AblationBench": AblationBench(model, tokenizer, ""),
        "PatchingMap": PatchingMap(model, tokenizer, *two_texts()),
        "RotaryExplorer, 32 pairs": RotaryExplorer(*torch.randn(2, 64)),
        "ScalingExplorer": ScalingExplorer(scaling_runs(), flops_per_second=2e10),
        "TokenizerExplorer": TokenizerExplorer(tokenizer, text),
        "GradientFlow": GradientFlow(),
        "ConfigExplorer": ConfigExplorer(),
        "GenerationStepper": GenerationStepper(model, tokenizer, ""),
        "GenerationStepper, 30 layers x 9 heads x 576": GenerationStepper(*deep(), text),
    }


def two_texts() -> tuple[str, str]:
    """As long as the view takes them, and another animal in the one than in the other."""
    text = next(story.text for story in storybook.stories(99, seed=3)
                if story.facts["plot"] == "trading" and story.facts["friend_kind"] == "frog")
    text = text[: text.index(" croaked")]
    return text, text.replace("frog", "bear")


@cache
def deep() -> tuple[GPTModel, BPETokenizer]:
    """In the shape of SmolLM2-135M, with random weights and GPT-2's vocabulary."""
    return GPTModel({"vocab_size": 50_257, "context_length": 2048, "emb_dim": 576, "n_heads": 9,
                     "n_layers": 30, "drop_rate": 0.0, "qkv_bias": False,
                     "tie_weights": True}).eval(), BPETokenizer.from_gpt2()


def vast() -> tuple[GPTModel, BPETokenizer]:
    """A model with GPT-2's vocabulary."""
    return GPTModel({"vocab_size": 50_257, "context_length": 32, "emb_dim": 32, "n_heads": 2,
                     "n_layers": 1, "drop_rate": 0.0, "qkv_bias": False}), BPETokenizer.from_gpt2()


def on_the_page(browser, view: BrowserView, moves: int) -> list[float]:
    """Milliseconds of work per move, in Chromium."""
    from page import ViewPage

    page = browser.new_page(viewport={"width": 1280, "height": 900})
    times = ViewPage(page, view).page.evaluate(MOVES, moves)
    page.close()
    return times[3:]


def with_heads_off(view: AblationBench, moves: int) -> list[float]:
    """Milliseconds in the kernel until the page gets the story without a head and its loss."""
    config, times = view.model.config, []
    heads = [(layer, head) for layer in range(config.n_layers) for head in range(config.n_heads)]
    for n in range(moves + 3):
        if n % len(heads) == 0:
            view.off, view.seed = [], n                      # a new story, all of it to be told
            view.instead = INSTEAD[n // len(heads) % len(INSTEAD)]
        started = time.perf_counter()
        view.off = [heads[n % len(heads)]]
        times.append(1000 * (time.perf_counter() - started))
    return times[3:]


def in_the_kernel(view, moves: int) -> list[float]:
    """Milliseconds per move until the new picture is ready."""
    moved = [step for control in view.children[0].children if (step := step_of(control))]
    times = []
    while len(times) < moves:
        if isinstance(view, GenerationStepper) and view.stopped:
            view.restart()
        for step in (view.step, *moved) if isinstance(view, GenerationStepper) else moved:
            started = time.perf_counter()
            step()
            times.append(1000 * (time.perf_counter() - started))
    return times[3:]


def step_of(control):
    """What moves a control by one step, as an arrow key does: at its end it begins anew."""
    if isinstance(control, (ipywidgets.IntSlider, ipywidgets.FloatSlider)):
        if control.disabled:
            return None

        def step():
            following = control.value + control.step
            control.value = following if following <= control.max else control.min
    elif isinstance(control, (ipywidgets.SelectionSlider, ipywidgets.Dropdown)):
        def step():
            control.index = (control.index + 1) % len(control.options)
    elif isinstance(control, ipywidgets.Checkbox):
        def step():
            control.value = not control.value
    else:
        return None
    return step


@torch.inference_mode()
def beside_the_model(rounds: int) -> list[tuple[str, float, float, float]]:
    """Moves that need a pass of the model: milliseconds, those of the pass alone, the ratio."""
    model, tokenizer = deep()
    text = next(storybook.stories(1, seed=3)).text
    explorer, stepper = AttentionExplorer(model, tokenizer, text), GenerationStepper(
        model, tokenizer, text)
    texts = cycle((text, f"So {text}"))
    read = torch.tensor([explorer.traced(explorer.prompt).ids.tolist()])          # (1, T)
    kept = model.new_cache()
    model(read, kept)

    def read_one_token() -> None:
        for layer in kept:
            layer.length = read.shape[1]
        model(read[:, :1], kept)

    def type_another_text() -> None:
        explorer.prompt = next(texts)

    rows = []
    for name, move, alone in (("AttentionExplorer, another text", type_another_text,
                               lambda: model(read)),
                              ("GenerationStepper, a step", stepper.step, read_one_token)):
        seconds = in_turns({"move": move, "alone": alone}, rounds)
        if error := explorer.last_error or stepper.last_error:
            raise error
        middle = (1000 * statistics.median(seconds[which]) for which in ("move", "alone"))
        rows.append((name, *middle, median_ratio(seconds["move"], seconds["alone"])))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=60)
    moves = parser.parse_args().moves
    torch.set_num_threads(THREADS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        print("| view | where | median ms | 95 % below | kilobytes sent |\n|---|---|---|---|---|")
        for name, view in views().items():
            of_the_browser = isinstance(view, BrowserView)
            if isinstance(view, AblationBench):
                where, times = "kernel", with_heads_off(view, moves)
            elif of_the_browser:
                where, times = "browser", on_the_page(browser, view, moves)
            else:
                where, times = "kernel", in_the_kernel(view, moves)
            sent = f"{len(view.data) / 1000:.0f}" if of_the_browser else "–"
            print(f"| {name} | {where} | {statistics.median(times):.1f} | "
                  f"{np.percentile(times, 95):.1f} | {sent} |", flush=True)
        browser.close()
    print("\n| with 30 layers x 9 heads x 576 | median ms | the model alone | ratio |\n"
          "|---|---|---|---|")
    for name, move, alone, ratio in beside_the_model(max(3, moves // 4)):
        print(f"| {name} | {move:.0f} | {alone:.0f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
