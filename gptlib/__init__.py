"""GPT from scratch, chapter by chapter. Read the modules in the order of the imports below."""

from types import ModuleType

from gptlib.config import GPT2_FAMILY, GPT_CONFIG_124M, GPTConfig
from gptlib.tokenizer import BPETokenizer, gpt2_tokenizer
from gptlib.tap import Tap, patch, record, taps
from gptlib.attention import KVCache, MultiHeadAttention, attention_weights, causal_mask
from gptlib.blocks import GELU, FeedForward, LayerNorm, TransformerBlock
from gptlib.model import GPTModel, count_parameters, parameters_by_part
from gptlib.corpus import load_text
from gptlib.data import Batches, train_validation_split, windows
from gptlib.devices import best_device
from gptlib.training import (
    Step, TrainConfig, TrainingDiverged, TrainingRun, evaluate, next_token_loss,
)
from gptlib.generation import complete, generate, next_token
from gptlib.checkpoint import (
    load_model, load_newest_run, load_run, save_model, save_run, with_checkpoints,
)
from gptlib.trace import Trace
from gptlib.storyteller import tell_stories
from gptlib.inside import (
    induction_score, logit_lens, patch_effect, patched_logits, patching_map, silence,
)
from gptlib.scaling import PowerLaw, fit_power_law, lowest_point
from gptlib.token_files import open_tokens

# What `from gptlib import *` brings: no module of the package, it might be a name of yours.
__all__ = [
    name for name, value in globals().items()
    if not name.startswith("_") and not isinstance(value, ModuleType) and name != "ModuleType"
]
