"""SmolLM2, and GPT-2's layout, in this library beside `transformers` on the same files: the same
numbers, and how fast.

    python benchmarks/smollm2.py [--proof] [--rounds 5]

With --proof: logits on 20 prompts, ids of 5,000 texts, greedy answers to ten questions; without it,
load time, peak memory and tokens per second, of SmolLM2 and of random weights in GPT-2's layout.
Every model has a process, with one thread, and works in turns with the other; seconds are those of
the processor. Needs the extra `test`, and SmolLM2's file in the cache folder or a network, see
gptlib/pretrained/smollm2.py; transformers needs accelerate to read the very same file.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from tokenizers import pre_tokenizers

from gptlib.corpus import load_text
from gptlib.model import GPTModel
from gptlib.pretrained.gpt2 import load_gpt2
from gptlib.pretrained.smollm2 import answer, chat_ids, gguf_path, smollm2

TOKENS = {"prefill": 512, "decode": 32}      # decode: after 64 others
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
    parser.add_argument("--work", nargs=3)       # what a child process does
    parser.add_argument("--save-gpt2")           # another one
    arguments = parser.parse_args()
    if arguments.work:
        layout, library, path = arguments.work
        work(layout, library, Path(path))
    elif arguments.save_gpt2:
        save_gpt2(arguments.save_gpt2)
    elif arguments.proof:
        proof(gguf_path())
    else:
        speed(gguf_path(), arguments.rounds)


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


def speed(path: Path, rounds: int) -> None:
    print(f"torch {torch.__version__}, 1 thread, processor time, medians of {rounds} turns")
    compare("SmolLM2-135M", "smollm2", path, rounds)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "--save-gpt2", folder], check=True,
                       stderr=subprocess.DEVNULL)
        compare("GPT-2 124M, random weights", "gpt2", Path(folder), rounds)


def compare(title: str, layout: str, path: Path, rounds: int) -> None:
    """Two processes, one for each library, that load once and then work in turns."""
    workers = {name: Worker(layout, name, path) for name in ("gptlib", "transformers")}
    seconds = {job: {name: [] for name in workers} for job in TOKENS}
    for job, found in seconds.items():
        for turn in range(rounds + 1):
            for name, worker in workers.items():
                took = worker.do(job)
                if turn:                             # the first warms caches up
                    found[name].append(took)
    products = statistics.median(workers["gptlib"].do("products") for _ in range(rounds))
    print(f"\n{title:28}{'load s':>8}{'peak MiB':>10}{'prefill':>10}{'decode':>8} tokens/s")
    for name, worker in workers.items():
        rates = {job: TOKENS[job] / statistics.median(seconds[job][name]) for job in TOKENS}
        print(f"  {name:26}{worker.load:8.1f}{worker.do('peak') / 2**20:10,.0f}"
              f"{rates['prefill']:10.1f}{rates['decode']:8.1f}   decode: "
              f"{rates['decode'] * products:.0%} of the matrix products alone")
    for job in TOKENS:
        low, middle, high = statistics.quantiles(
            (theirs / ours for ours, theirs in zip(*seconds[job].values(), strict=True)), n=4)
        print(f"  {job}: gptlib is {middle:.3f} x as fast, in half of the turns {low:.3f} to "
              f"{high:.3f} x")
    for worker in workers.values():
        worker.end()


class Worker:
    """A process that has one model, and does a job as often as it is told."""

    def __init__(self, layout: str, library: str, path: Path):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--work", layout, library, str(path)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        self.load = float(self.process.stdout.readline())

    def do(self, job: str) -> float:
        """Processor seconds, or bytes for "peak"."""
        print(job, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def end(self) -> None:
        self.process.communicate()


@torch.inference_mode()
def work(layout: str, library: str, path: Path) -> None:
    """What a Worker's process does."""
    torch.set_num_threads(1)
    if library == "transformers":
        import transformers  # noqa: F401
    load = {
        ("smollm2", "gptlib"): lambda: smollm2(path)[0],
        ("smollm2", "transformers"): lambda: (peer_model(path), peer_tokenizer(path))[0],
        ("gpt2", "gptlib"): lambda: load_gpt2(path),
        ("gpt2", "transformers"): lambda: peer_gpt2().from_pretrained(path).eval(),
    }[layout, library]
    started = time.process_time()
    model = load()
    print(time.process_time() - started, flush=True)
    ids = torch.randint(49152, (1, 512), generator=torch.Generator().manual_seed(0))
    go_on = decode if library == "gptlib" else decode_peer
    jobs = {
        "prefill": lambda: go_on(model, ids, 1),
        "decode": lambda: go_on(model, ids[:, :64], TOKENS["decode"]),
        "products": partial(products, model),
    }
    for line in sys.stdin:
        job, started = line.strip(), time.process_time()
        if job == "peak":
            print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
        else:
            jobs[job]()
            print(time.process_time() - started, flush=True)


def peer_gpt2() -> type:
    from transformers import GPT2LMHeadModel

    return GPT2LMHeadModel


def save_gpt2(folder: str) -> None:
    from transformers import GPT2Config

    peer_gpt2()(GPT2Config()).save_pretrained(folder)


def decode(model: GPTModel, ids: torch.Tensor, n: int) -> None:
    cache = model.new_cache()
    for _ in range(n):
        ids = model.output_head(model.hidden_states(ids, cache)[:, -1:]).argmax(dim=-1)


def decode_peer(model, ids: torch.Tensor, n: int) -> None:
    cache = None
    for _ in range(n):
        output = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        ids, cache = output.logits[:, -1:].argmax(dim=-1), output.past_key_values


def products(model: GPTModel) -> None:
    """All weights once, by matrix times vector and nothing else: no token can take less."""
    for name, matrix in model.named_parameters():
        if matrix.dim() == 2 and not name.startswith("position"):
            torch.nn.functional.linear(torch.ones(1, matrix.shape[1]), matrix)


if __name__ == "__main__":
    main()
