"""Exercises of chapter 6. Below each solution stand the mistakes that are known, with what a
learner is told about them; then the trials, then the exercise with its hints."""

from __future__ import annotations

import copy
import inspect
import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptcourse.exercises.answers import NumberAnswer, TensorAnswer, number, scalar
from gptcourse.exercises.exercise import Exercise, Property
from gptcourse.exercises.properties import gradient_reaches, normal, settings
from gptcourse.exercises.resemblance import Trial, relation, resemblance
from gptcourse.exercises.trial import attempt
from gptlib.optimizer import share_of_peak
from gptlib.training import next_token_loss

# ------------------------------------------------------------------------------- cross_entropy


def cross_entropy(logits, targets):
    """The mean surprise at the true next tokens, in nats: -log softmax(logits)[target].

    logits (B, T, V), targets (B, T) -> one number, as a tensor, so that gradients can flow back
    """
    log_probabilities = logits.log_softmax(dim=-1)                       # (B, T, V)
    true_ones = log_probabilities.gather(-1, targets[..., None])         # (B, T, 1)
    return -true_ones.mean()


def _no_minus(logits, targets):
    """The minus sign is missing: the logarithm of a probability is negative, a surprise is not."""
    return logits.log_softmax(dim=-1).gather(-1, targets[..., None]).mean()


def _no_softmax(logits, targets):
    """These are scores, not yet probabilities: the softmax over the vocabulary is missing, and its
    logarithm."""
    return -_at_targets(logits, targets).mean()


def _softmax_over_tokens(logits, targets):
    """The softmax runs over the tokens of the text: it must run over the vocabulary, dim=-1."""
    return -_at_targets(logits.log_softmax(dim=1), targets).mean()


def _softmax_over_batch(logits, targets):
    """The softmax runs over the batch: it must run over the vocabulary, dim=-1."""
    return -_at_targets(logits.log_softmax(dim=0), targets).mean()


def _softmax_twice(logits, targets):
    """The softmax is applied twice: torch's cross_entropy and log_softmax take raw scores and do
    it themselves."""
    return -_at_targets(logits.softmax(dim=-1).log_softmax(dim=-1), targets).mean()


def _no_logarithm(logits, targets):
    """The logarithm is missing: this is the mean probability of the true tokens."""
    return _at_targets(logits.softmax(dim=-1), targets).mean()


def _minus_probability(logits, targets):
    """The logarithm is missing: this is minus the mean probability of the true tokens."""
    return -_at_targets(logits.softmax(dim=-1), targets).mean()


def _one_minus_probability(logits, targets):
    """This is 1 minus the probability: surprise is minus its logarithm, which adds up over a
    text."""
    return (1 - _at_targets(logits.softmax(dim=-1), targets)).mean()


def _averaged_too_early(logits, targets):
    """You average the probabilities and take the logarithm then: take the logarithm of each, and
    average these."""
    return -_at_targets(logits.softmax(dim=-1), targets).mean().log()


def _summed(logits, targets):
    """These are the surprises of all tokens added up: take their mean, so that the loss does not
    depend on the size of the batch."""
    return -_at_targets(logits.log_softmax(dim=-1), targets).sum()


def _per_text(logits, targets):
    """You add up the tokens of each text and average over the texts only: divide by the number of
    all tokens, B times T."""
    return -_at_targets(logits.log_softmax(dim=-1), targets).sum() / len(targets)


def _averaged_over_vocabulary(logits, targets):
    """You divide by the size of the vocabulary, too: there is one surprise per token, so divide
    by B times T."""
    return -_at_targets(logits.log_softmax(dim=-1), targets).mean() / logits.shape[-1]


def _targets_unused(logits, targets):
    """This is the mean over all tokens of the vocabulary: only the entry of the true one counts,
    so pick it with gather."""
    return -logits.log_softmax(dim=-1).mean()


def _best_instead_of_true(logits, targets):
    """You look up the most probable token: look up the true one, whose id stands in targets."""
    return -logits.log_softmax(dim=-1).amax(dim=-1).mean()


def _last_token(logits, targets):
    """Only the last token of each text counts: all of them do."""
    return -_at_targets(logits.log_softmax(dim=-1), targets)[:, -1].mean()


def _first_token(logits, targets):
    """Only the first token of each text counts: all of them do."""
    return -_at_targets(logits.log_softmax(dim=-1), targets)[:, 0].mean()


def _last_text(logits, targets):
    """Only the last text of the batch counts: all of them do."""
    return -_at_targets(logits.log_softmax(dim=-1), targets)[-1].mean()


def _first_text(logits, targets):
    """Only the first text of the batch counts: all of them do."""
    return -_at_targets(logits.log_softmax(dim=-1), targets)[0].mean()


def _shifted_again(logits, targets):
    """You move the targets on by one, but they are the next tokens already: position t of logits
    belongs to position t of targets."""
    return -_at_targets(logits.log_softmax(dim=-1)[:, :-1], targets[:, 1:]).mean()


def _shifted_back(logits, targets):
    """You compare each position with the target before it: position t of logits belongs to
    position t of targets."""
    return -_at_targets(logits.log_softmax(dim=-1)[:, 1:], targets[:, :-1]).mean()


def _not_averaged(logits, targets):
    """This is the surprise at each token: the mean over all of them is missing."""
    return -_at_targets(logits.log_softmax(dim=-1), targets)


def _in_bits(logits, targets):
    """This is in bits: use the natural logarithm, log and not log2."""
    return -_at_targets(logits.log_softmax(dim=-1), targets).mean() / math.log(2)


def _exponentiated(logits, targets):
    """This is the perplexity: leave out the exponential at the end."""
    return cross_entropy(logits, targets).exp()


def _not_flattened(logits, targets):
    """torch's cross_entropy looks for the vocabulary on the second axis: flatten B and T into one,
    logits.flatten(0, 1) and targets.flatten()."""
    return F.cross_entropy(logits, targets)


def _squared(logits, targets):
    """This is the squared distance between probabilities and truth: a language model is measured
    by the logarithm of the true token's probability."""
    truth = F.one_hot(targets, logits.shape[-1])
    return (logits.softmax(dim=-1) - truth).square().mean()


def _all_targets_everywhere(logits, targets):
    """You look up all targets at every position: each position has one of its own, and gather
    picks just that."""
    return -logits.log_softmax(dim=-1)[..., targets].mean()


def _gathered_along_tokens(logits, targets):
    """You gather along the tokens: the ids are places in the vocabulary, so it is
    gather(-1, ...)."""
    return -logits.log_softmax(dim=-1).gather(1, targets[..., None]).mean()


def _divided_by_batch(logits, targets):
    """You divide by the number of texts once more: the mean is enough."""
    return cross_entropy(logits, targets) / len(targets)


def _one_softmax_for_all(logits, targets):
    """You divide by the sum over all positions: each position has a softmax of its own, so add up
    along the vocabulary only, with dim=-1."""
    logs = logits - logits.flatten().logsumexp(dim=0)
    return -_at_targets(logs, targets).mean()


def _one_softmax_per_text(logits, targets):
    """You divide by the sum over all positions of a text: each position has a softmax of its own,
    so add up along the vocabulary only, with dim=-1."""
    logs = logits - logits.flatten(1).logsumexp(dim=1)[:, None, None]
    return -_at_targets(logs, targets).mean()


def _base_ten(logits, targets):
    """You use the logarithm to base 10: use the natural one, log and not log10."""
    return cross_entropy(logits, targets) / math.log(10)


def _axes_cut_anew(logits, targets):
    """A reshape to (B, V, T) cuts the scores into other rows, it does not turn the axes: flatten B
    and T, or use transpose(1, 2)."""
    B, T, V = logits.shape
    return F.cross_entropy(logits.reshape(B, V, T), targets)


def _rows_cut_anew(logits, targets):
    """A reshape to (V, ...) cuts the scores into other rows, and .T does not mend it: flatten B and
    T, logits.flatten(0, 1), and leave V where it is."""
    V = logits.shape[-1]
    return F.cross_entropy(logits.reshape(V, -1).T, targets.flatten())


def _positions_first(logits, targets):
    """Scores and targets no longer belong together: you transpose the first two axes of one of
    them only."""
    return F.cross_entropy(logits.transpose(0, 1).flatten(0, 1), targets.flatten())


def _targets_transposed(logits, targets):
    """Scores and targets no longer belong together: leave the targets as they are, (B, T), without
    .T."""
    return F.cross_entropy(logits.flatten(0, 1), targets.T.flatten())


def _last_left_out(logits, targets):
    """The last token of each text is left out: position t of logits belongs to position t of
    targets, the last one, too."""
    surprises = -_at_targets(logits.log_softmax(dim=-1), targets)
    return surprises[:, :-1].sum() / targets.numel()


