"""A grammar whose texts have known probabilities, so that the best possible loss is known too.

A grammar is a set of rules. Each rule lists ways to say something, all of them equally likely:

>>> pets = Grammar(
...     rules={"story": ["{owner: name} has {pet.a: animal}. <end>"],
...            "end": ["[Look|See], it is {owner.his} {pet}!", "{owner.He} [feeds|loves] it."]},
...     tables={"name": words("Ida", he="she", his="her") + words("Tom", he="he", his="his"),
...             "animal": words("owl, cat, hen")})
>>> pets.tell(random.Random(1)).text
'Ida has a hen. She feeds it.'
>>> pets.number_of_texts, round(math.exp(pets.entropy), 6)      # 2 names · 3 animals · 4 ends
(24, 24.0)
>>> pets.read("Tom has an owl. She loves it.")
Traceback (most recent call last):
gptlib.corpus.grammar.ReadingError: At character 17, after 'Tom has an owl.', the text says ...

What a way to say something may contain:

    {pet: animal}          draws a word from the table `animal`, remembers it as the fact `pet`
    {pet}                  says that word again
    {pet.a}                says it in another form; also where it is drawn, {pet.a: animal}
    {Pet}, {owner.He}      with a capital letter
    {left: rest of count}  draws from a table that depends on an earlier fact: `rest[count]`
    [Look|See]             one of several wordings, equally likely
    <end>                  goes on with one of the ways of the rule `end`
    {winner := owner}      says nothing, but remembers the word under another name
    {mood := "merry"}      says nothing, but remembers the word as it stands

A list of words is drawn from without replacement: a second name always differs from the first.

All of it becomes a graph, and a text is a walk through that graph. Every place of it knows its
`moves`, and whatever this module does (tell a text, read one, count them all, foresee the next
letter) it does by asking for the moves. Each of k moves costs log k nats, so the entropy H of the
text follows from its end to its start:

    H(place) = log k + mean of H(next place),    H(end) = 0

That is the chain rule of Shannon (1948), "A Mathematical Theory of Communication", section 6. It
is the entropy of the walk, and of the text too if no two walks give the same text: `read` makes
sure of that, for every text it reads.
"""

from __future__ import annotations

import math
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import NamedTuple


class Word:
    """One word of a table and its other forms: with an article ("an owl"), and those given."""

    def __init__(self, text: str, **forms: str):
        article = "an" if text[0].lower() in "aeiou" else "a"
        self.forms = {"plain": text, "a": f"{article} {text}", **forms}
        for form, written in list(self.forms.items()):
            self.forms[form.capitalize()] = written[:1].upper() + written[1:]

    def __str__(self) -> str:
        return self.forms["plain"]


def words(text: str, **forms: str) -> list[Word]:
    """Words that share their forms: words("Ida, Ada", he="she")."""
    return [Word(word.strip(), **forms) for word in text.split(",")]


def table(columns: str, *rows: str) -> list[Word]:
    """Words with forms of their own: table("plain | sound", "frog | croaked", "owl | hooted")."""
    _, *forms = (column.strip() for column in columns.split("|"))
    cells = ([cell.strip() for cell in row.split("|")] for row in rows)
    return [Word(text, **dict(zip(forms, others, strict=True))) for text, *others in cells]


Facts = Mapping[str, Word]  # what a text has told so far, by name


class Move(NamedTuple):
    """One way on from a place."""

    says: str
    learns: Facts     # what it adds to the facts
    to: Place | None  # None is the end of the text


class Place:
    """A place in the graph; a walk comes here with the facts that it has learned on its way."""

    # The facts that decide how many ways lead on from here or from any later place. All other
    # facts decide what is said, but no probability.
    looks_at: frozenset[str]

    def moves(self, facts: Facts) -> Sequence[Move]:
        """Every way on, all equally likely."""
        raise NotImplementedError


class Say(Place):
    """Says what it always says."""

    def __init__(self, text: str, to: Place | None):
        self.looks_at = _looks_at(to)
        self._moves = (Move(text, {}, to),)

    def moves(self, facts: Facts) -> Sequence[Move]:
        return self._moves


class Recall(Place):
    """Says the word of a fact again."""

    def __init__(self, fact: str, form: str, to: Place | None):
        self.fact, self.form = fact, form
        self.looks_at = _looks_at(to)
        self._moves = cache(lambda word: (Move(word.forms[form], {}, to),))

    def moves(self, facts: Facts) -> Sequence[Move]:
        return self._moves(facts[self.fact])


class Note(Place):
    """Says nothing, but remembers a word, or the word of another fact, as `fact`."""

    def __init__(self, fact: str, source: Word | str, to: Place | None):
        self.fact, self.source, self.to = fact, source, to
        self.looks_at = _looks_at(to) - {fact}
        if fact in _looks_at(to) and isinstance(source, str):
            self.looks_at |= {source}

    def moves(self, facts: Facts) -> Sequence[Move]:
        word = facts[self.source] if isinstance(self.source, str) else self.source
        return (Move("", {self.fact: word}, self.to),)


