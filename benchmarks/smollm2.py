"""SmolLM2 in this library beside `transformers` on the same file: the same numbers, and how fast.

    python benchmarks/smollm2.py [--proof] [--rounds 5]

With --proof: logits on 20 prompts, ids of 5,000 texts, greedy answers to ten questions; without it,
load time, peak memory and tokens per second. Needs the extra `test`, and SmolLM2's file in the
cache folder or a network, see gptlib/pretrained/smollm2.py; transformers needs accelerate to read
the very same file.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from timing import in_turns, median_ratio
from tokenizers import pre_tokenizers

from gptlib.corpus import load_text
from gptlib.model import GPTModel
from gptlib.pretrained.smollm2 import answer, chat_ids, gguf_path, smollm2

# How its greedy answers begin, right or wrong.
QUESTIONS = {
    "What is the capital of France?": "The capital of France is Paris.",
    "How many legs does a spider have?": "The answer to this classic question lies in the spider's",
    "What color is the sky on a clear day?": "The sky on a clear day is often described as a deep,",
    "Who wrote Romeo and Juliet?": "The story of Romeo and Juliet by William Shakespeare is attri",
    "What is 2 + 2?": "The answer to this classic math problem is 4.",
    "Name the largest planet of the solar system.": "The largest planet of the solar system is Nep",
    "What do bees make?": "Bees are incredibly complex creatures with a remarkable array of adap",
    "Which language do people speak in Brazil?": "Alemaneté, açúmar, açúmar, açúmar",
    "What is water made of?": "Water is a fundamental element that makes up almost all of",
    "Say hello in Spanish.": "Hola in Spanish! 😊🌍🌍🌍",
}
PROMPTS = [
    "The capital of France is", "Once upon a time", "def fibonacci(n):\n    ", "2 + 2 =",
    "Water is", "The quick brown fox jumps over the lazy",
    "To be, or not to be, that is the",
    "In 1969, Neil Armstrong", "import numpy as", "Dear Sir or Madam,\n\n", "Liebe Freunde,",
    "Poppy the bear was", "The opposite of hot is", "A, B, C, D,", "1, 2, 3, 4, 5,",
    "SELECT * FROM", "E = mc", "\n\n", "こんにちは", "🙂🙂🙂",
]

# Pieces of made-up texts, between strokes.
ODD_PIECES = (
    "def f(x):\n\treturn x**2\n|12345| 007|3.14159|1e-5|٣٤|½ cup|x²|don't|I'LL|it's|'s|"
    "<|im_start|>|👩‍👩‍👧|🇫🇷|👍🏽|❤️|😀|naïve|Straße|Ёлка|Привет, мир|你好，世界|こんにちは|한국어|"
    "مرحبا|नमस्ते|ไทย|ελληνικά|{}[]();|://|@#$%^&*|…|—| - |  | 2|  7"
)
ODD_CHARACTERS = " \t\u00a0\u3000\x00\x04\x1d\x7f\u200d\u0308"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--proof", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--load", choices=("gptlib", "transformers"))  # what a child process does
    arguments = parser.parse_args()
    path = gguf_path()
    if arguments.load:
        print(json.dumps(loaded(arguments.load, path)))
    elif arguments.proof:
        proof(path)
    else:
        speed(path, arguments.rounds)


def peer_model(path: Path):
    from transformers import AutoModelForCausalLM

    folder, file = str(path.parent), path.name
    return AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype="float32").eval()


def peer_tokenizer(path: Path):
    """transformers' own, with the rule for digits that the file names ("smollm"), as on the hub:
    its reader of GGUF files leaves that rule out."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    return tokenizer


@torch.inference_mode()
def proof(path: Path) -> None:
    model, tokenizer = smollm2(path)
    theirs = peer_model(path)
    worst, same_order = 0.0, 0
    for prompt in [*PROMPTS[:10], *map(chat, PROMPTS[10:])]:
        ids = tokenizer.encode(prompt) if isinstance(prompt, str) else chat_ids(tokenizer, prompt)
        ids = torch.tensor([ids])
        ours, expected = model(ids)[0, -1], theirs(ids).logits[0, -1]
        worst = max(worst, ((ours - expected).abs().max() / expected.abs().max()).item())
        same_order += ours.topk(10).indices.tolist() == expected.topk(10).indices.tolist()
    print(f"last logits, {len(PROMPTS)} prompts: differ by {worst:.1e} of the largest at most, "
          f"top 10 in the same order in {same_order}")

    peers = peer_tokenizer(path)
    texts = made_texts(5000)
    equal = sum(
        tokenizer.encode(text) == peers.encode(text, add_special_tokens=False) for text in texts
    )
    back = sum(tokenizer.decode(tokenizer.encode(text)) == text for text in texts)
    print(f"ids: {equal} of {len(texts)} texts the same; {back} come back whole")
    question = chat("Hello there, how are 12 of you?")
    template = peers.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    print(f"chat form the same: {chat_ids(tokenizer, question) == peers.encode(template)}")

    same = 0
    for question, expected in QUESTIONS.items():
        ours = "".join(answer(model, tokenizer, question, 40))
        ids = torch.tensor([chat_ids(tokenizer, chat(question))])
        drawn = theirs.generate(
            ids, max_new_tokens=40, do_sample=False, attention_mask=torch.ones_like(ids),
        )[0, ids.shape[1] :]
        same += ours == peers.decode(drawn, skip_special_tokens=True)
        stored = "as stored" if ours.startswith(expected) else f"STORED: {expected!r}"
        print(f"  {question}  {ours!r}  {stored}")
    print(f"greedy answers: {same} of {len(QUESTIONS)} the same as transformers'")