def _returned_too_early(logits, targets):
    """Only the first text is added up: let no `return` stand within the loop."""
    return -_at_targets(logits.log_softmax(dim=-1), targets)[0].mean() / len(targets)


def _sigmoid(logits, targets):
    """You use a sigmoid, which looks at each score by itself: softmax compares each with all
    others of its row."""
    return -_at_targets(F.logsigmoid(logits), targets).mean()


def _binary(logits, targets):
    """A binary cross entropy asks of each token by itself whether it comes: just one of all comes,
    so take a softmax over the vocabulary."""
    truth = F.one_hot(targets, logits.shape[-1]).to(logits)
    return F.binary_cross_entropy_with_logits(logits, truth)


def _only_the_largest(logits, targets):
    """You subtract the largest score of each row: subtract the logarithm of the sum of all
    exponentials, which is logsumexp."""
    return (logits.amax(dim=-1) - _at_targets(logits, targets)).mean()


def _mean_of_exponentials_inside(logits, targets):
    """You average the exponentials of a row: a softmax divides by their sum."""
    return (logits.exp().mean(dim=-1).log() - _at_targets(logits, targets)).mean()


def _sum_without_logarithm(logits, targets):
    """The logarithm of the sum is missing: log softmax is the score less the logarithm of the sum
    of all exponentials."""
    return (logits.exp().sum(dim=-1) - _at_targets(logits, targets)).mean()


def _one_by_probability(logits, targets):
    """This is 1 divided by the probability: surprise is the logarithm of that."""
    return (1 / _at_targets(logits.softmax(dim=-1), targets)).mean()


def _zeros_ignored(logits, targets):
    """You leave out targets that are 0: token 0 is a token like any other, so leave out
    ignore_index."""
    surprises = -_at_targets(logits.log_softmax(dim=-1), targets)
    return surprises[targets != 0].mean()


def _texts_by_target(logits, targets):
    """By [targets] you take whole texts, for square brackets pick along the first axis: gather
    picks within each row."""
    return -logits.log_softmax(dim=-1)[targets].mean()


def _places_by_target(logits, targets):
    """By [:, targets] you take positions, the second axis: the targets are places in the
    vocabulary, the last axis, where gather(-1, ...) picks."""
    return -logits.log_softmax(dim=-1)[:, targets].mean()


def _summed_no_minus(logits, targets):
    """The minus sign is missing, and the mean: these are all logarithms added up."""
    return _at_targets(logits.log_softmax(dim=-1), targets).sum()


def _share_of_errors(logits, targets):
    """You count how often the best token is not the true one: the loss asks how probable the true
    one was."""
    return (logits.argmax(dim=-1) != targets).to(logits).mean()


def _entropy(logits, targets):
    """This is the entropy of the prediction, which does not ask what came next: pick the true
    token with gather."""
    log_probabilities = logits.log_softmax(dim=-1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=-1).mean()


def _at_targets(x, targets):
    return x.gather(-1, targets[..., None])[..., 0]                      # (B, T)


def _axis_in_front(logits, targets):
    """The new axis of targets stands in front: it belongs at the end, targets[..., None], so that
    each position has one place to look at."""
    return -logits.log_softmax(dim=-1).gather(-1, targets[None]).mean()


@dataclass(frozen=True)
class LossAnswer(TensorAnswer):
    """A single number as a tensor, with what a beginner should know about it."""

    def malformed(self, answer: Any, expected: Tensor) -> str | None:
        if isinstance(answer, (int, float)) and not isinstance(answer, bool):
            return (f"you return a plain number, but the {self.name} must stay a tensor, or no "
                    "gradient can flow back through it: leave out .item() and float().")
        if isinstance(answer, Tensor) and answer.shape != expected.shape:
            return (f"your {self.name} has shape {tuple(answer.shape)}, but must be one number, of "
                    "shape (): average over all tokens.")
        return super().malformed(answer, expected)

    def _place(self, index: tuple) -> str:
        return f"the {self.name}"


def _scores(generator, B, T, V):
    return 2 * normal(generator, B, T, V), torch.randint(V, (B, T), generator=generator)


def _scores_and_targets(generator):
    """Sizes all different; some targets are improbable; a text of one token."""
    for sizes in ((2, 3, 5), (3, 5, 4), (4, 2, 7), (1, 6, 3), (5, 1, 8)):
        yield _scores(generator, *sizes)


def _fails_for_large_scores(answer):
    logits = torch.tensor([[[300.0, 0.0, -200.0], [1000.0, -50.0, 1000.5]]])
    targets = torch.tensor([[1, 2]])
    expected = next_token_loss(logits, targets).item()
    got = float(answer(logits.clone(), targets.clone()))
    if math.isclose(got, expected, rel_tol=1e-4):
        return None
    return (f"the numbers are right, but for scores of several hundred it gives {got:.4g} instead "
            f"of {expected:.4g}: exp() grows beyond every number there, or softmax gives a 0 that "
            "has no logarithm. log_softmax takes both steps at once, safely.")


CROSS_ENTROPY = Exercise(
    "06.cross_entropy",
    goal="Measure how much a text surprises a model.",
    solution=cross_entropy,
    reference=next_token_loss,
    returns=LossAnswer("loss", ()),
    cases=lambda generator: list(_scores_and_targets(generator)),
    mistakes=[_no_minus, _no_softmax, _softmax_over_tokens, _softmax_over_batch, _softmax_twice,
              _no_logarithm, _minus_probability, _one_minus_probability, _averaged_too_early,
              _summed, _per_text, _averaged_over_vocabulary, _targets_unused, _best_instead_of_true,
              _last_token, _first_text, _shifted_again, _shifted_back, _not_averaged, _in_bits,
              _exponentiated, _not_flattened, _squared, _entropy, _all_targets_everywhere,
              _gathered_along_tokens, _divided_by_batch, _base_ten, _share_of_errors,
              _axes_cut_anew, _summed_no_minus, _one_softmax_for_all, _rows_cut_anew,
              _positions_first, _targets_transposed, _last_left_out, _returned_too_early, _sigmoid,
              _binary, _only_the_largest, _mean_of_exponentials_inside, _sum_without_logarithm,
              _one_by_probability, _zeros_ignored, _texts_by_target, _places_by_target,
              _first_token, _last_text, _one_softmax_per_text, _axis_in_front],
    hints=(
        "Step 1 of the chapter did it for one position and every possible target. Here are B "
        "times T positions, and the target of each says which entry of its row counts.",
        """
        1. the logarithm of the softmax, over the vocabulary: (B, T, V)
        2. from each row the entry of its target: gather along the last axis picks it, and needs
           targets of shape (B, T, 1)
        3. minus the mean over all of them
        """,
        """
        log_probabilities = logits.log_softmax(dim=-1)        # (B, T, V)
        true_ones = log_probabilities.gather(-1, targets[..., None])
        return ...                                            # one number, above 0
        """,
    ),
    properties=[
        Property("safe for large scores", _fails_for_large_scores),
        gradient_reaches(("logits",), lambda generator: _scores(generator, 2, 3, 5),
                         cross_entropy),
    ],
)


# ---------------------------------------------------------------------------------- perplexity


def perplexity(surprises):
    """Among how many equally likely tokens a model hesitates: e to the mean surprise.

    surprises (...) in nats, one for each token -> one number, at least 1
    """
    return math.exp(surprises.mean())


def _mean_of_exponentials(surprises):
    """You take the exponential of each surprise and average these: average the surprises first,
    then take the exponential once."""
    return surprises.exp().mean()


def _exponential_of_each(surprises):
    """You take the exponential of each surprise, and return them all: average the surprises first,
    then take the exponential once."""
    return surprises.exp()


def _exponential_of_several(surprises):
    """Python's math.exp takes one number, but the tensor holds several: average all of them at once
    before it, with .mean()."""
    return math.exp(surprises)


def _mean_to_the_e(surprises):
    """Base and exponent are swapped: raise e to the mean, math.e ** mean, which is exp."""
    return surprises.mean() ** math.e


def _power_of_two(surprises):
    """You raise 2 to the mean, which is right for bits: these are nats, so raise e, with exp."""
    return 2 ** surprises.mean()


def _no_exponential(surprises):
    """This is the loss, in nats: the exponential is missing."""
    return surprises.mean()


def _exponential_of_sum(surprises):
    """You add the surprises up: take their mean, so that a long text is no worse than a short
    one."""
    return surprises.sum().exp()


def _probability(surprises):
    """This is the typical probability of a token, below 1: leave out the minus sign, and it
    becomes a number of tokens."""
    return (-surprises.mean()).exp()


