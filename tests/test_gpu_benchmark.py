"""What of benchmarks/gpu.py can be tried without a GPU."""

import sys
from pathlib import Path

import pytest
import torch
from helpers import TINY

from gptlib.model import flops_per_token

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import gpu
    return gpu


def test_every_contestant_takes_ten_steps(gpu, monkeypatch):
    monkeypatch.setattr(gpu, "SETTINGS", {"gptlib, bf16": {"precision": "bf16"}})
    found = gpu.contestants(TINY, 2, "cpu")
    assert {*found} == {"gptlib, bf16", "transformers, float32", "transformers, bf16"}
    taken = []
    with pytest.MonkeyPatch.context() as patch:
        step = torch.optim.AdamW.step
        patch.setattr(torch.optim.AdamW, "step", lambda *given: (taken.append(1), step(*given)))
        for take in found.values():
            take()
    assert len(taken) == 30


def test_a_line_tells_the_share_of_what_the_gpu_can_do(gpu):
    rate = 0.5 * 989e12 / (3 * flops_per_token(TINY))
    assert gpu.line("gptlib", TINY, rate, gpu.peak_of("NVIDIA H200")).endswith(
        "494.50 TFLOP/s  50.0% of its bf16 peak")
    assert gpu.peak_of("GeForce") is None
    assert gpu.line("gptlib", TINY, rate, None).endswith("494.50 TFLOP/s")


def test_without_a_gpu_it_says_so(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit, match=r"^There is no NVIDIA GPU here, so there is nothing to"):
        gpu.main()