def chat(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def made_texts(n: int) -> list[str]:
    """Code, digits, white space, emoji and other scripts, mixed; the same in every run."""
    words = load_text("pydoc")[20_000:120_000].split(" ")[:3000]
    odd = [*ODD_PIECES.split("|"), *ODD_CHARACTERS, "\r\n", "   ", "\n\n", " \n ", "    if a != b:"]
    draw = random.Random(0)
    return [
        "".join(draw.choice(odd if draw.random() < 0.6 else words) + draw.choice(["", " ", "\n"])
                for _ in range(draw.randint(1, 12)))
        for _ in range(n)
    ]


def loaded(which: str, path: Path) -> dict[str, float]:
    """Load time, seconds, and peak memory, bytes, of this process."""
    if which == "transformers":
        import transformers  # noqa: F401
    started = time.perf_counter()
    _ = (smollm2(path) if which == "gptlib" else (peer_model(path), peer_tokenizer(path)))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


@torch.inference_mode()
def speed(path: Path, rounds: int) -> None:
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} threads, medians of {rounds} turns")
    loads = {"gptlib": [], "transformers": []}
    for _ in range(3):
        for name, found in loads.items():
            child = [sys.executable, __file__, "--load", name]
            found.append(json.loads(subprocess.check_output(child, stderr=subprocess.DEVNULL)))
    for name, found in loads.items():
        seconds, peak = (min(run[key] for run in found) for key in ("seconds", "peak"))
        print(f"  {name:14} load {seconds:6.1f} s, peak {peak / 2**20:7,.0f} MiB (best of 3)")

    ours, theirs = smollm2(path)[0], peer_model(path)
    ids = torch.randint(49152, (1, 512), generator=torch.Generator().manual_seed(0))
    contestants = {
        "gptlib": lambda: ours.output_head(ours.hidden_states(ids)[:, -1]),
        "transformers": lambda: theirs(ids, logits_to_keep=1),
    }
    tell("prefill, 512 tokens", in_turns(contestants, rounds), 512)
    contestants = {
        "gptlib": lambda: decode(ours, ids[:, :64], 32),
        "transformers": lambda: decode_peer(theirs, ids[:, :64], 32),
    }
    tell("decode, 32 tokens after 64", in_turns(contestants, rounds), 32)
    bandwidth_limit(ours)


def decode(model: GPTModel, ids: torch.Tensor, n: int) -> None:
    cache = model.new_cache()
    for _ in range(n):
        ids = model.output_head(model.hidden_states(ids, cache)[:, -1:]).argmax(dim=-1)


def decode_peer(model, ids: torch.Tensor, n: int) -> None:
    cache = None
    for _ in range(n):
        output = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        ids, cache = output.logits[:, -1:].argmax(dim=-1), output.past_key_values


def bandwidth_limit(model: GPTModel) -> None:
    """How often all weights can be read in a second, by matrix times vector and nothing else."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [torch.randn(1, p.shape[1]) for p in matrices]

    def products() -> None:
        for matrix, vector in zip(matrices, vectors, strict=True):
            torch.nn.functional.linear(vector, matrix)

    seconds = statistics.median(in_turns({"products": products}, 9)["products"])
    print(f"  the matrix products alone: {1 / seconds:6.1f} tokens/s")


def tell(what: str, seconds: dict[str, list[float]], tokens: int) -> None:
    for name, times in seconds.items():
        ratio = median_ratio(times, seconds["gptlib"])
        print(f"  {name:14} {what}: {tokens / statistics.median(times):8.1f} tokens/s; "
              f"gptlib is {ratio:.2f} x as fast")


if __name__ == "__main__":
    main()
