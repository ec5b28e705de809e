"""The storybook world: what is claimed about its probabilities is checked by other means."""

import doctest
import math
import random
import re
from collections import Counter
from itertools import pairwise
from statistics import fmean, stdev

import pytest

from gptlib.corpus import grammar, storybook
from gptlib.corpus.grammar import Grammar, ReadingError, words
from gptlib.corpus.storybook import (
    STORYBOOK,
    judge,
    nats_of_beginning,
    next_distribution,
    next_words,
    parse,
    part_of,
    stories,
)

FIRST_STORY = (
    "Everybody at the old mill knew Zoe the owl, who was often sleepy. One windy morning Zoe sat "
    'at home with her brown boat. Then Max the bee knocked at the window. "Come out and chase the '
    'leaves!" buzzed Max. "May my boat come too?" asked Zoe. So off they went, Zoe in front, Max '
    "behind and the boat in the middle, and oh, how thankful they were. Ever since that Sunday, "
    "Zoe and Max have been the best of friends."
)
FIRST_FACTS = {
    "plot": "playing", "ending": "played outside", "feeling": "thankful", "day": "Sunday",
    "hero": "Zoe", "kind": "owl", "trait": "sleepy", "home": "at the old mill",
    "friend": "Max", "friend_kind": "bee", "sky": "windy", "color": "brown", "thing": "boat",
}

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.fixture(scope="module")
def told():
    return list(stories(5_000, seed=1))


def story_of(plot, seed=0):
    return next(story for story in stories(1_000, seed) if story.facts["plot"] == plot)


def texts_of(some_grammar, prefix=""):
    """Every text of a small grammar with its probability, found letter by letter."""
    for letter, share in some_grammar.next_distribution(prefix).items():
        if letter == "":
            yield prefix, share
        else:
            for text, chance in texts_of(some_grammar, prefix + letter):
                yield text, share * chance


def small_grammar():
    """The storybook's openings, with two words to choose from where there are eight or more."""
    few = {
        name: table[:2] if isinstance(table, list) else table
        for name, table in storybook.TABLES.items()
    }
    return Grammar(storybook.RULES, few, start="opening")


def number_grammar():
    """The one place where an early choice changes how many choices are left."""
    rules = {"story": ["{count: number} less {given: gift_of of count} is "
                       "{left: rest_of of count given}"]}
    return Grammar(rules, storybook.TABLES)


# Telling and reading


def test_parsing_gives_back_each_of_10_000_stories():
    """`make trust` tries ten times as many."""
    for story in stories(10_000, seed=2):
        assert parse(story.text) == story


def test_a_seed_always_gives_the_same_stories_and_a_larger_n_gives_more():
    assert [s.text for s in stories(20, seed=5)] == [s.text for s in stories(50, seed=5)][:20]
    assert next(stories(1, seed=5)) != next(stories(1, seed=6))


def test_the_stories_are_the_same_on_every_machine():
    assert next(stories(1, seed=0)).text == FIRST_STORY


def test_the_facts_are_what_the_text_says():
    story = parse(FIRST_STORY)
    assert story.facts == FIRST_FACTS


def test_a_small_count_changes_by_what_was_given_away():
    sharing = [s.facts for s in stories(2_000, seed=3) if s.facts["plot"] == "sharing"]
    assert len(sharing) > 100
    for facts in sharing:
        count, given, left, birds = (
            NUMBERS.index(facts[name]) for name in ("count", "given", "left", "birds")
        )
        assert left == count - given >= 2 or count == 3
        assert left == count - given > 0 and birds > 2


def test_the_giver_and_the_receiver_are_named():
    for plot, giver, receiver in (
        ("giving", "hero", "friend"), ("sharing", "hero", "friend"),
        ("visiting", "hero", "friend"),
    ):
        facts = story_of(plot).facts
        assert (facts["giver"], facts["receiver"]) == (facts[giver], facts[receiver])
        assert facts["gift"] in story_of(plot).text


# The floor


def test_the_entropy_in_closed_form_is_the_mean_surprise_of_many_stories():
    nats = [story.nats for story in stories(20_000, seed=4)]
    assert abs(fmean(nats) - STORYBOOK.entropy) < 3 * stdev(nats) / math.sqrt(len(nats))


