"""Five questions about pretrained weights."""

from gptcourse.quizzes.quiz import Option, Question
from gptlib.config import GPT_CONFIG_124M

_V, _C, _T, _L = (GPT_CONFIG_124M[key]
                  for key in ("vocab_size", "emb_dim", "context_length", "n_layers"))
_TABLE = _T * _C * 4

QUESTIONS = (
    Question(
        f"The header of a file says that `wpe.weight` has the shape [{_T}, {_C}] and the type F32. "
        "How far apart are its two data_offsets?",
        right=Option(
            f"{_TABLE:,} bytes",
            f"There are {_T} · {_C} numbers, and a float32 takes four bytes."),
        wrong=(
            Option(f"{_T * _C:,} bytes",
                   "That's how many numbers there are. Each of them takes four bytes."),
            Option(f"{_TABLE // 2:,} bytes",
                   "That would be F16, with two bytes for each number."),
            Option("It depends on where the tensor lies",
                   "Where it lies changes both of them, but not their distance."),
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
        "A file in GPT-2's layout comes without a configuration. Which of these can't you read off "
        "its tensors?",
        right=Option(
            "The number of heads",
            "The heads are cut only when the model runs. Their weights lie side by side in one "
            "matrix, however many there are."),
        wrong=(
            Option("The number of blocks",
                   "Each block has tensors of its own, with its number in their names."),
            Option("The length of the context",
                   "It's the number of rows of wpe.weight: one for each place."),
            Option("The size of the vocabulary",
                   "It's the number of rows of wte.weight: one for each token."),
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
                   "read well, and more than half of them were even right."),
            Option("The number of parameters is right",
                   "It's the same however the numbers are arranged."),
        ),
    ),
)
