"""Five questions about scale."""

from gptcourse.quizzes.quiz import Option, Question

_FORWARD, _TOKENS = 2e9, 1e6
_COST = 3 * _FORWARD * _TOKENS

_FIRST, _SECOND = 0.4, 0.2                     # loss above the floor at 1 and at 4 million tokens
_THIRD = _SECOND * _SECOND / _FIRST            # four times as many once more

QUESTIONS = (
    Question(
        f"A model takes {_FORWARD / 1e9:g} billion FLOPs to read a token. How many does it take "
        f"to train it on {_TOKENS / 1e6:g} million tokens?",
        right=Option(f"{_COST / 1e15:g} · 10¹⁵",
                     "The backward pass takes twice as many as the forward pass, so it's three "
                     "times 2 · 10⁹, for each of 10⁶ tokens."),
        wrong=(
            Option(f"{_COST / 3e15:g} · 10¹⁵", "That's the forward pass alone."),
            Option(f"{_COST * 2 / 3e15:g} · 10¹⁵", "That's the backward pass alone."),
            Option(f"{_COST * 2 / 1e15:g} · 10¹⁵",
                   "6 FLOPs belong to each weight. Two of them are in the 2 billion already."),
        ),
    ),
    Question(
        "Mixed precision computes products in bf16, and keeps the weights in float32. Why the "
        "weights?",
        right=Option(
            "A step is often too small to change a weight of so few digits",
            "In bf16, the next number below 1 is 0.996. A step of 0.001 is rounded away, and so "
            "are a thousand of them."),
        wrong=(
            Option("Some weights are too large for bf16",
                   "It reaches as far as float32, up to about 10³⁸. What it lacks is digits."),
            Option("Products of matrices are faster in float32",
                   "They're faster in bf16. That's why it's used for them."),
            Option("The file of the weights gets smaller",
                   "It gets twice as large: 4 bytes for a weight in place of 2."),
        ),
    ),
    Question(
        "Two processes train one model, but by mistake both draw the same windows. What happens?",
        right=Option(
            "It learns what one process would learn, at twice the cost",
            "The average of two equal gradients is that gradient. No number looks wrong, and the "
            "second process is wasted."),
        wrong=(
            Option("Their weights drift apart",
                   "Both step with the same average from the same weights, so they stay equal."),
            Option("The gradient is twice as long",
                   "A sum would be. Divided by two, it's what each of them had."),
            Option("The processes wait for each other forever",
                   "They do if one of them takes a step more than the other. Here both take as "
                   "many."),
        ),
    ),
    Question(
        f"By a power law, the loss above the floor is {_FIRST:g} after 1 million tokens and "
        f"{_SECOND:g} after 4 million. What is it after 16 million?",
        right=Option(f"{_THIRD:g}",
                     "Four times as many tokens halve it, wherever you start: that's what makes "
                     "it a power law."),
        wrong=(
            Option("0", "That's a straight line: the same step down again. A power law never "
                        "gets to 0."),
            Option("0.05", "That takes four times as many once more, 64 million."),
            Option("0.15", "Then four times as many tokens would no longer halve it."),
        ),
    ),
    Question(
        "Somebody fits a power law to the loss itself, without taking a floor away, and predicts "
        "a run with a thousand times as much text. What's wrong with that?",
        right=Option(
            "A power law goes to 0, and the loss can't",
            "No reader can foresee what is left to chance. Close to that floor the true curve "
            "bends away, and the straight line goes on."),
        wrong=(
            Option("Nothing, if the line fits the runs so far",
                   "A line can fit where you looked, and miss where you didn't. That's why the "
                   "prediction comes first, and then a run."),
            Option("The loss is in nats, and must be in bits",
                   "That's a constant factor, so the line is as straight as before."),
            Option("It takes parameters into account, and not text",
                   "It may be fitted against either. The floor is missing in both."),
        ),
    ),
)
