"""English for templates: articles, plurals, number words."""

from __future__ import annotations

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_IRREGULAR = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "people",
    "mouse": "mice",
    "goose": "geese",
    "foot": "feet",
    "tooth": "teeth",
    "ox": "oxen",
    "leaf": "leaves",
    "loaf": "loaves",
    "knife": "knives",
    "wolf": "wolves",
    "shelf": "shelves",
    "scarf": "scarves",
    "sheep": "sheep",
    "fish": "fish",
    "deer": "deer",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "mango": "mangoes",
    "calf": "calves",
}
_PLURAL_ONLY = frozenset({"scissors", "jeans", "shorts", "glasses", "headphones", "pants", "trousers"})
_AN = ("hour", "honest", "heir")
_A = ("uni", "use", "usu", "one", "eu", "ukulele", "ute")


def article(phrase: str) -> str:
    """Return the phrase with "a" or "an" by its sound; plural-only nouns take "a pair of"."""
    if phrase.rpartition(" ")[2] in _PLURAL_ONLY:
        return f"a pair of {phrase}"
    word = phrase.lower()
    vowel = word.startswith(_AN) or (word[:1] in set("aeiou") and not word.startswith(_A))
    if word.startswith(("unimp", "unint", "unini", "uniden")):  # "unimportant", unlike "unicorn"
        vowel = True
    return f"{'an' if vowel else 'a'} {phrase}"


def plural(phrase: str) -> str:
    """Return the plural of a noun phrase whose last word is its noun."""
    head, _, noun = phrase.rpartition(" ")
    return f"{head} {_plural(noun)}".strip()


def _plural(noun: str) -> str:
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun in _PLURAL_ONLY:
        return noun
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in set("aeiou"):
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def number_word(text: str) -> str | None:
    """Return "one" to "ten" for a number word or numeral, or None for anything else."""
    word = text.strip().lower()
    if word.isdecimal() and 1 <= int(word) <= len(NUMBERS):
        return NUMBERS[int(word) - 1]
    return word if word in NUMBERS else None


def counted(number: str, noun: str) -> str:
    """Return "one cross" or "two crosses"."""
    return f"{number} {noun if number == 'one' else plural(noun)}"