def test_the_validation_part_has_the_same_entropy():
    nats = [story.nats for story in stories(1_000, seed=5, part="validation")]
    assert abs(fmean(nats) - STORYBOOK.entropy) < 3 * stdev(nats) / math.sqrt(len(nats))


@pytest.mark.parametrize("make", [small_grammar, number_grammar])
def test_on_a_small_grammar_everything_agrees_with_its_list_of_texts(make):
    small = make()
    texts = dict(texts_of(small))
    assert len(texts) == small.number_of_texts > 6
    assert math.fsum(texts.values()) == pytest.approx(1, abs=1e-12)
    assert small.entropy == pytest.approx(-sum(p * math.log(p) for p in texts.values()), abs=1e-12)
    for text, chance in texts.items():
        assert small.read(text).nats == pytest.approx(-math.log(chance), abs=1e-9)


def test_the_numbers_are_not_all_equally_likely_so_the_entropy_needs_the_recursion():
    small = number_grammar()
    assert small.number_of_texts == 7                                   # 1 + 3 * 2
    assert small.entropy == pytest.approx(math.log(4) + 3 / 4 * math.log(2))


def test_there_are_more_than_a_million_million_stories():
    assert STORYBOOK.number_of_texts > 10**12
    assert STORYBOOK.entropy < math.log(STORYBOOK.number_of_texts)


def test_a_model_of_pairs_of_words_stays_far_above_the_floor(told):
    # It is measured on the very stories that it was counted on, which only helps it.
    pairs, firsts = Counter(), Counter()
    for story in told:
        tokens = ["<start>", *re.findall(r"[\w-]+|[^\w\s]", story.text), "<end>"]
        pairs.update(pairwise(tokens))
        firsts.update(tokens[:-1])
    nats = -sum(n * math.log(n / firsts[first]) for (first, _), n in pairs.items()) / len(told)
    assert nats > 2 * STORYBOOK.entropy


# The perfect reader


def test_the_perfect_reader_s_surprise_adds_up_to_that_of_the_story(told):
    for story in told[:25]:
        total = 0.0
        for place in range(len(story.text) + 1):
            chances = next_distribution(story.text[:place])
            assert math.fsum(chances.values()) == pytest.approx(1, abs=1e-9)
            total -= math.log(chances[story.text[place : place + 1]])
        assert total == pytest.approx(story.nats, abs=1e-6)


def test_the_perfect_reader_knows_the_frequencies_of_many_stories(told):
    after = Counter(s.text[: len("One")] for s in told)
    for start, count in after.most_common(8):
        chance = math.exp(-nats_of_beginning(start))
        assert abs(count - len(told) * chance) < 4 * math.sqrt(len(told) * chance)


def test_a_prefix_that_stops_inside_a_word_is_read_with_all_that_it_may_become():
    begun = next_distribution("Everybody on the hill knew R")
    assert begun == {"o": 0.5, "u": 0.5}                                # Rosa, Ruby
    assert next_distribution("Everybody on the hill knew Ro") == {"s": 1.0}


def test_at_the_start_every_opening_is_foreseen():
    chances = next_distribution("")
    assert math.fsum(chances.values()) == pytest.approx(1)
    assert chances["E"] == pytest.approx(1 / 6 + 1 / 6 / 20)            # Everybody, or Ella


def test_after_a_story_comes_nothing_but_its_end(told):
    for story in told[:200]:
        assert next_distribution(story.text) == {"": 1.0}
        assert next_words(story.text) == {"": 1.0}


def test_what_was_said_early_is_known_for_certain_later():
    story = story_of("sharing")
    before = story.text[: story.text.index(f", and {story.facts['left']} ")] + ", and"
    assert next_words(before) == {f" {story.facts['left']}": 1.0}


def test_next_words_completes_a_word_and_agrees_with_the_letters():
    half = next_words("Ida the frog was shy and lived on the")
    assert half == pytest.approx({" hill.": 0.5, " island.": 0.5})
    assert next_words("Ida the owl was ele") == {"gant": 1.0}
    prefix = "This is the story of Ida the"
    by_letter = math.exp(nats_of_beginning(prefix) - nats_of_beginning(prefix + " frog "))
    assert next_words(prefix)[" frog"] == pytest.approx(by_letter)