def _of_mean_probability(surprises):
    """You average the probabilities of the tokens: average their surprises, which are logarithms,
    and take the exponential then."""
    return 1 / (-surprises).exp().mean()


def _of_median(surprises):
    """This uses the median: use the mean, so that every surprise counts."""
    return surprises.median().exp()


def _of_bits(surprises):
    """You turn nats into bits before the exponential: e belongs to nats as they are, and 2 would
    belong to bits."""
    return (surprises.mean() / math.log(2)).exp()


def _logarithm(surprises):
    """You take the logarithm: surprises are logarithms already, and exp turns one back."""
    return surprises.mean().log()


def _power_of_ten(surprises):
    """You raise 10 to the mean: these are nats, so raise e, with exp."""
    return 10 ** surprises.mean()


def _of_largest(surprises):
    """This uses the largest surprise: use the mean of all."""
    return surprises.max().exp()


def _per_row(surprises):
    """You add everything up, but divide by the number of rows only: divide by the number of
    tokens, as .mean() does."""
    return (surprises.sum() / len(surprises)).exp()


def _divided_after(surprises):
    """You divide by the number of tokens after the exponential: divide the sum first, then take
    e to the power of it."""
    return surprises.sum().exp() / surprises.numel()


def _logarithm_of_each(surprises):
    """You take a logarithm of each surprise, which is minus a logarithm already: average them as
    they are, then exp."""
    return (-surprises.log().mean()).exp()


def _first_row(surprises):
    """You look at the first row only: average over all of them."""
    return surprises[0].mean().exp()


def _power_of_two_of_sum(surprises):
    """You raise 2 to the sum: these are nats, so raise e, with exp, and to the mean."""
    return 2 ** surprises.sum()


def _mean_probability(surprises):
    """This is the mean probability of the tokens, below 1: leave out the minus, and average the
    surprises before the exponential."""
    return (-surprises).exp().mean()


def _each_row(surprises):
    """You average each row by itself: average over all tokens at once, .mean() without dim."""
    return surprises.mean(dim=-1).exp()


def _mean_of_rows(surprises):
    """You take one perplexity for each row and average these: average all surprises at once, then
    take the exponential once."""
    return surprises.mean(dim=-1).exp().mean()


def _geometric_mean(surprises):
    """This is the geometric mean of the surprises: do not multiply them, nor take their logarithm,
    but average them, for they are logarithms already, and then take the exponential."""
    return surprises.prod() ** (1 / surprises.numel())


def _without_zeros(surprises):
    """You leave out tokens whose surprise is 0: a certain token counts in the mean, too."""
    return surprises[surprises > 0].mean().exp()


def _product_of_all(surprises):
    """The product over all tokens grows beyond every number in a long text: average the surprises
    first, then take the exponential."""
    return surprises.exp().prod() ** (1 / surprises.numel())


def _per_column(surprises):
    """You add everything up, but divide by the size of the last axis only: divide by the number of
    tokens, as .mean() does."""
    return (surprises.sum() / surprises.shape[-1]).exp()


def _sum_of_exponentials(surprises):
    """You take the exponential of each surprise and add these up: average the surprises first, then
    take the exponential once."""
    return surprises.exp().sum()


def _weighted(surprises):
    """You weight each surprise by its probability, as in an entropy: the tokens of a text have come
    already, so each counts once, as in .mean()."""
    return ((-surprises).exp() * surprises).sum().exp()


def _bits_the_wrong_way(surprises):
    """You multiply by log 2: to turn nats into bits, divide by it; or stay with nats, and raise
    e."""
    return 2 ** (surprises.mean() * math.log(2))


def _in_bits_at_the_end(surprises):
    """This is the mean in bits: take e to the power of it, in nats."""
    return surprises.mean() / math.log(2)


def _one_less(surprises):
    """You divide by one less than there are tokens: divide by their number, as .mean() does."""
    return (surprises.sum() / (surprises.numel() - 1)).exp()


def _without_first(surprises):
    """You leave out the first surprise: there is one for each token, and all of them count."""
    return surprises.flatten()[1:].mean().exp()


def _first_in_loop(surprises):
    """Only the first surprise is added up: let no `return` stand within the loop."""
    return (surprises.flatten()[0] / surprises.numel()).exp()


def _last_in_loop(surprises):
    """Only the last surprise is left: begin the sum before the loop, and add to it with +=."""
    return (surprises.flatten()[-1] / surprises.numel()).exp()


def _mean_cut_off(surprises):
    """The mean is rounded to a whole number before the exponential: mind //, int() and .long()."""
    return surprises.mean().floor().exp()


def _times_e(surprises):
    """You multiply e by the mean: raise e to the power of it, with exp."""
    return math.e * surprises.mean()


def _of_softmax(surprises):
    """You take a softmax of the surprises, whose mean is the same whatever they are: surprises are
    logarithms of probabilities already, so average them as they are."""
    return surprises.softmax(dim=-1).mean().exp()


def _divided_by_log_two(surprises):
    """You divide after 2 is raised, as if brackets were missing: nats divided by log 2 are bits, so
    it would be 2 ** (mean / log 2)."""
    return 2 ** surprises.mean() / math.log(2)


def _less_one(surprises):
    """This is 1 too little: exp is enough, expm1 subtracts 1."""
    return surprises.mean().exp() - 1


def _to_average(generator):
    """The surprises of a text, of a batch, of a single token; those at what was nearly or wholly
    certain; and a long text, for which e to the power of the sum is beyond all numbers."""
    for shape in ((3,), (2, 4), (1,), (3, 5, 2)):
        yield (-torch.log(0.05 + 0.95 * torch.rand(shape, generator=generator)),)
    yield (torch.full((6,), 0.001),)
    yield (torch.tensor([0.0, 2.0, 0.0, 1.0]),)
    yield (torch.full((300,), 6.0),)


PERPLEXITY = Exercise(
    "06.perplexity",
    goal="Turn a loss back into a number of tokens.",
    solution=perplexity,
    reference=perplexity,                      # a test holds it and the loss of a model together
    returns=NumberAnswer("perplexity"),
    cases=lambda generator: list(_to_average(generator)),
    mistakes=[_mean_of_exponentials, _power_of_two, _no_exponential, _exponential_of_sum,
              _probability, _of_mean_probability, _of_median, _of_bits, _logarithm, _power_of_ten,
              _of_largest, _per_row, _less_one, _divided_after, _logarithm_of_each,
              _power_of_two_of_sum, _mean_probability, _each_row, _mean_of_rows, _geometric_mean,
              _without_zeros, _product_of_all, _first_row, _per_column, _sum_of_exponentials,
              _weighted, _bits_the_wrong_way, _in_bits_at_the_end, _first_in_loop, _last_in_loop,
              _mean_cut_off, _times_e, _of_softmax, _one_less, _without_first, _divided_by_log_two,
              _exponential_of_each, _exponential_of_several, _mean_to_the_e],
    hints=(
        "Who guesses among 8 equally likely tokens pays log 8 nats. What undoes a logarithm? And "
        "does the average come before it, or after?",
        """
        1. the mean of all surprises
        2. e to the power of it
        """,
        """
        loss = surprises.mean()
        return ...                            # math.exp, or loss.exp()
        """,
    ),
)


# ---------------------------------------------------------------------------------- train_step


def train_step(model, optimizer, inputs, targets, clip_norm):
    """One step of training. Changes the model, and returns the loss before the change.

    inputs (B, T), targets (B, T); a gradient longer than clip_norm is cut to that length
    """
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item()


def _no_clip(model, optimizer, inputs, targets, clip_norm):
    """The gradient is not cut when the optimizer uses it: clip_grad_norm_ with model.parameters()
    and clip_norm belongs after backward, which computes the gradient, and before step, which uses
    it."""
    optimizer.zero_grad()
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()
    return loss.item()


def _clipped_too_late(model, optimizer, inputs, targets, clip_norm):
    """The gradient is cut after the step, when it has been used already: clip_grad_norm_ belongs
    between backward and step."""
    loss = _no_clip(model, optimizer, inputs, targets, clip_norm)
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    return loss


def _gradients_add_up(model, optimizer, inputs, targets, clip_norm):
    """The first step is right, but the second one still uses the first one's gradient: backward
    adds to what is there, so call optimizer.zero_grad() before it."""
    loss = _backward(model, inputs, targets)
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss


def _cut_by_value(model, optimizer, inputs, targets, clip_norm):
    """You cut each number of the gradient by itself, which turns its direction: clip_grad_norm_
    makes the whole of it shorter."""
    optimizer.zero_grad()
    loss = _backward(model, inputs, targets)
    nn.utils.clip_grad_value_(model.parameters(), clip_norm)
    optimizer.step()
    return loss