class Draw(Place):
    """Says a word that is still free, and remembers it as `fact`.

    `rivals` are all facts that are drawn from the same list: their words are taken.
    """

    def __init__(
        self, fact: str, form: str, choices: list[Word], rivals: set[str], to: Place | None
    ):
        self.looks_at = _looks_at(to) - {fact}
        self.rivals = rivals
        self._moves = cache(
            lambda *taken: [
                Move(word.forms[form], {fact: word}, to) for word in choices if word not in taken
            ]
        )

    def moves(self, facts: Facts) -> Sequence[Move]:
        return self._moves(*[facts[rival] for rival in self.rivals if rival in facts])


class Derive(Place):
    """Says a word of the list that earlier facts point to, and remembers it as `fact`."""

    def __init__(
        self, fact: str, form: str, choices: Mapping[str, list[Word]], by: list[str],
        to: Place | None,
    ):
        self.fact, self.form, self.by = fact, form, by
        self.looks_at = _looks_at(to) - {fact} | set(by)
        self._moves = {
            key: [Move(word.forms[form], {fact: word}, to) for word in some]
            for key, some in choices.items()
        }

    def moves(self, facts: Facts) -> Sequence[Move]:
        return self._moves[" ".join(str(facts[fact]) for fact in self.by)]


class Fork(Place):
    """Says nothing, but leads on in several ways."""

    def __init__(self, ways: list[Place]):
        self.looks_at = frozenset().union(*(_looks_at(way) for way in ways))
        self._moves = [Move("", {}, way) for way in ways]

    def moves(self, facts: Facts) -> Sequence[Move]:
        return self._moves


def _looks_at(place: Place | None) -> frozenset[str]:
    return place.looks_at if place else frozenset()


class Text(NamedTuple):
    """A text of a grammar, what it tells, and how surprising it is."""

    text: str
    facts: Facts
    ways: int    # its probability is 1 / ways, exactly: the choices of its walk, multiplied

    @property
    def nats(self) -> float:
        """-log of the probability of this text."""
        return math.log(self.ways)


class Reading(NamedTuple):
    """A walk that says what was read, to the last character."""

    ways: int         # its probability is 1 / ways
    rest: str         # what the latest move says beyond the text that was read
    facts: Facts
    place: Place | None


class ReadingError(ValueError):
    """No text of the grammar reads like this from character `at` on (counted from 0)."""

    def __init__(self, message: str, at: int):
        super().__init__(message)
        self.at = at