def test_the_surprise_of_a_beginning_grows_to_that_of_the_story():
    story = next(stories(1, seed=8))
    path = [nats_of_beginning(story.text[:place]) for place in range(len(story.text) + 1)]
    assert path[0] == pytest.approx(0) and path[-1] == pytest.approx(story.nats)
    assert all(later > earlier - 1e-9 for earlier, later in pairwise(path))


# What is wrong with a text


@pytest.mark.parametrize(
    "plot, fact, wrong, reason",
    [
        ("sharing", "left", "twelve", "leaves"),
        ("losing", "color", "black", "is {color}"),
        ("losing", "thing", "piano", "the story is about"),
        ("visiting", "friend", "Bob", "the friend is called {friend}"),
        ("hiding", "spot", "on the roof", "it was {spot}"),
        ("giving", "gift_color", "black", "the {gift} is {gift_color}"),
    ],
)
def test_a_contradiction_is_reported_with_its_place_and_reason(plot, fact, wrong, reason):
    story = story_of(plot)
    closing = re.search(r", and (both|oh)", story.text).start()
    place = story.text.rindex(story.facts[fact], 0, closing)
    text = story.text[:place] + wrong + story.text[place + len(story.facts[fact]) :]
    with pytest.raises(ReadingError) as mistake:
        parse(text)
    assert abs(mistake.value.at - place) <= len(wrong)
    assert reason.format(**story.facts) in str(mistake.value)
    assert repr(wrong.split()[0])[1:-1] in str(mistake.value)


def test_a_wrong_pronoun_is_reported_with_the_reason():
    with pytest.raises(ReadingError, match=r"'Her', but .*'His' \(Tom is a he\)"):
        parse("Tom the frog was shy and lived on the hill. Her favorite thing was a red kite.")


def test_a_wrong_remainder_is_reported_as_a_sum():
    story = story_of("sharing")
    count, given, left = (story.facts[name] for name in ("count", "given", "left"))
    wrong = story.text.replace(f", and {left} ", f", and {count} ")
    with pytest.raises(ReadingError, match=f"{left!r} \\({count} less {given} leaves {left}\\)"):
        parse(wrong)


def test_nothing_fits_from_the_reported_character_on_and_everything_fits_before(told):
    chance = random.Random(9)
    for story in told[:150]:
        place = int(chance.random() * len(story.text))
        text = story.text[:place] + chr(97 + int(chance.random() * 26)) + story.text[place + 1 :]
        try:
            parse(text)
        except ReadingError as mistake:
            next_distribution(text[: mistake.at])
            assert place <= mistake.at
            if mistake.at < len(text):
                with pytest.raises(ReadingError):
                    next_distribution(text[: mistake.at + 1])


def test_a_story_that_stops_early_or_goes_on_is_no_story():
    text = next(stories(1, seed=10)).text
    with pytest.raises(ReadingError, match="stops too early") as mistake:
        parse(text[:-1])
    assert mistake.value.at == len(text) - 1
    with pytest.raises(ReadingError, match="goes on with ' Bob', but should be") as mistake:
        parse(text + " Bob")
    assert mistake.value.at == len(text)


def test_a_prefix_that_no_story_begins_with_is_refused_from_the_right_character_on():
    for read in (next_distribution, next_words, nats_of_beginning):
        with pytest.raises(ValueError, match="At character 5, after 'Once'") as mistake:
            read("Once in a while")
        assert mistake.value.at == 5


# Judging


def test_judge_counts_what_is_valid_and_what_is_new(told):
    texts = [story.text for story in told[:3]]
    verdict = judge([*texts, texts[0][:-1] + "?"], seen=texts[:1])
    assert verdict.valid == 0.75
    assert verdict.new == pytest.approx(2 / 3)
    assert verdict.mistakes[:3] == (None, None, None)
    assert "should say" in verdict.mistakes[3]


def test_judge_finds_nothing_new_where_nothing_is_valid():
    verdict = judge(["Once upon a time.", ""])
    assert (verdict.valid, verdict.new) == (0, 0)
    assert all(verdict.mistakes)


# The two parts