def _cut_by_part(model, optimizer, inputs, targets, clip_norm):
    """You cut the gradient of each tensor by itself: it is the length of all of them together that
    counts, so give clip_grad_norm_ all parameters at once."""
    optimizer.zero_grad()
    loss = _backward(model, inputs, targets)
    for parameter in model.parameters():
        nn.utils.clip_grad_norm_(parameter, clip_norm)
    optimizer.step()
    return loss


def _always_that_length(model, optimizer, inputs, targets, clip_norm):
    """You bring every gradient to the length clip_norm: one that is shorter stays as it is."""
    optimizer.zero_grad()
    loss = _backward(model, inputs, targets)
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    for parameter in model.parameters():
        parameter.grad.mul_(clip_norm / norm)
    optimizer.step()
    return loss


def _cut_at_one(model, optimizer, inputs, targets, clip_norm):
    """The gradient is always cut at 1: use clip_norm, which is given."""
    return train_step(model, optimizer, inputs, targets, 1.0)


def _loss_afterward(model, optimizer, inputs, targets, clip_norm):
    """The weights are right, but this is the loss after the step: return the one from which the
    gradient was computed."""
    train_step(model, optimizer, inputs, targets, clip_norm)
    return next_token_loss(model(inputs), targets).item()


def _returns_norm(model, optimizer, inputs, targets, clip_norm):
    """The weights are right, but this is the length of the gradient: return the loss."""
    optimizer.zero_grad()
    next_token_loss(model(inputs), targets).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return norm.item()


def _uphill(model, optimizer, inputs, targets, clip_norm):
    """The weights move uphill: the optimizer goes against the gradient by itself, so the loss
    needs no minus sign before backward."""
    return _step_with(lambda x, y: -next_token_loss(x, y), model, optimizer, inputs, targets,
                      clip_norm)


def _predicts_its_input(model, optimizer, inputs, targets, clip_norm):
    """The scores are compared with the inputs, which the model has just read: compare them with
    the targets."""
    return train_step(model, optimizer, inputs, inputs, clip_norm)


def _reads_the_targets(model, optimizer, inputs, targets, clip_norm):
    """The model reads the targets, which it is to predict: give it the inputs."""
    return train_step(model, optimizer, targets, targets, clip_norm)


def _swapped(model, optimizer, inputs, targets, clip_norm):
    """Inputs and targets are swapped: the model reads the inputs and is to predict the targets."""
    return train_step(model, optimizer, targets, inputs, clip_norm)


def _scores_not_flattened(model, optimizer, inputs, targets, clip_norm):
    """You give scores of three axes to torch's cross_entropy, which looks for the vocabulary on
    the second: use next_token_loss."""
    return F.cross_entropy(model(inputs), targets)


def _number_too_early(model, optimizer, inputs, targets, clip_norm):
    """You take the number out of the tensor too early, and with it goes the way back: call
    backward on the tensor, and .item() at the end."""
    return next_token_loss(model(inputs), targets).item().backward()


def _targets_as_scores(model, optimizer, inputs, targets, clip_norm):
    """You give next_token_loss ids in place of scores: it takes the scores first, which the model
    computes, and then the targets."""
    return next_token_loss(targets, model(inputs))


def _model_never_called(model, optimizer, inputs, targets, clip_norm):
    """The model is never called: next_token_loss takes its scores, model(inputs), and not the
    ids."""
    return next_token_loss(inputs, targets)


def _backward_of_optimizer(model, optimizer, inputs, targets, clip_norm):
    """An optimizer has no backward: backward belongs to the loss, loss.backward()."""
    optimizer.backward(next_token_loss(model(inputs), targets))


def _model_given_targets(model, optimizer, inputs, targets, clip_norm):
    """The model takes the inputs only, and returns scores: next_token_loss makes the loss of these
    and the targets."""
    return model(inputs, targets)


def _clip_norm_first(model, optimizer, inputs, targets, clip_norm):
    """The arguments are swapped: clip_grad_norm_ takes the parameters first, and then clip_norm."""
    nn.utils.clip_grad_norm_(clip_norm, model.parameters())


def _not_recorded(model, optimizer, inputs, targets, clip_norm):
    """The way from the weights to the loss was not recorded: compute the loss from the scores
    themselves, without torch.no_grad(), .detach() and argmax."""
    return next_token_loss(model(inputs), targets).detach().backward()


def _clips_the_model(model, optimizer, inputs, targets, clip_norm):
    """You give clip_grad_norm_ the model: give it the parameters, model.parameters()."""
    _backward(model, inputs, targets)
    nn.utils.clip_grad_norm_(model, clip_norm)


def _late_clip_and_loss(model, optimizer, inputs, targets, clip_norm):
    """This is the loss after the step: return the one from which the gradient was computed. And
    the gradient must be cut before the step."""
    _no_clip(model, optimizer, inputs, targets, clip_norm)
    return next_token_loss(model(inputs), targets).item()


def _every_target_counts(model, optimizer, inputs, targets, clip_norm):
    """Targets of -100 fill up short stories and do not count, but your own loss looks them up:
    use next_token_loss, which leaves them out."""
    def own_loss(logits, targets):
        return -logits.log_softmax(dim=-1).gather(-1, targets[..., None]).mean()

    return _step_with(own_loss, model, optimizer, inputs, targets, clip_norm)


def _mean_of_means(model, optimizer, inputs, targets, clip_norm):
    """You average each text by itself, and then the averages: where some targets are -100 and do
    not count, texts have different lengths, so average over all tokens at once."""
    def own_loss(logits, targets):
        pairs = zip(logits.split(1), targets.split(1), strict=True)
        return torch.stack([next_token_loss(*pair) for pair in pairs]).mean()

    return _step_with(own_loss, model, optimizer, inputs, targets, clip_norm)


def _divided_by_all(model, optimizer, inputs, targets, clip_norm):
    """You divide by the number of all targets: those of -100 do not count, so use next_token_loss,
    which leaves them out of the mean, too."""
    def own_loss(logits, targets):
        return next_token_loss(logits, targets) * (targets >= 0).sum() / targets.numel()

    return _step_with(own_loss, model, optimizer, inputs, targets, clip_norm)


def _backward(model, inputs, targets):
    loss = next_token_loss(model(inputs), targets)
    loss.backward()
    return loss.item()


