"""The numbers that define a GPT, and a check that they fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields

from gptlib.checks import BELOW_1, nearest, number, one_of, shown, whole

GPT_CONFIG_124M = {
    "vocab_size": 50257,
    "context_length": 1024,
    "emb_dim": 768,
    "n_heads": 12,
    "n_layers": 12,
    "drop_rate": 0.1,
    "qkv_bias": False,
}

# Width and depth are those of Radford et al. (2019), table 2; the heads, 64 wide in every size, are
# those of the weights that were published.
GPT2_FAMILY = {
    "gpt2-small (124M)": GPT_CONFIG_124M,
    "gpt2-medium (355M)": {**GPT_CONFIG_124M, "emb_dim": 1024, "n_heads": 16, "n_layers": 24},
    "gpt2-large (774M)": {**GPT_CONFIG_124M, "emb_dim": 1280, "n_heads": 20, "n_layers": 36},
    "gpt2-xl (1558M)": {**GPT_CONFIG_124M, "emb_dim": 1600, "n_heads": 25, "n_layers": 48},
}

MOST, MOST_LAYERS = 100_000_000, 512  # far beyond every GPT; still larger ones overflow in torch


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT. It checks itself: a value that cannot work raises a ValueError."""

    vocab_size: int        # V: number of different tokens
    context_length: int    # the most tokens the model sees at once
    emb_dim: int           # C: width of the vector that stands for one token
    n_heads: int           # H: attention heads per block; each is C/H wide
    n_layers: int          # L: number of transformer blocks
    drop_rate: float       # share of activations dropped while training, 0 to below 1
    qkv_bias: bool         # whether the query, key and value projections add a bias
    tie_weights: bool = False  # one matrix serves as token embedding and as output head

    # What later models changed, in chapter 9. Each default is GPT-2's way.
    n_kv_heads: int | None = None     # K: heads of keys and values, shared by H/K queries; None: H
    norm: str = "layer"               # or "rms"
    norm_eps: float = 1e-5            # keeps a norm from dividing by 0
    positions: str = "learned"        # or "rotary"
    rotary_base: float = 10_000.0     # the slowest rotation takes about 6 times so many tokens
    feed_forward: str = "gelu"        # or "swiglu"
    hidden_dim: int | None = None     # width inside the feed-forward network; None: 4C
    output_bias: bool = True          # whether attention's output projection adds a bias

    @classmethod
    def of(cls, config: GPTConfig | Mapping) -> GPTConfig:
        """`config` as a GPTConfig, whether it is one already or a plain dictionary.

        Raises a ValueError that names an unknown key or all missing ones, a TypeError for the rest.
        """
        if isinstance(config, cls):
            return config
        if not isinstance(config, Mapping):
            raise TypeError(
                f"A configuration is a dictionary or a GPTConfig, not {type(config).__name__}; "
                "pass for example GPT_CONFIG_124M."
            )
        known = [field.name for field in fields(cls)]
        for key in config:
            if key not in known:
                raise ValueError(
                    f"Unknown configuration key {shown(key)}; allowed are {', '.join(known)}: "
                    f"{nearest(key, known)}"
                )
        required = [field.name for field in fields(cls) if field.default is MISSING]
        missing = [name for name in required if name not in config]
        if missing:
            raise ValueError(
                f"The configuration lacks {', '.join(map(repr, missing))}; all of "
                f"{', '.join(required)} are needed: add what is missing."
            )
        return cls(**config)

    def __post_init__(self) -> None:
        given = vars(self)  # what was checked is a plain number, also where it was NumPy's
        for name in ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers"):
            hint = f"{name}={GPT_CONFIG_124M[name]}, for example, as in GPT-2 small."
            most = MOST_LAYERS if name == "n_layers" else MOST
            given[name] = whole(name, given[name], hint, 1, most)
        rule, hint = "be a number from 0 to below 1", "use 0.0 for no dropout."
        given["drop_rate"] = number("drop_rate", self.drop_rate, rule, hint, most=BELOW_1)
        one_of("qkv_bias", self.qkv_bias, True, False)
        one_of("tie_weights", self.tie_weights, True, False)
        one_of("output_bias", self.output_bias, True, False)
        one_of("norm", self.norm, "layer", "rms")
        one_of("positions", self.positions, "learned", "rotary")
        one_of("feed_forward", self.feed_forward, "gelu", "swiglu")
        rule = "be a number above 0 and up to 1"
        given["norm_eps"] = number("norm_eps", self.norm_eps, rule, "1e-5 is usual.", 1e-12, 1)
        rule, hint = "be a number of at least 1", "10,000 is usual."
        given["rotary_base"] = number("rotary_base", self.rotary_base, rule, hint, 1, 1e12)
        if self.hidden_dim is not None:
            hint = "leave it out for four times emb_dim."
            given["hidden_dim"] = whole("hidden_dim", self.hidden_dim, hint, 1, MOST)
        if self.emb_dim % self.n_heads:
            raise ValueError(
                f"A width (emb_dim) of {self.emb_dim} is not divisible by {self.n_heads} heads "
                "(n_heads), but every head gets an equal share of the vector: choose from "
                f"{_divisors(self.emb_dim)} heads, or another width."
            )
        if self.n_kv_heads is not None:
            hint = f"leave it out for {self.n_heads}, one for each query head."
            given["n_kv_heads"] = whole("n_kv_heads", self.n_kv_heads, hint, 1, self.n_heads)
            if self.n_heads % self.n_kv_heads:
                raise ValueError(
                    f"{self.n_heads} query heads (n_heads) cannot share {self.n_kv_heads} heads of "
                    "keys and values (n_kv_heads) in equal groups: choose from "
                    f"{_divisors(self.n_heads)}, or leave it out."
                )
        if self.positions == "rotary" and self.head_dim % 2:
            raise ValueError(
                f"Rotary positions turn the numbers of a head in pairs, but {self.n_heads} heads "
                f"of emb_dim {self.emb_dim} are {self.head_dim} wide: choose an even width."
            )

    @property
    def head_dim(self) -> int:
        """D: width of one head."""
        return self.emb_dim // self.n_heads

    @property
    def key_heads(self) -> int:
        """K: heads of keys and values."""
        return self.n_kv_heads or self.n_heads

    @property
    def hidden_width(self) -> int:
        """Width inside the feed-forward network."""
        return self.hidden_dim or 4 * self.emb_dim

    def to_dict(self) -> dict:
        """The configuration as a plain dictionary; `GPTConfig.of` reads it back."""
        return asdict(self)


def _divisors(number: int) -> str:
    return ", ".join(str(n) for n in range(1, min(number, 64) + 1) if number % n == 0)
