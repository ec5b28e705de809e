"""Five questions about pretrained weights."""

from gptcourse.quizzes.quiz import Option, Question
from gptlib.config import GPT2_FAMILY, GPT_CONFIG_124M

_V, _C = GPT_CONFIG_124M["vocab_size"], GPT_CONFIG_124M["emb_dim"]
_XL = GPT2_FAMILY["gpt2-xl (1558M)"]
_WIDTH, _BLOCKS, _HEADS = _XL["emb_dim"], _XL["n_layers"], _XL["n_heads"]
_HEADER, _FIRST = 2616, 65_536

QUESTIONS = (
    Question(
        f"A file begins with the number {_HEADER}. In its header, a tensor has the data_offsets "
        f"[{_FIRST}, {_FIRST + 1536}]. At which byte of the file does the tensor begin?",
        right=Option(
            f"{8 + _HEADER + _FIRST:,}",
            "Offsets count from where the header ends: 8 bytes for its length, and then the header "
            "itself."),
        wrong=(
            Option(f"{_FIRST:,}",
                   "Offsets don't count from the beginning of the file, but from where the header "
                   "ends."),
            Option(f"{_HEADER + _FIRST:,}",
                   "Almost: the eight bytes that hold the header's length come before it."),
            Option(f"{_FIRST + 1536:,}",
                   "That's the offset of the byte after its last one, and it also counts from "
                   "where the header ends."),
        ),
    ),
    Question(
        "You turn every layer that is called c_ something. But in this file, somebody has stored "
        "one of them as (out, in) already. When does an error tell you?",
        right=Option(
            "For c_attn and the two of the feed-forward network, but not for attention's c_proj",
            "The others are oblong, so the wrong way around they don't fit. Attention's c_proj is "
            "square and fits either way."),
        wrong=(
            Option("Always: torch compares the shapes",
                   "It does, but a square matrix has the same shape both ways."),
            Option("Never: numbers are numbers",
                   "load_state_dict compares shapes, and most of these matrices aren't square."),
            Option("Only when the model writes its first token",
                   "By then there's no error any more. A square matrix that was turned the wrong "
                   "way multiplies as well as any other."),
        ),
    ),
    Question(
        "You find one of GPT-2's files without its config.json. `wte.weight` has the shape "
        f"[{_V}, {_WIDTH}], and the last block is `h.{_BLOCKS - 1}`. How many heads do you give "
        "the model?",
        right=Option(
            f"{_HEADS}",
            f"In all sizes of GPT-2 a head is 64 wide, and {_WIDTH} is {_HEADS} · 64. The file "
            "alone wouldn't tell you."),
        wrong=(
            Option(f"{_BLOCKS}", "That's the number of blocks: they count from 0."),
            Option("64", "That's how wide one head is, not how many there are."),
            Option(f"Any number that divides {_WIDTH}: the model is the same",
                   "Every such number fits, but only the one that it was trained with gives good "
                   "scores."),
        ),
    ),
    Question(
        "GPT-2's file has no `lm_head.weight`. Where does the output head come from?",
        right=Option(
            "From `wte.weight`: the head is tied to the token embedding",
            f"One matrix of {_V:,} rows serves twice, so it's stored once."),
        wrong=(
            Option("It was never trained, so it starts with random numbers",
                   "Then every score would be noise. GPT-2 was trained with the token embedding "
                   "in this place."),
            Option("From `ln_f.weight`",
                   f"That's the scale of the final norm, {_C} numbers. The head needs a row for "
                   "each token."),
            Option("From `wpe.weight`, the last table that's left",
                   "That's the table of places, with a row for each place and not for each token."),
        ),
    ),
    Question(
        "You've written a loader and want to be sure that it's right. Which of these is the best "
        "proof?",
        right=Option(
            "The model gives the same logits as another program that has the same weights",
            "If even one matrix is wrong, some logits differ, whether or not a reader would "
            "notice."),
        wrong=(
            Option("All names and shapes fit",
                   "They also fit when a square matrix is turned, or when query and key have "
                   "changed places."),
            Option("The text that it writes reads well",
                   "With one matrix of the last block turned, our storyteller told stories that "
                   "read well, and 57 of the 100 that we judged were even right."),
            Option("The number of parameters is right",
                   "It's the same however the numbers are arranged."),
        ),
    ),
)