def test_validation_stories_never_occur_in_training():
    train = {story.text for story in stories(2_000, seed=11, part="train")}
    validation = {story.text for story in stories(250, seed=11, part="validation")}
    assert len(train) == 2_000 and len(validation) == 250
    assert {part_of(text) for text in train} == {"train"}
    assert {part_of(text) for text in validation} == {"validation"}


def test_one_story_in_eight_is_for_validation():
    parts = Counter(part_of(f"story {number}") for number in range(8_000))
    assert set(parts) == {"train", "validation"}
    assert abs(parts["validation"] - 1_000) < 4 * math.sqrt(8_000 / 8 * 7 / 8)


# The language


def test_the_stories_are_as_long_as_promised(told):
    for story in told:
        assert 60 <= len(story.text.split()) <= 110
        assert 5 <= len(re.findall(r"[.!?]", story.text)) <= 14


def test_articles_spacing_quotes_and_capitals_are_right(told):
    for story in told:
        text = story.text
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", text), text
        assert not re.search(r"  |\s$| [.,!?]|[.!?][A-Za-z]", text), text
        assert text.count('"') % 2 == 0
        assert re.match("[A-Z]", text) and re.search(r"[.!]$", text)
        assert not re.search(r'(?<!")[.?!] [a-z]', text), text


def test_pronouns_agree_with_the_hero(told):
    girls = {str(word) for word in storybook.GIRLS}
    for story in told:
        if story.facts["plot"] in ("losing", "playing"):
            assert bool(re.search(r"\b[Hh]er\b", story.text)) == (story.facts["hero"] in girls)


def test_a_girl_s_friend_is_a_boy_and_a_boy_s_a_girl_so_that_she_and_he_are_clear(told):
    girls = {str(word) for word in storybook.GIRLS}
    for story in told:
        assert (story.facts["hero"] in girls) != (story.facts["friend"] in girls)


def test_every_rule_and_every_plot_is_told(told):
    plots = Counter(story.facts["plot"] for story in told)
    assert len(plots) == len(storybook.RULES["plot"]) == 7
    assert min(plots.values()) > 5_000 / 7 * 0.8
    assert len({story.facts["ending"] for story in told}) == 7


# Bad input


@pytest.mark.parametrize(
    "call, error, sentence",
    [
        (lambda: stories(0, seed=1), ValueError, "n is 0, but must be a whole number of at"),
        (lambda: stories(3, seed=-1), ValueError, "seed is -1, but must be a whole number of"),
        (lambda: stories(2.5, seed=1), ValueError, "n is 2.5, but must be a whole number"),
        (lambda: stories(1, seed=True), ValueError, "seed is True, but must be a whole number"),
        (lambda: stories(1, 1, part="test"), ValueError, "part is 'test', but must be train or"),
        (lambda: parse(7), TypeError, "The text is int, but must be a string"),
        (lambda: next_distribution(None), TypeError, "NoneType, but must be a string"),
        (lambda: judge([]), ValueError, "must be a list with at least one text"),
        (lambda: judge("Once"), ValueError, "must be a list with at least one text"),
        (lambda: judge(iter(["Once"])), ValueError, "must be a list with at least one text"),
        (lambda: judge([3]), TypeError, "The text is int, but must be a string"),
    ],
)
def test_bad_input_gets_one_sentence(call, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)) as raised:
        call()
    assert "\n" not in str(raised.value)


# The grammar engine


@pytest.mark.parametrize(
    "way, sentence",
    [
        ("{pet: cow}", "There is no table 'cow'; there are animal."),
        ("<bye>", "There is no rule 'bye'; there are story."),
        ("{pet animal}", "cannot be understood"),
    ],
)
def test_a_slip_in_a_grammar_is_named(way, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Grammar({"story": [way]}, {"animal": words("owl, cat")})


def test_an_ambiguous_grammar_is_found_out():
    twice = Grammar({"story": ["[a|ab][b|] c", "d"]}, {})
    with pytest.raises(ValueError, match="The rules are ambiguous: 2 walks"):
        twice.read("ab c")


@pytest.mark.parametrize("module", [grammar, storybook])
def test_the_examples_in_the_docstrings_are_true(module):
    failures, tried = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert tried > 0 and failures == 0