def _step_with(loss_of, model, optimizer, inputs, targets, clip_norm):
    optimizer.zero_grad()
    loss = loss_of(model(inputs), targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item()


class _Noting:
    """An optimizer that notes how often it steps, by which gradient, and what it forgets."""

    def zero_grad(self, set_to_none=True):
        notes = self.param_groups[0]                    # what stands there stays with a copy
        if "steps" not in notes and _gradient(notes["params"]).any():
            notes["wasted"] = True
        super().zero_grad(set_to_none)

    def step(self, closure=None):
        loss = super().step(closure)
        notes = self.param_groups[0]
        notes["steps"] = notes.get("steps", 0) + 1
        notes["used"] = _gradient(notes["params"])
        return loss


class SGD(_Noting, torch.optim.SGD):
    pass


class AdamW(_Noting, torch.optim.AdamW):
    pass


def _gradient(parameters):
    """All gradients in a row, 0 where there is none."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return nn.utils.parameters_to_vector(gradients)


@dataclass(frozen=True)
class AfterStep:
    """What a step of training leaves behind."""

    loss: Any                      # what was returned
    weights: Tensor                # all weights, in a row
    moved: bool                    # whether any of them did
    gradient: float                # the length of what is in .grad now, 0 where there is nothing
    steps: int                     # how often the optimizer stepped
    used: Tensor                   # its gradient when it did so last, 0 where it found none
    wasted: bool                   # whether it forgot a gradient before its first step


class LastTokenModel(nn.Sequential):
    """A model so small that a step takes no time: each token is predicted from the last one."""

    def __init__(self, V, C):
        super().__init__(nn.Embedding(V, C), nn.Tanh(), nn.Linear(C, V))

    def remember(self):
        self.before = nn.utils.parameters_to_vector(self.parameters()).detach()
        return self


def _after_step(loss, arguments):
    model, notes = arguments[0], arguments[1].param_groups[0]
    weights = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    return AfterStep(
        loss=loss.detach() if isinstance(loss, Tensor) else loss,
        weights=weights,
        moved=not torch.equal(weights.to(model.before), model.before),
        gradient=_gradient(model.parameters()).norm().item(),
        steps=notes.get("steps", 0),
        used=notes.get("used", torch.zeros_like(weights)),
        wasted=notes.get("wasted", False))


_LOSS = NumberAnswer("loss")
_WEIGHTS = TensorAnswer("weights", ("all",), rtol=1e-3)


@dataclass(frozen=True)
class StepAnswer:
    """A step of training: the loss that is returned, and where the weights are afterward."""

    name: str = "loss"

    def malformed(self, answer: Any, expected: AfterStep) -> str | None:
        if not isinstance(answer, AfterStep):
            return "the model has lost its weights: only the optimizer should change them."
        return _LOSS.malformed(answer.loss, expected.loss)

    def difference(self, answer: AfterStep, expected: AfterStep) -> str | None:
        wrong_loss = _LOSS.difference(answer.loss, expected.loss)
        if wrong_loss or _WEIGHTS.alike(answer.weights, expected.weights):
            return wrong_loss
        if not answer.moved:
            return "the loss is right, but no weight has moved."
        return "the loss is right, but after the step the weights are not where they should be."

    def alike(self, answer: Any, other: Any) -> bool:
        if not (isinstance(answer, AfterStep) and isinstance(other, AfterStep)):
            return False
        if not all(_LOSS.alike(x.loss, x.loss) and not getattr(x.loss, "shape", ())
                   for x in (answer, other)):
            return False                               # one of them is no number
        # Who forgets the gradient at the end may have moved the weights wrongly all the same.
        forgotten = answer.moved and 0 in (answer.gradient, other.gradient)
        numbers = [torch.tensor([scalar(x.loss), 0 if forgotten else x.gradient])
                   for x in (answer, other)]
        return (answer.steps == other.steps
                and torch.allclose(*numbers, rtol=1e-3, atol=1e-5, equal_nan=True)
                and _WEIGHTS.alike(answer.weights, other.weights))

    def trace(self, trials: list[Trial]) -> str | None:
        """What the optimizer noted, or what is known about such a loss."""
        for words, holds in _NOTED.items():
            if all(holds(trial.answer) for trial in trials):
                return words
        if all(_LOSS.difference(trial.answer.loss, trial.expected.loss) for trial in trials):
            return _about_the_loss(trials)
        if all(_WEIGHTS.alike(trial.answer.weights, trial.expected.weights) for trial in trials):
            return None
        return _about_the_gradient(trials)

    def tidy(self, answer: Any, arguments: tuple) -> float:
        return float(answer)


_NOTED = {
    "You call optimizer.step() several times: one batch is for one step.":
        lambda after: after.steps > 1,
    "The weights move, but not by the optimizer that is given: call its step(), for it remembers "
    "the steps before this one.":
        lambda after: after.steps == 0 and after.moved,
    "The gradient is there, but nobody uses it: optimizer.step() is missing, or left out in a case "
    "like this.":
        lambda after: after.steps == 0 and after.gradient > 0,
    "You call optimizer.step() before backward, so it finds no gradient, and nobody uses the one "
    "that backward computes.":
        lambda after: not after.used.any() and after.gradient > 0,
    "zero_grad() after backward throws the gradient away, so optimizer.step() finds none: forget "
    "the last gradient before backward.":
        lambda after: after.wasted and not after.used.any(),
    "optimizer.step() finds no gradient, or only zeros: backward must be called before it, with "
    "its round brackets, zero_grad must not stand between the two, and the loss must depend on the "
    "weights.":
        lambda after: after.steps == 1 and not after.used.any(),
    "Neither backward nor optimizer.step() is called, so nothing is learned.":
        lambda after: after.steps == 0,
}


def _about_the_loss(trials: list[Trial]) -> str | None:
    """The mistakes that are known from the exercise on the loss, or a plain trace."""
    full = [trial for trial in trials if (trial.arguments["targets"] >= 0).all()]
    with torch.no_grad():
        given = [(trial.arguments["model"](trial.arguments["inputs"]), trial.arguments["targets"])
                 for trial in full]
    for mistake in CROSS_ENTROPY.mistakes:
        losses = [attempt(mistake, scores_and_targets) for scores_and_targets in given]
        if losses and all(_LOSS.alike(loss, trial.answer.loss)
                          for loss, trial in zip(losses, full, strict=True)):
            return CROSS_ENTROPY.diagnosis(mistake)
    counting = [(trial.arguments["targets"] >= 0).float().mean().item() for trial in trials]
    if all(_LOSS.alike(trial.answer.loss, share * trial.expected.loss)
           for trial, share in zip(trials, counting, strict=True)):
        return TRAIN_STEP.diagnosis(_divided_by_all)
    losses = [Trial(trial.arguments, trial.answer.loss, trial.expected.loss) for trial in full]
    return relation(losses) or resemblance(losses)


def _about_the_gradient(trials: list[Trial]) -> str:
    """How the gradients that the optimizer used differ from the right ones."""
    pairs = [(trial.answer.used, trial.expected.used) for trial in trials]
    if all(torch.allclose(*pair, rtol=1e-3, atol=1e-5) for pair in pairs):
        return ("optimizer.step() uses the right gradient, but something else changes the weights, "
                "too: leave that to the optimizer.")
    turned = [torch.cosine_similarity(*pair, dim=0) for pair in pairs]
    if all(cosine < -0.9999 for cosine in turned):
        return TRAIN_STEP.diagnosis(_uphill)
    if not all(cosine > 0.9999 for cosine in turned):
        return ("The gradient points another way than it should when optimizer.step() uses it: it "
                "must be that of this batch's mean loss, and all of it is cut by one factor.")
    if all(trial.answer.used.norm() > 1.001 * trial.arguments["clip_norm"] for trial in trials):
        return (f"The gradient is {pairs[0][0].norm():.3g} long when optimizer.step() uses it, but "
                f"clip_norm is {trials[0].arguments['clip_norm']}: after backward and before step, "
                "multiply all of it by clip_norm / norm, as clip_grad_norm_ does.")
    uncut = [(used.norm() / right.norm()).item() for (used, right), trial in
             zip(pairs, trials, strict=True) if right.norm() < 0.999 * trial.arguments["clip_norm"]]
    if uncut:
        return (f"Where nothing is to be cut, the gradient is {uncut[0]:.3g} times as long as it "
                "should be when optimizer.step() uses it: call backward once for each step, on the "
                "mean loss itself, and leave a gradient as it is that is not too long.")
    return (f"The gradient points the right way, but is {pairs[0][0].norm():.3g} long when "
            f"optimizer.step() uses it, instead of {pairs[0][1].norm():.3g}: where the root of the "
            "sum of all squares is more than clip_norm, it is cut to just that, and else left as "
            "it is.")


def _learner(generator, V, C):
    learner = LastTokenModel(V, C)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.copy_(normal(generator, *parameter.shape))
    return learner.remember()


def _to_train(generator):
    """Gradients that are cut and others that are not; optimizers that remember; T = 1; targets
    that do not count."""
    for B, T, V, C, make, clip_norm in (
        (2, 3, 7, 4, lambda p: SGD(p, lr=0.5), 0.25),
        (3, 4, 5, 6, lambda p: SGD(p, lr=0.3, momentum=0.9, weight_decay=0.1), 50.0),
        (5, 2, 6, 3, lambda p: AdamW(p, lr=0.1, eps=0.1), 0.5),
        (4, 1, 8, 5, lambda p: SGD(p, lr=0.7), 0.1),
    ):
        model = _learner(generator, V, C)
        inputs, targets = torch.randint(V, (2, B, T), generator=generator)
        if B == 3:                                       # a story that is shorter than its row
            targets[0, 2:] = -100
        yield model, make(model.parameters()), inputs, targets, clip_norm


def _remembers_gradients(answer):
    """Two steps in a row, beside the same two by others."""
    generator = torch.Generator().manual_seed(1)
    models = [_learner(generator, 7, 4)]
    models += [copy.deepcopy(models[0]) for _ in range(2)]
    batches = [torch.randint(7, (2, 2, 3), generator=generator) for _ in range(2)]
    for step, model in zip((answer, train_step, _gradients_add_up), models, strict=True):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for inputs, targets in batches:
            step(model, optimizer, inputs.clone(), targets.clone(), 100.0)
    theirs, right, added_up = (nn.utils.parameters_to_vector(m.parameters()) for m in models)
    if torch.allclose(theirs, right):
        return None
    if torch.allclose(theirs, added_up):
        return " ".join(inspect.getdoc(_gradients_add_up).split())
    return ("the first step is right, but a second one with the same model and optimizer is not: a "
            "step may leave nothing behind but weights, and what the optimizer itself remembers.")


def _changes_more_than_weights(answer):
    generator = torch.Generator().manual_seed(4)
    model, modes = _learner(generator, 7, 4).train(), []
    model.register_forward_hook(lambda *_: modes.append(model.training))
    batch, before = torch.randint(7, (2, 2, 3), generator=generator), settings(model)
    inputs, targets = batch.clone()
    answer(model, torch.optim.SGD(model.parameters(), lr=0.5), inputs, targets, 9)
    if not all(modes) or not model.training:
        return ("you call model.eval(), or leave it so: dropout must be at work while a model is "
                "trained, so leave the mode as it is.")
    if settings(model) != before:
        return ("you change the dtype of the weights, or whether they have gradients: a step only "
                "moves them.")
    if not torch.equal(torch.stack([inputs, targets]), batch):
        return "you change the inputs or the targets, which others still need: work on a copy."
    return None


TRAIN_STEP = Exercise(
    "06.train_step",
    goal="Let a model learn from one batch.",
    solution=train_step,
    reference=train_step,                      # a test holds it and the library's run together
    returns=StepAnswer(),
    cases=lambda generator: list(_to_train(generator)),
    mistakes=[_no_clip, _clipped_too_late, _gradients_add_up, _cut_by_value, _cut_by_part,
              _always_that_length, _cut_at_one, _loss_afterward, _returns_norm, _uphill,
              _predicts_its_input, _reads_the_targets, _swapped, _scores_not_flattened,
              _number_too_early, _not_recorded, _every_target_counts, _clips_the_model,
              _late_clip_and_loss, _mean_of_means, _divided_by_all, _targets_as_scores,
              _backward_of_optimizer, _model_given_targets, _clip_norm_first, _model_never_called],
    hints=(
        "Five things happen, in this order: forget, forward, backward, clip, move. Two of them "
        "are methods of the optimizer, and one is a method of the loss.",
        """
        1. forget the last gradient: optimizer.zero_grad()
        2. forward: the model's scores for the inputs, and their loss against the targets
        3. backward, from the loss
        4. clip the gradient of all parameters: torch.nn.utils.clip_grad_norm_
        5. move: optimizer.step()
        6. return the loss as a number
        """,
        """
        optimizer.zero_grad()
        loss = next_token_loss(model(inputs), targets)
        ...                                   # the gradient, from the loss
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        return loss.item()
        """,
    ),
    properties=[
        Property("mode and batch stay as they are", _changes_more_than_weights),
        Property("each step forgets the last gradient", _remembers_gradients),
    ],
    changes_inputs=True,
    observe=_after_step,
)


# ------------------------------------------------------------------------------- learning_rate


def learning_rate(step, steps, warmup_steps, peak):
    """The learning rate at `step`, counted from 0, of `steps`.

    It climbs in a straight line: the last step of the warm-up has the peak. Then it follows half a
    cosine wave down, from the peak at step `warmup_steps` to a tenth of it at the last step.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)       # 0 to 1
    return peak * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)


