"""The storybook world: short stories whose best possible loss is known exactly.

Nobody knows the entropy of real text, so nobody can say how far from perfect a model of it is.
These stories come from a grammar with known probabilities: here the floor under every loss curve
is a number, and there is a perfect reader to compare a model with, place by place.

>>> story = next(stories(1, seed=3))
>>> story.facts["hero"], story.facts["plot"], round(story.nats, 2)
('Tom', 'losing', 37.83)
>>> parse(story.text) == story                             # a story can be read back ...
True
>>> next_words("Tom the bear was shy and lived on the")    # ... and foreseen, exactly
{' hill.': 0.5, ' island.': 0.5}
>>> judge([story.text, "Once upon a time."]).valid         # ... and so can be what a model wrote
0.5

What is said early is needed late, with something like it in between: the name of the hero and that
of the friend, the color of one thing and of another, how many plums there were and how many birds.
Only a reader who looks back at the right word can go on. Whoever looks at nothing but the latest
word pays several times the floor.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from gptlib.checks import listed, one_of, shown, whole
from gptlib.corpus.grammar import Grammar, ReadingError, Text, table, words

# The words. Two characters may be animals of one kind, but a girl's friend is always a boy and a
# boy's a girl: so their names differ, and "she" or "he" leaves no doubt who is meant.

ONE_TO_NINE = words("one, two, three, four, five, six, seven, eight, nine")

ANIMALS = table(
    "plain    | sound",
    "mouse    | squeaked",
    "frog     | croaked",
    "duck     | quacked",
    "owl      | hooted",
    "bear     | rumbled",
    "cat      | purred",
    "goose    | honked",
    "lamb     | bleated",
    "puppy    | barked",
    "bee      | buzzed",
    "dragon   | puffed",
    "pony     | neighed",
)
GIRLS = words(
    "Mia, Ida, Anna, Nell, Ella, Poppy, Ruby, Lily, Zoe, Rosa", he="she", him="her", his="her"
)
BOYS = words(
    "Tom, Ben, Max, Otto, Finn, Hugo, Leo, Jack, Sam, Gus", he="he", him="him", his="his"
)

TABLES = {
    "name": GIRLS + BOYS,
    "friend_of": {
        **{str(girl): BOYS for girl in GIRLS}, **{str(boy): GIRLS for boy in BOYS},
    },
    "animal": ANIMALS,
    "friend_animal": ANIMALS,
    "stranger_animal": ANIMALS,
    "trait": words("shy, merry, clever, sleepy, curious, brave, hungry, elegant"),
    "feeling": words("happy, proud, glad, cheerful, delighted, thankful"),
    "sky": table(
        "plain  | fun",
        "rainy  | jump in the puddles",
        "sunny  | swim in the stream",
        "windy  | chase the leaves",
        "snowy  | roll in the snow",
        "foggy  | play ghosts",
        "cloudy | count the clouds",
    ),
    "day": words("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"),
    # Toys come in other colors than the things of the house.
    "toy_color": words("red, blue, green, yellow, brown"),
    "household_color": words("pink, orange, golden, silver, purple"),
    "toy": words("kite, drum, bell, boat, flute, spoon"),
    "household": words("hat, scarf, cushion, teapot, umbrella, lamp"),
    "goods": words("apples, pears, plums, nuts, cherries, carrots, berries, cookies"),
    "place": table(
        "plain           | the",
        "by the river    | the river",
        "in the meadow   | the meadow",
        "on the hill     | the hill",
        "in the garden   | the garden",
        "near the pond   | the pond",
        "behind the barn | the barn",
        "at the old mill | the old mill",
        "on the island   | the island",
    ),
    "far_place": table(
        "plain             | the",
        "in the forest     | the forest",
        "by the sea        | the sea",
        "near the bridge   | the bridge",
        "behind the castle | the castle",
        "at the harbor     | the harbor",
        "on the farm       | the farm",
    ),
    "spot": words(
        "under the bench, under the bed, under the stairs, under the table, "
        "behind the barrel, behind the pumpkin, behind the clock, behind the piano"
    ),
    "nook": words("in the haystack, in the cupboard, in the flowerpot, up the chimney"),
    "dream": words(
        "pancakes, the moon, snow, flying, cheese, a big parade, jam, a chocolate sea"
    ),
    "number": ONE_TO_NINE[2:6],
    "flock": ONE_TO_NINE[2:6],
    # How many of three, of four ... somebody gives away, and how many of them are left then.
    "gift_of": {
        str(count): ONE_TO_NINE[: min(n - 2, 2)]
        for n, count in enumerate(ONE_TO_NINE, start=1) if n > 2
    },
    "rest_of": {
        f"{count} {given}": [ONE_TO_NINE[n - m - 1]]
        for n, count in enumerate(ONE_TO_NINE, start=1)
        for m, given in enumerate(ONE_TO_NINE[: n - 1], start=1)
    },
}

# The stories.

RULES = {
    "story": ["<opening> <plot> <closing>"],
    "opening": [
        "Once upon a time <the hero> lived {home: place} and was very {trait: trait}.",
        "<the hero> was {trait: trait} and lived {home: place}.",
        "{Home: place} lived <the hero>, who was [always|often] {trait: trait}.",
        "Do you know <the hero>, who lives {home: place} and is so {trait: trait}?",
        "This is the story of <the hero> from {home.the: place}, who was very {trait: trait}.",
        "Everybody {home: place} knew <the hero>, who was [always|often] {trait: trait}.",
    ],
    "plot": [
        "<losing>", "<giving>", "<sharing>", "<trading>", "<hiding>", "<playing>", "<visiting>",
    ],
    "closing": [
        "That night {hero} dreamed of {dream: dream}, as every {kind} does.",
        "Later {hero} went home to {home.the} and dreamed of {dream: dream}.",
        "And {hero} fell asleep {home} and dreamed of {dream: dream}.",
        "What a {day: day} for {hero} and {friend}!",
        "Ever since that {day: day}, {hero} and {friend} have been the best of friends.",
        "If you come to {home.the}, {hero} will tell you all about it, for no {kind} forgets.",
    ],

    # Phrases that many plots share.
    "the hero": ["{hero: name} the {kind: animal}"],
    "One day": ["[One|On a] {sky: sky} [day|morning]"],
    "a friend": ["{friend: friend_of of hero} the {friend_kind: friend_animal}"],
    "a stranger": ["{stranger.a: stranger_animal}"],
    "a thing": ["{color.a: toy_color} {thing: toy}"],
    "another thing": ["{other_color.a: household_color} {other_thing: household}"],
    "said the friend": ["{friend_kind.sound} {friend}"],
    "both were glad": [
        "and both [were|felt] {feeling: feeling}", "and oh, how {feeling: feeling} they were",
    ],

    # Things that can happen.
    "losing": [
        "{hero.His} favorite thing was <a thing>, but one {sky: sky} [day|morning] it was gone. "
        "{hero} looked {nook: nook} and found only <another thing>. "
        "Then along came <a friend>. "
        '"[Did you look|Have you looked] {spot: spot}?" <said the friend>. '
        "And there it was, {spot}! "
        "The {thing} was {color} as ever, <both were glad>."
        '{plot := "losing"}{ending := "found again"}',
    ],
    "giving": [
        "<One day> it was the birthday of <a friend>. "
        "{hero} had <a thing> and <another thing>. "
        "<the gift> "
        '"Just what I wanted!" <said the friend>. '
        "The {gift} was {gift_color} as ever, <both were glad>."
        '{plot := "giving"}{giver := hero}{receiver := friend}{ending := "given"}',
    ],
    "the gift": [
        "{gift := thing}{gift_color := color}<wrapped>",
        "{gift := other_thing}{gift_color := other_color}<wrapped>",
    ],
    "wrapped": [
        "{hero.He} [tied a ribbon round|made a parcel of] the {gift} and gave it to {friend}.",
    ],
    "sharing": [
        "<One day> {hero} took {count: number} {goods: goods} for a walk and counted "
        "{birds: flock} birds. "
        "[Under a tree|By the path] sat <a friend>. "
        '"I am [very|so] hungry!" <said the friend>. '
        "The {goods} were {count}: {given: gift_of of count} went to {friend}, and "
        "{left: rest_of of count given} were left. "
        "They [munched|nibbled] side by side until supper, <both were glad>."
        '{plot := "sharing"}{giver := hero}{gift := goods}{receiver := friend}'
        '{ending := "shared"}',
    ],
    "trading": [
        "<One day> {hero} had <a thing>, but wanted {other_thing.a: household}. "
        "Then {hero.he} met <a friend>, who had {other_color.a: household_color} one. "
        '"Shall we swap?" asked {hero}. "[Gladly|At once]!" <said the friend>. '
        "So {friend} got the {thing}, and {hero} got the {other_thing}. "
        "<both colors>, <both were glad>."
        '{plot := "trading"}{ending := "swapped"}',
    ],
    "both colors": [
        "The {thing} was {color}, the {other_thing} was {other_color}",
        "The {other_thing} was {other_color}, the {thing} was {color}",
    ],
    "hiding": [
        "<One day> {hero} played hide-and-seek with <a friend>. "
        "First {friend} hid {spot: spot}, and {hero} counted to {count: number}. "
        "{hero.He} looked {nook: nook} and found only <a thing>. "
        'Soon {friend} [giggled|sneezed]. "I see you {spot}!" said {hero}. '
        "The {thing} was {color} as ever, <both were glad>."
        '{plot := "hiding"}{ending := "discovered"}',
    ],
    "playing": [
        "<One day> {hero} sat at home with {hero.his} {color: toy_color} {thing: toy}. "
        "Then <a friend> knocked at the [door|window]. "
        '"Come out and {sky.fun}!" <said the friend>. '
        '"[May|Can] my {thing} come too?" asked {hero}. '
        "So off they went, {hero} in front, {friend} behind and the {thing} in the "
        "middle, <both were glad>."
        '{plot := "playing"}{ending := "played outside"}',
    ],
    "visiting": [
        "<One day> {hero} set off to visit <a friend>, who lived {away: far_place}. "
        "{hero.He} had <a thing> and <another thing>. On the way {hero.he} met <a stranger>. "
        '"Where are you going?" it asked. '
        '"To {away.the}, to [see|visit] {friend}," said {hero}. '
        "<the gift> The {gift} was {gift_color} as ever, <both were glad>."
        '{plot := "visiting"}{giver := hero}{receiver := friend}'
        '{ending := "visited"}',
    ],
}

# What to tell somebody whose story contradicts itself.

REASONS = {
    "hero": "the hero is called {hero}",
    "hero.he": "{hero} is a {hero.he}",
    "hero.his": "{hero} is a {hero.he}",
    "kind": "{hero} is {kind.a}",
    "home": "{hero} lives {home}",
    "sky.fun": "the day is {sky}",
    "friend": "the friend is called {friend}",
    "friend.him": "{friend} is a {friend.he}",
    "friend_kind.sound": "{friend} is {friend_kind.a}",
    "away": "{friend} lives {away}",
    "thing": "the story is about {thing.a}",
    "color": "the {thing} is {color}",
    "other_thing": "the other thing is {other_thing.a}",
    "other_color": "the {other_thing} is {other_color}",
    "gift": "{hero} gave the {gift} away",
    "gift_color": "the {gift} is {gift_color}",
    "spot": "it was {spot}",
    "goods": "the story is about {goods}",
    "given": "there were {count} {goods}",
    "left": "{count} less {given} leaves {left}",
}

# No model can have a lower loss per story than its entropy: the end-of-text token after a story
# costs nothing more, for a story always shows that it is over.
STORYBOOK = Grammar(RULES, TABLES, REASONS)


@dataclass(frozen=True)
class Story:
    """A story, what it tells, and how surprising it is."""

    text: str
    facts: dict[str, str] = field(hash=False)  # "hero": "Mia", "color": "red", "left": "two", ...
    nats: float                                # -log of the probability of exactly this text


def stories(n: int, seed: int, part: str = "train") -> Iterator[Story]:
    """`n` stories, drawn by their probability, one after the other.

    A seed always gives the same stories, of which a larger `n` gives more. No story of the part
    "validation" ever occurs in the part "train", whatever the seeds are: see `part_of`.
    Raises a ValueError for arguments that cannot work.
    """
    n = whole("n", n, "say how many stories you want.", least=1)
    seed = whole("seed", seed, "the usual seed is 0.")
    one_of("part", part, "train", "validation")
    return _told(n, random.Random(seed), part)


def _told(n: int, chance: random.Random, part: str) -> Iterator[Story]:
    while n:
        told = STORYBOOK.tell(chance)
        if part_of(told.text) == part:
            n -= 1
            yield _story(told)


def _story(told: Text) -> Story:
    return Story(told.text, {fact: str(word) for fact, word in told.facts.items()}, told.nats)


def part_of(text: str) -> str:
    """The part that a story belongs to: "validation" (one story in eight) or "train".

    Its own digest decides, so the parts cannot overlap. A digest knows nothing of what a story
    tells: each part has the probabilities and the entropy of the whole.
    """
    digest = hashlib.sha256(_checked(text).encode("utf-8", "surrogatepass")).digest()
    return "validation" if digest[0] % 8 == 0 else "train"


def parse(text: str) -> Story:
    """Read a story back. Raises a ReadingError that says where another text goes wrong, and why."""
    return _story(STORYBOOK.read(_checked(text)))


def next_distribution(prefix: str) -> dict[str, float]:
    """The exact probability of each character that can follow `prefix`; "" is the end.

    This is what a perfect reader knows, and characters are the same for every tokenizer.
    Raises a ReadingError if no story begins with `prefix`: from its `at` on, nothing fits.
    """
    return STORYBOOK.next_distribution(_checked(prefix))


def next_words(prefix: str) -> dict[str, float]:
    """The exact probability of each way to go on to the end of a word: {' a': 0.9, ' an': 0.1}.

    A word brings the space before it and the signs after it; a word that `prefix` has begun is
    completed. Raises a ReadingError if no story begins with `prefix`.
    """
    return STORYBOOK.next_words(_checked(prefix))


def nats_of_beginning(prefix: str) -> float:
    """-log of the probability that a story begins with `prefix`.

    So a token costs the perfect reader nats_of_beginning(text + token) - nats_of_beginning(text).
    Raises a ReadingError if no story begins with `prefix`.
    """
    return STORYBOOK.nats_of_beginning(_checked(prefix))


@dataclass(frozen=True)
class Judgement:
    """How good generated stories are."""

    valid: float                     # share of the texts that are stories of this world
    new: float                       # share of the valid ones that were not seen before
    mistakes: tuple[str | None, ...] # per text: its first mistake in words, or None


def judge(texts: Sequence[str], seen: Collection[str] = ()) -> Judgement:
    """Read every text as a story. `seen` holds the texts that the model was trained on.

    Raises a ValueError for anything but a list of at least one text.
    """
    if isinstance(texts, str) or not isinstance(texts, Sequence) or not texts:
        raise ValueError(
            f"texts is {shown(texts)}, but must be a list with at least one text: judge([text])."
        )
    mistakes = tuple(_first_mistake(text) for text in texts)
    valid = [text for text, mistake in zip(texts, mistakes, strict=True) if mistake is None]
    seen = set(listed("seen", seen, "pass the texts that the model was trained on."))
    new = sum(text not in seen for text in valid)
    return Judgement(len(valid) / len(texts), new / max(len(valid), 1), mistakes)


def _first_mistake(text: str) -> str | None:
    try:
        parse(text)
    except ReadingError as mistake:
        return str(mistake)
    return None


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(
            f"The text is {type(text).__name__}, but must be a string: "
            "decode token ids with tokenizer.decode(ids) first."
        )
    return text
