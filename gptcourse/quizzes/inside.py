"""Five questions about looking inside."""

import torch

from gptcourse.quizzes.quiz import Option, Question
from gptlib.inside import patch_effect

_CLEAN, _CORRUPTED, _PATCHED = 5.0, -3.0, 3.0
_EFFECT = patch_effect(*map(torch.tensor, (_CLEAN, _CORRUPTED, _PATCHED))).item()

QUESTIONS = (
    Question(
        "You silence a head, and the model forgets the color. What have you proved?",
        right=Option(
            "Something that this head hands over is needed",
            "That's all so far. Whether it's the color, only another story's value can tell."),
        wrong=(
            Option("The head carries the color",
                   "Head 7 was needed, too, and it carried the kind of thing. With another story's "
                   "value, the color stayed."),
            Option("No other head carries the color",
                   "Two heads did, and silencing either of them hurt."),
            Option("Nothing, because zeros are never proof",
                   "Zeros are crude, but where something is lost, something was needed."),
        ),
    ),
    Question(
        "You silence each head of a model in turn, and a fact is never lost. What follows?",
        right=Option(
            "No single head is needed as long as the others work",
            "Two may stand in for each other, as heads 1 and 4 do with the hero's name: silence "
            "pairs, and you see it."),
        wrong=(
            Option("No head keeps this fact",
                   "That's what the row of the hero looked like, and then two heads together lost "
                   "it all."),
            Option("The feed-forward networks keep it",
                   "They work on each token alone, so they can't fetch anything from the beginning "
                   "of a story."),
            Option("The model doesn't know the fact",
                   "It says the right word, so it does."),
        ),
    ),
    Question(
        f"The clean run has a lead of {_CLEAN:g}, the corrupted one of {_CORRUPTED:g}, and with a "
        f"patch it's {_PATCHED:g}. What's the effect of the patch?",
        right=Option(f"{_EFFECT:g}",
                     "The whole way is 5 − (−3) = 8, and the patch went 3 − (−3) = 6 of it."),
        wrong=(
            Option(f"{_PATCHED / _CLEAN:g}",
                   "That's 3 of 5. But the way begins at the corrupted run, at −3."),
            Option(f"{1 - _EFFECT:g}",
                   "That's the share of the way that is still missing."),
            Option(f"{_PATCHED - _CORRUPTED:g}",
                   "That's how far the patch went. Divide by the whole way."),
        ),
    ),
    Question(
        "A probe names the color from the vector of a token, and it's nearly always right. What "
        "does that tell you about the model?",
        right=Option(
            "The color can be read there; whether the model does so is open",
            "At the toy, and at the color itself after the first attention, a patch had no effect "
            "at all. Only a change in the model shows what the model uses."),
        wrong=(
            Option("The model gets the color from there",
                   "That's the step that the patch refuted: the probe reads what the model may "
                   "never look at."),
            Option("Nothing, because the probe may have learned the answers by heart",
                   "It was tested on stories that it hadn't seen, and with shuffled colors it fell "
                   "to the level of luck."),
            Option("The model will say the color next",
                   "It could be read at the color's own token, too, and the next word there is a "
                   "toy."),
        ),
    ),
    Question(
        "In the text … x p q … x p, an induction head is at the last token, the second p. What "
        "does it look at?",
        right=Option("The q", "It finds the earlier p, and looks at what came right after it."),
        wrong=(
            Option("The first p",
                   "That's the earlier copy itself. An induction head wants to know how it went "
                   "on."),
            Option("The first x", "That came before the earlier p, not after it."),
            Option("The second x",
                   "That's the token right before: a previous-token head, in a layer below, looks "
                   "there."),
        ),
    ),
)