def _no_way_down(step, steps, warmup_steps, peak):
    """Where the warm-up leaves one step only, steps - 1 - warmup_steps is 0: divide by max(1, ...)
    of it, so that this step has the peak."""
    progress = (step - warmup_steps) / (steps - 1 - warmup_steps)
    return _after_warm_up(step, steps, warmup_steps, peak, _wave(progress, peak))


def _warm_up_from_zero(step, steps, warmup_steps, peak):
    """The warm-up begins at 0, so the first step would learn nothing: steps are counted from 0, so
    climb with step + 1."""
    if step < warmup_steps:
        return peak * step / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)
    return peak * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)


def _warm_up_too_slow(step, steps, warmup_steps, peak):
    """The warm-up climbs too slowly: divide step + 1 by warmup_steps itself, so that its last step
    has the peak."""
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    return learning_rate(step, steps, warmup_steps, peak)


def _warm_up_too_fast(step, steps, warmup_steps, peak):
    """The warm-up runs from 0 to the peak: let it run from one share, 1 / warmup_steps, to all of
    them, with step + 1."""
    if step < warmup_steps:
        return peak * step / max(1, warmup_steps - 1)
    return learning_rate(step, steps, warmup_steps, peak)


def _whole_shares(step, steps, warmup_steps, peak):
    """The operator // cuts the fraction off, so the warm-up stays at 0 until its last step: divide
    with /."""
    if step < warmup_steps:
        return peak * ((step + 1) // warmup_steps)
    return learning_rate(step, steps, warmup_steps, peak)


def _whole_rates(step, steps, warmup_steps, peak):
    """The operator // rounds the rates of the warm-up down to whole numbers: divide with /."""
    if step < warmup_steps:
        return peak * (step + 1) // warmup_steps
    return learning_rate(step, steps, warmup_steps, peak)


def _climb_without_peak(step, steps, warmup_steps, peak):
    """During the warm-up you forget to multiply by peak."""
    return learning_rate(step, steps, warmup_steps, 1 if step < warmup_steps else peak)


def _climb_from_a_tenth(step, steps, warmup_steps, peak):
    """Your warm-up begins at a tenth of the peak, which is where the wave ends: step 0 has one of
    warmup_steps equal shares of the peak."""
    if step < warmup_steps:
        return peak * (0.1 + 0.9 * (step + 1) / warmup_steps)
    return learning_rate(step, steps, warmup_steps, peak)


def _climb_lost(step, steps, warmup_steps, peak):
    """The wave takes the place of the warm-up: where step < warmup_steps, return the climbing rate
    at once, or put the wave under `else`."""
    return _wave(_progress(step, steps, warmup_steps), peak)


def _comparison_turned(step, steps, warmup_steps, peak):
    """The two cases are swapped: the climb is for step < warmup_steps, the wave for all others."""
    if step > warmup_steps:
        return peak * (step + 1) / max(1, warmup_steps)
    return _wave(_progress(step, steps, warmup_steps), peak)


def _warm_up_one_shorter(step, steps, warmup_steps, peak):
    """The warm-up ends one step too early: its last step is warmup_steps - 1, which has the peak,
    so it is for every step < warmup_steps."""
    if step < warmup_steps - 1:
        return peak * (step + 1) / warmup_steps
    return _wave((step - warmup_steps) / max(1, steps - 1 - warmup_steps), peak)


def _warm_up_one_longer(step, steps, warmup_steps, peak):
    """The warm-up lasts one step too long and climbs beyond the peak: steps are counted from 0, so
    it ends before step warmup_steps, with < and not <=."""
    if step <= warmup_steps:
        return peak * (step + 1) / max(1, warmup_steps)
    return learning_rate(step, steps, warmup_steps, peak)


def _no_warm_up(step, steps, warmup_steps, peak):
    """There is no warm-up: for the first warmup_steps the rate climbs in a straight line."""
    return _wave(step / (steps - 1), peak)


def _waits_at_peak(step, steps, warmup_steps, peak):
    """The rate stands at its peak during the warm-up: it must climb there, from peak divided by
    warmup_steps."""
    return peak if step < warmup_steps else learning_rate(step, steps, warmup_steps, peak)


def _stays_at_peak(step, steps, warmup_steps, peak):
    """After the warm-up the rate stays at its peak: it must sink, along half a cosine wave."""
    return learning_rate(step, steps, warmup_steps, peak) if step < warmup_steps else peak


def _goes_on_climbing(step, steps, warmup_steps, peak):
    """The rate goes on climbing after the warm-up: from step warmup_steps on it must sink."""
    return peak * (step + 1) / max(1, warmup_steps)


def _straight_down(step, steps, warmup_steps, peak):
    """The rate sinks in a straight line: it must follow half a cosine wave."""
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)
    return _after_warm_up(step, steps, warmup_steps, peak, peak * (1 - 0.9 * progress))


def _straight_to_zero(step, steps, warmup_steps, peak):
    """The rate sinks in a straight line to 0, the library's other schedule: here it must follow
    half a cosine wave, down to a tenth."""
    rest = (steps - step) / (steps - warmup_steps)
    return _after_warm_up(step, steps, warmup_steps, peak, peak * rest)


def _down_to_zero(step, steps, warmup_steps, peak):
    """The rate sinks to 0: it must end at a tenth of the peak, so 0.1 is fixed, and 0.9 follows
    the wave."""
    wave = _half_wave(_progress(step, steps, warmup_steps))
    return _after_warm_up(step, steps, warmup_steps, peak, peak * wave)


def _a_tenth_on_top(step, steps, warmup_steps, peak):
    """A tenth is added to the whole wave, so the rate begins above the peak: only 0.9 of it may
    follow the wave."""
    wave = _half_wave(_progress(step, steps, warmup_steps))
    return _after_warm_up(step, steps, warmup_steps, peak, peak * (0.1 + wave))


def _cut_at_a_tenth(step, steps, warmup_steps, peak):
    """The wave runs down to 0 and is cut off at a tenth: it must reach the tenth at the last step
    only, so let 0.9 of it follow the wave."""
    wave = _half_wave(_progress(step, steps, warmup_steps))
    return _after_warm_up(step, steps, warmup_steps, peak, peak * max(0.1, wave))