class Grammar:
    """Rules and tables, made into a graph.

    `reasons` say in words why a fact forbids what somebody wrote: {"owner": "the owner is called
    {owner}", "owner.he": "{owner} is a {owner.he}"}. No rule may lead back to itself.
    Raises a ValueError for an entry that cannot be understood.
    """

    def __init__(
        self,
        rules: Mapping[str, Sequence[str]],
        tables: Mapping[str, list[Word] | Mapping[str, list[Word]]],
        reasons: Mapping[str, str] | None = None,
        start: str = "story",
    ):
        self.rules, self.tables, self.reasons = rules, tables, reasons or {}
        self._drawn_from: dict[str, set[str]] = defaultdict(set)  # table -> its facts
        self._start = self._fork(rules[start], None)

    # From rules to a graph. It is built from the end of a text to its start, since every place has
    # to know the place that follows.

    def _fork(self, ways: Sequence[str], to: Place | None) -> Place | None:
        places = [self._path(way, to) for way in ways]
        return places[0] if len(places) == 1 else Fork(places)

    def _path(self, way: str, to: Place | None) -> Place | None:
        for piece in reversed(_PIECES.split(way)):
            if piece.startswith("{"):
                to = self._slot(piece, to)
            elif piece.startswith("<"):
                to = self._fork(self._look_up("rule", self.rules, piece[1:-1]), to)
            elif piece.startswith("["):
                to = self._fork(piece[1:-1].split("|"), to)
            elif piece:
                to = Say(piece, to)
        return to

    def _slot(self, slot: str, to: Place | None) -> Place:
        if note := _NOTE.fullmatch(slot):
            return Note(note["fact"], note["source"] or Word(note["word"]), to)
        parts = _SLOT.fullmatch(slot)
        if parts is None:
            raise ValueError(f"{slot} cannot be understood: write it like {{pet: animal}}.")
        fact, form = _fact_and_form(parts)
        if not parts["table"]:
            return Recall(fact, form, to)
        choices = self._look_up("table", self.tables, parts["table"])
        if parts["by"]:
            return Derive(fact, form, choices, parts["by"].split(), to)
        rivals = self._drawn_from[parts["table"]]
        rivals.add(fact)
        return Draw(fact, form, choices, rivals, to)

    @staticmethod
    def _look_up(kind: str, entries: Mapping, name: str):
        if name not in entries:
            raise ValueError(f"There is no {kind} {name!r}; there are {', '.join(entries)}.")
        return entries[name]

    # Telling: a walk that leaves every choice to chance.

    def tell(self, chance: random.Random) -> Text:
        """A text, drawn by its probability. Only `chance.random()` is called."""
        place, said, facts, ways = self._start, [], {}, 1
        while place:
            moves = place.moves(facts)
            move = moves[0] if len(moves) == 1 else moves[int(chance.random() * len(moves))]
            ways *= len(moves)
            said.append(move.says)
            facts.update(move.learns)
            place = move.to
        return Text("".join(said), facts, ways)

    # Reading: all walks that agree with what was written.

    def read(self, text: str) -> Text:
        """The facts of a text and its surprise. Raises a ReadingError for any other text."""
        whole = [
            reading for reading in self._readings(text) if not (reading.place or reading.rest)
        ]
        if len(whole) > 1:
            raise ValueError(
                f"The rules are ambiguous: {len(whole)} walks say {text!r}, so its probability is "
                "not that of one walk: change the wording of one of them."
            )
        if not whole:
            raise self._mistake(text)
        return Text(text, whole[0].facts, whole[0].ways)

    def _readings(
        self, text: str, dead_ends: list[tuple[int, Place | None, Facts]] | None = None
    ) -> Iterator[Reading]:
        """Every walk whose text begins with `text`, up to the move that says its last character.

        Collects where the other walks had to stop in `dead_ends`.
        """
        size, begins = len(text), text.startswith
        open_ends = [(0, 1, {}, self._start)]
        while open_ends:
            at, ways, facts, place = open_ends.pop()
            if place is None:
                if at == size:
                    yield Reading(ways, "", facts, place)
                elif dead_ends is not None:
                    dead_ends.append((at, place, facts))
                continue
            moves = place.moves(facts)
            ways, stuck = ways * len(moves), True
            for says, learns, to in moves:
                if begins(says, at):
                    known = {**facts, **learns} if learns else facts
                    open_ends.append((at + len(says), ways, known, to))
                elif size < at + len(says) and says.startswith(text[at:]):
                    yield Reading(ways, says[size - at :], {**facts, **learns}, to)
                else:
                    continue
                stuck = False
            if stuck and dead_ends is not None:
                dead_ends.append((at, place, facts))

    def _mistake(self, text: str) -> ReadingError:
        """Where and why `text` is none of ours: the place to which the best walk agrees with it."""
        dead_ends: list[tuple[int, Place | None, Facts]] = []
        if any(True for _ in self._readings(text, dead_ends)):
            goes_on = _one_of(dict.fromkeys(self.next_words(text), ""))
            return ReadingError(
                f"The text stops too early: after {_latest(text)} it should go on with {goes_on}.",
                at=len(text),
            )
        tries = [
            _Try(text[:at] + move.says, place, {**facts, **move.learns})
            for at, place, facts in dead_ends
            for move in (place.moves(facts) if place else [Move("", {}, None)])
        ]
        at = max(_agree(text, attempt.text) for attempt in tries)
        if any(attempt.place is None and len(attempt.text) == at for attempt in tries):
            return ReadingError(
                f"At character {at}, after {_latest(text[:at])}, the text goes on with "
                f"{text[at : at + 20]!r}, but should be over.", at,
            )
        start = text.rfind(" ", 0, at) + 1                       # of the first wrong word
        wanted = {
            _word_at(attempt.text, start, at): self._reason(attempt)
            for attempt in tries
            if _agree(text, attempt.text) >= start
        }
        return ReadingError(
            f"At character {at}, after {_latest(text[:start])}, the text says "
            f"{_word_at(text, start, at)!r}, but should say {_one_of(wanted)}.",
            at,
        )

    def _reason(self, attempt: _Try) -> str:
        """In words, why this place says what it says, if earlier facts left it no choice."""
        place = attempt.place
        if not isinstance(place, (Recall, Derive)):
            return ""
        form = f"{place.fact}.{place.form.lower()}"
        reason = self.reasons.get(form, self.reasons.get(place.fact, ""))
        return _SLOT.sub(lambda slot: _word(slot, attempt.facts), reason)

    # Foreseeing: all walks that agree with a beginning, and where they lead.

    def nats_of_beginning(self, prefix: str) -> float:
        """-log of the probability that a text begins with `prefix`.

        The difference between two beginnings is the surprise of what the longer one adds, be it a
        character, a word or a token. Raises a ReadingError if no text begins so.
        """
        return -math.log(math.fsum(1 / reading.ways for reading in self._agreeing(prefix)))

    def next_distribution(self, prefix: str) -> dict[str, float]:
        """The probability of each character that can follow `prefix`; "" is the end of the text.

        Raises a ReadingError if no text begins with `prefix`.
        """
        return self._ahead(prefix, _CHARACTER)

    def next_words(self, prefix: str) -> dict[str, float]:
        """The probability of each way to go on to the end of a word, as in {" an": 0.5, " a": 0.5}.

        A word takes along the space before it and the sign after it; a word that `prefix` has
        begun is completed. Raises a ReadingError if no text begins with `prefix`.
        """
        return self._ahead(prefix, _REST_OF_WORD)

    def _agreeing(self, prefix: str) -> list[Reading]:
        readings = list(self._readings(prefix))
        if not readings:
            raise self._mistake(prefix)
        return readings

    def _ahead(self, prefix: str, piece: re.Pattern) -> dict[str, float]:
        """Follow every walk that agrees with `prefix` until it has said one more `piece`."""
        open_ends = [(1 / ways, *rest) for ways, *rest in self._agreeing(prefix)]
        total = math.fsum(chance for chance, *_ in open_ends)
        found: dict[str, float] = defaultdict(float)
        while open_ends:
            chance, said, facts, place = open_ends.pop()
            if (complete := piece.match(said)) or not place:
                found[complete[0] if complete else said] += chance / total
                continue
            moves = place.moves(facts)
            for says, learns, to in moves:
                open_ends.append((chance / len(moves), said + says, {**facts, **learns}, to))
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    # Counting: all walks at once, from the end to the start.

    @property
    def number_of_texts(self) -> int:
        """How many different texts there are, exactly."""
        return self._totals[0]

    @property
    def entropy(self) -> float:
        """The mean surprise of a text, in nats: no model of these texts can have a lower loss."""
        return self._totals[1]

    @cached_property
    def _totals(self) -> tuple[int, float]:
        done: dict = {(None, frozenset()): (1, 0.0)}

        def totals(place: Place | None, facts: Facts) -> tuple[int, float]:
            """Number and mean surprise of the walks from here to the end."""
            # Facts that decide no probability may have any value: one value stands for all.
            key = place, frozenset(
                (fact, word if fact in place.looks_at else None) for fact, word in facts.items()
            ) if place else frozenset()
            if key not in done:
                moves = place.moves(facts)
                after = [totals(move.to, {**facts, **move.learns}) for move in moves]
                done[key] = (
                    sum(number for number, _ in after),
                    math.log(len(moves)) + math.fsum(nats for _, nats in after) / len(moves),
                )
            return done[key]

        return totals(self._start, {})