def _tenth_missing(step, steps, warmup_steps, peak):
    """The 0.1 is missing: 0.1 stays, and 0.9 follows the wave, so that the rate begins at the whole
    peak."""
    wave = _half_wave(_progress(step, steps, warmup_steps))
    return _after_warm_up(step, steps, warmup_steps, peak, peak * 0.9 * wave)


def _tenth_and_rest_swapped(step, steps, warmup_steps, peak):
    """You swap 0.1 and 0.9: 0.1 stays, and 0.9 follows the wave."""
    wave = _half_wave(_progress(step, steps, warmup_steps))
    return _after_warm_up(step, steps, warmup_steps, peak, peak * (0.9 + 0.1 * wave))


def _peak_times_a_tenth(step, steps, warmup_steps, peak):
    """Brackets are missing: only the 0.1 is multiplied by peak, so write peak * (0.1 + ...)."""
    wave = _half_wave(_progress(step, steps, warmup_steps))
    return _after_warm_up(step, steps, warmup_steps, peak, peak * 0.1 + 0.9 * wave)


def _half_of_cosine(step, steps, warmup_steps, peak):
    """Brackets are missing: 1 + cos / 2 halves the cosine only, so write (1 + cos) / 2."""
    wave = 1 + math.cos(math.pi * _progress(step, steps, warmup_steps)) / 2
    return _after_warm_up(step, steps, warmup_steps, peak, peak * (0.1 + 0.9 * wave))


def _warm_up_divided(step, steps, warmup_steps, peak):
    """Brackets are missing: step - warmup_steps / n divides warmup_steps only, so write
    (step - warmup_steps) / n."""
    rate = _wave(step - warmup_steps / max(1, steps - 1 - warmup_steps), peak)
    return _after_warm_up(step, steps, warmup_steps, peak, rate)


def _warm_up_not_subtracted(step, steps, warmup_steps, peak):
    """The wave begins too far down: what is divided by the steps that are left must be 0 at its
    first step, step - warmup_steps."""
    rate = _wave(step / max(1, steps - 1 - warmup_steps), peak)
    return _after_warm_up(step, steps, warmup_steps, peak, rate)


def _divided_by_last_step(step, steps, warmup_steps, peak):
    """The wave is stretched: only steps - 1 - warmup_steps steps are left for it, so divide by
    these."""
    rate = _wave((step - warmup_steps) / (steps - 1), peak)
    return _after_warm_up(step, steps, warmup_steps, peak, rate)


def _sinks_from_the_start(step, steps, warmup_steps, peak):
    """The wave counts from the start of the run, so the rate jumps down after the warm-up: divide
    the steps since the warm-up by those that were left when it ended."""
    return _after_warm_up(step, steps, warmup_steps, peak, _wave(step / (steps - 1), peak))


def _share_of_all_steps(step, steps, warmup_steps, peak):
    """The wave counts from the start of the run: divide the steps since the warm-up by those that
    were left when it ended, steps - 1 - warmup_steps."""
    return _after_warm_up(step, steps, warmup_steps, peak, _wave(step / steps, peak))


def _divided_by_all_steps(step, steps, warmup_steps, peak):
    """The wave is stretched over all steps: divide by those that are left after the warm-up,
    steps - 1 - warmup_steps."""
    rate = _wave((step - warmup_steps) / steps, peak)
    return _after_warm_up(step, steps, warmup_steps, peak, rate)


def _never_arrives(step, steps, warmup_steps, peak):
    """The last step does not reach the end of the wave: its number is steps - 1, so divide by
    steps - 1 - warmup_steps."""
    rate = _wave((step - warmup_steps) / (steps - warmup_steps), peak)
    return _after_warm_up(step, steps, warmup_steps, peak, rate)