_PIECES = re.compile(r"(\{[^}]*\}|<[^>]*>|\[[^\]]*\])")
_NOTE = re.compile(r"""\{(?P<fact>\w+) := (?:"(?P<word>[^"]*)"|(?P<source>\w+))\}""")
_SLOT = re.compile(
    r"\{(?P<fact>\w+)(?:\.(?P<form>\w+))?(?:: (?P<table>\w+)(?: of (?P<by>[\w ]+))?)?\}"
)
_CHARACTER = re.compile(r".", re.DOTALL)
_REST_OF_WORD = re.compile(r"\s*\S+(?=\s)")


def _fact_and_form(slot: re.Match) -> tuple[str, str]:
    """{Pet} is the fact `pet` in the form `Plain`, which begins with a capital letter."""
    fact, form = slot["fact"], slot["form"] or "plain"
    return (fact.lower(), form.capitalize()) if fact[0].isupper() else (fact, form)


def _word(slot: re.Match, facts: Facts) -> str:
    fact, form = _fact_and_form(slot)
    return facts[fact].forms[form]


class _Try(NamedTuple):
    """What a text would be if it went on as a place in the graph wants it."""

    text: str
    place: Place | None
    facts: Facts


def _agree(one: str, other: str) -> int:
    """On how many characters two texts agree, from the start."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _word_at(text: str, start: int, at: int) -> str:
    """The word from `start` over `at` to the next space."""
    end = text.find(" ", at)
    return text[start:] if end < 0 else text[start:end]


def _latest(text: str) -> str:
    return repr(" ".join(text.split(" ")[-6:]).strip()) if text else "the start"


def _one_of(pieces: Mapping[str, object], most: int = 4) -> str:
    """Pieces and their reasons in words: 'red', 'blue' (because ...) or 'pink'"""
    some = [
        f"{piece!r} ({reason})" if reason else repr(piece)
        for piece, reason in pieces.items()
    ]
    if len(some) > most:
        some = [*some[: most - 1], f"one of {len(some) - most + 1} others"]
    return " or ".join(filter(None, [", ".join(some[:-1]), some[-1]]))