def _textbook_wave(step, steps, warmup_steps, peak):
    """The rate sinks towards 0, as in many libraries: here it must reach a tenth of the peak, and
    reach it at the last step, which is steps - 1."""
    wave = (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
    return _after_warm_up(step, steps, warmup_steps, peak, peak * wave)


def _one_step_late(step, steps, warmup_steps, peak):
    """The wave begins one step too early: step warmup_steps still has the peak."""
    rate = _wave((step + 1 - warmup_steps) / (steps - warmup_steps), peak)
    return _after_warm_up(step, steps, warmup_steps, peak, rate)


def _one_step_ahead(step, steps, warmup_steps, peak):
    """The wave is one step ahead: step warmup_steps still has the peak, so leave out the + 1 in
    step + 1 - warmup_steps."""
    rate = _wave((step + 1 - warmup_steps) / max(1, steps - 1 - warmup_steps), peak)
    return _after_warm_up(step, steps, warmup_steps, peak, rate)


def _progress_not_divided(step, steps, warmup_steps, peak):
    """You count the steps since the warm-up, but cos needs their share, from 0 to 1: divide by the
    steps that are left, steps - 1 - warmup_steps."""
    return _after_warm_up(step, steps, warmup_steps, peak, _wave(step - warmup_steps, peak))


def _whole_wave(step, steps, warmup_steps, peak):
    """The rate goes down and up again: half a wave is cos of 0 to pi, not to 2 pi."""
    rate = _wave(2 * _progress(step, steps, warmup_steps), peak)
    return _after_warm_up(step, steps, warmup_steps, peak, rate)


def _sine(step, steps, warmup_steps, peak):
    """A sine begins in the middle of its wave: the cosine begins at the top, with the peak."""
    wave = (1 + math.sin(math.pi * _progress(step, steps, warmup_steps))) / 2
    return _after_warm_up(step, steps, warmup_steps, peak, peak * (0.1 + 0.9 * wave))


def _warm_up_upside_down(step, steps, warmup_steps, peak):
    """The warm-up is divided the wrong way around: (step + 1) / warmup_steps climbs to 1."""
    if step < warmup_steps:
        return peak * warmup_steps / (step + 1)
    return learning_rate(step, steps, warmup_steps, peak)


def _quarter_wave(step, steps, warmup_steps, peak):
    """You take a quarter of a wave, cos of 0 to pi / 2: half a wave goes to pi, and
    (1 + cos) / 2 brings it to between 1 and 0."""
    wave = math.cos(math.pi / 2 * _progress(step, steps, warmup_steps))
    return _after_warm_up(step, steps, warmup_steps, peak, peak * (0.1 + 0.9 * wave))


def _without_pi(step, steps, warmup_steps, peak):
    """The factor pi is missing: progress runs from 0 to 1, and half a wave from 0 to pi."""
    rate = _wave(_progress(step, steps, warmup_steps) / math.pi, peak)
    return _after_warm_up(step, steps, warmup_steps, peak, rate)


def _in_degrees(step, steps, warmup_steps, peak):
    """You give cos an angle in degrees: it takes radians, in which half a wave is pi, not 180."""
    rate = _wave(180 / math.pi * _progress(step, steps, warmup_steps), peak)
    return _after_warm_up(step, steps, warmup_steps, peak, rate)


def _negative_wave(step, steps, warmup_steps, peak):
    """The rate falls below 0: cos runs from 1 to -1, and (1 + cos) / 2 brings it to between 1 and
    0."""
    wave = math.cos(math.pi * _progress(step, steps, warmup_steps))
    return _after_warm_up(step, steps, warmup_steps, peak, peak * (0.1 + 0.9 * wave))


def _bare_cosine(step, steps, warmup_steps, peak):
    """The rate falls below 0: (1 + cos) / 2 runs from 1 to 0, and 0.1 + 0.9 of that from 1 to a
    tenth."""
    wave = math.cos(math.pi * _progress(step, steps, warmup_steps))
    return _after_warm_up(step, steps, warmup_steps, peak, peak * wave)


def _half_without_one(step, steps, warmup_steps, peak):
    """You halve the cosine, but forget the 1: (1 + cos) / 2 runs from 1 to 0."""
    wave = math.cos(math.pi * _progress(step, steps, warmup_steps)) / 2
    return _after_warm_up(step, steps, warmup_steps, peak, peak * (0.1 + 0.9 * wave))


def _not_halved(step, steps, warmup_steps, peak):
    """You forget to halve 1 + cos, which runs from 2 to 0."""
    wave = 1 + math.cos(math.pi * _progress(step, steps, warmup_steps))
    return _after_warm_up(step, steps, warmup_steps, peak, peak * (0.1 + 0.9 * wave))


def _wave_upside_down(step, steps, warmup_steps, peak):
    """The wave is upside down: it must begin at the peak, with 1 + cos, and not 1 - cos."""
    rate = _wave(1 - _progress(step, steps, warmup_steps), peak)
    return _after_warm_up(step, steps, warmup_steps, peak, rate)


def _brackets_missing(step, steps, warmup_steps, peak):
    """Brackets are missing: peak * step + 1 / warmup_steps adds two things, so write
    peak * (step + 1) / warmup_steps."""
    if step < warmup_steps:
        return peak * step + 1 / warmup_steps
    return learning_rate(step, steps, warmup_steps, peak)


def _whole_numbers(step, steps, warmup_steps, peak):
    """The operator // cuts the fraction off, so progress is 0 until the last step: divide with
    /."""
    progress = (step - warmup_steps) // max(1, steps - 1 - warmup_steps)
    return _after_warm_up(step, steps, warmup_steps, peak, _wave(progress, peak))


def _smaller_of_both(step, steps, warmup_steps, peak):
    """Your wave begins at step 0, under the warm-up: it must begin at step warmup_steps."""
    climb = (step + 1) / max(1, warmup_steps)
    return min(peak * climb, _wave(step / (steps - 1), peak))


def _climb_times_wave(step, steps, warmup_steps, peak):
    """You multiply the climb by a wave that begins at step 0: it must begin after the climb, at
    step warmup_steps."""
    return min(1, (step + 1) / max(1, warmup_steps)) * _wave(step / (steps - 1), peak)


def _without_pi_too_long(step, steps, warmup_steps, peak):
    """The factor pi is missing: progress runs from 0 to 1, and half a wave from 0 to pi. And the
    last step is steps - 1."""
    rate = _wave((step - warmup_steps) / max(1, steps - warmup_steps) / math.pi, peak)
    return _after_warm_up(step, steps, warmup_steps, peak, rate)


def _share_only(step, steps, warmup_steps, peak):
    """This is the share of the peak: multiply it by peak."""
    return learning_rate(step, steps, warmup_steps, 1)


def _share_after_warm_up(step, steps, warmup_steps, peak):
    """After the warm-up you forget to multiply by peak."""
    rate = learning_rate(step, steps, warmup_steps, 1)
    return _after_warm_up(step, steps, warmup_steps, peak, rate)


def _tenth_of_one(step, steps, warmup_steps, peak):
    """The rate ends near 0.1: it must end at a tenth of the peak, so multiply the 0.1 by peak,
    too."""
    wave = _half_wave(_progress(step, steps, warmup_steps))
    return _after_warm_up(step, steps, warmup_steps, peak, 0.1 + 0.9 * peak * wave)


def _always_divided(step, steps, warmup_steps, peak):
    """You always divide by warmup_steps, which may be 0: do it only where step < warmup_steps."""
    share = (step + 1) / warmup_steps
    return peak * share if share <= 1 else learning_rate(step, steps, warmup_steps, peak)


class RateAnswer(NumberAnswer):
    """A point of the schedule."""

    def trace(self, trials: list[Trial]) -> str | None:
        """Which parts of the curve are right, and what the others should be."""
        wrong = {_part_of_curve(**trial.arguments): trial for trial in reversed(trials)}
        if {*wrong} == {"warm-up"}:
            return ("All is right but the warm-up: it climbs in warmup_steps equal shares of the "
                    "peak, of which step 0 has one, and each step one more.")
        if "warm-up" in wrong:
            return " ".join(filter(None, (_cause_in(trials, climb) for climb in (True, False))))
        if {*wrong} == {"between"}:
            return ("The warm-up, the peak and the last step are right, but on the way down the "
                    "rate must follow half a cosine wave, (1 + cos(pi * progress)) / 2.")
        if "peak" not in wrong:
            return ("The warm-up and the peak are right, but at its last step, steps - 1, the rate "
                    f"must arrive at a tenth of the peak{_instead(wrong['last'])}.")
        if "last" not in wrong:
            return ("The warm-up and the last step are right, but at step warmup_steps the rate "
                    f"must still be at its peak{_instead(wrong['peak'])}.")
        return ("The warm-up is right, but then the rate must run from the peak, at step "
                "warmup_steps, to a tenth of it, at step steps - 1.")


def _part_of_curve(step, steps, warmup_steps, peak):
    if step < warmup_steps:
        return "warm-up"
    return {steps - 1: "last", warmup_steps: "peak"}.get(step, "between")


def _instead(trial):
    peak, (got, wanted) = trial.arguments["peak"], map(number, (trial.answer, trial.expected))
    return f" (for peak = {number(peak)} at {wanted}, and not at {got})"


def _cause_in(trials, climb):
    """The mistake that explains one half of the curve, and leaves the other as it should be."""
    answers = {tuple(trial.arguments.values()): trial.answer for trial in trials}
    cases = LEARNING_RATE.cases(None)
    here = [(_part_of_curve(*case) == "warm-up") is climb for case in cases]
    theirs = [answers.get(case, learning_rate(*case)) if ours else learning_rate(*case)
              for case, ours in zip(cases, here, strict=True)]
    for mistake in LEARNING_RATE.mistakes:
        rates = [attempt(mistake, case) for case in cases]
        if all(map(LEARNING_RATE.returns.alike, rates, theirs)):
            return LEARNING_RATE.diagnosis(mistake)
    return None


def _progress(step, steps, warmup_steps):
    return (step - warmup_steps) / max(1, steps - 1 - warmup_steps)


def _half_wave(progress):
    return (1 + math.cos(math.pi * progress)) / 2


def _wave(progress, peak):
    return peak * (0.1 + 0.9 * _half_wave(progress))


def _after_warm_up(step, steps, warmup_steps, peak, rate):
    """Right during the warm-up, and then `rate`."""
    return learning_rate(step, steps, warmup_steps, peak) if step < warmup_steps else rate


LEARNING_RATE = Exercise(
    "06.learning_rate",
    goal="Rise, then sink: how far each step goes.",
    solution=learning_rate,
    reference=lambda step, steps, warmup_steps, peak: peak * share_of_peak(
        step, steps, warmup_steps),
    returns=RateAnswer("learning rate", atol=1e-9),
    cases=lambda generator: [
        (0, 10, 4, 2.0), (1, 10, 4, 2.0), (3, 10, 4, 2.0), (4, 10, 4, 2.0), (5, 10, 4, 2.0),
        (8, 10, 4, 2.0), (9, 10, 4, 2.0), (0, 7, 0, 0.003), (3, 7, 0, 0.003), (6, 7, 0, 0.003),
        (0, 100, 1, 0.01), (1, 100, 1, 0.01), (70, 300, 20, 0.02), (299, 300, 20, 0.02),
        (5, 6, 4, 2.0), (4, 5, 4, 2.0),
    ],
    mistakes=[_warm_up_from_zero, _warm_up_too_slow, _warm_up_too_fast, _warm_up_one_longer,
              _no_warm_up, _waits_at_peak, _stays_at_peak, _goes_on_climbing, _straight_down,
              _straight_to_zero, _down_to_zero, _a_tenth_on_top, _cut_at_a_tenth,
              _sinks_from_the_start, _share_of_all_steps, _divided_by_all_steps, _never_arrives,
              _textbook_wave, _one_step_late, _whole_wave, _sine, _warm_up_upside_down,
              _quarter_wave, _without_pi, _negative_wave, _bare_cosine, _not_halved,
              _wave_upside_down, _share_only, _share_after_warm_up, _tenth_of_one, _always_divided,
              _brackets_missing, _whole_numbers, _smaller_of_both, _without_pi_too_long,
              _in_degrees, _climb_times_wave, _progress_not_divided, _whole_shares, _whole_rates,
              _warm_up_one_shorter, _one_step_ahead, _half_without_one, _climb_without_peak,
              _climb_from_a_tenth, _climb_lost, _comparison_turned, _tenth_missing,
              _tenth_and_rest_swapped, _peak_times_a_tenth, _half_of_cosine, _warm_up_divided,
              _warm_up_not_subtracted, _divided_by_last_step, _no_way_down],
    hints=(
        "Two cases: during the warm-up, and after it. With warmup_steps = 4, which shares of the "
        "peak do steps 0, 1, 2 and 3 have? For the rest: cos(0) is 1, and cos(pi) is -1.",
        """
        1. in the warm-up, that is where step < warmup_steps: step + 1 of warmup_steps shares of
           the peak
        2. after it, progress: 0 at step warmup_steps, 1 at the last step, which is steps - 1
        3. (1 + cos(pi * progress)) / 2 runs from 1 to 0; bring it to between 1 and 0.1
        4. times peak
        """,
        """
        if step < warmup_steps:
            return peak * (step + 1) / warmup_steps
        progress = ...                        # 0 at step warmup_steps, 1 at step steps - 1
        return peak * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)
        """,
    ),
)

EXERCISES = (CROSS_ENTROPY, PERPLEXITY, TRAIN_STEP, LEARNING_RATE)
