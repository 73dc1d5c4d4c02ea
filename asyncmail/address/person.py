"""The name of a person, as well as an address tells it."""

from __future__ import annotations

import re

__all__ = ["person_name"]

_OUTER = " \t\"'()[]<>.,;"
_ASIDE = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_BRACKETS = str.maketrans("", "", "()[]")  # what is left of asides within asides
_NO_NAME = re.compile(r"\S@\S|=\?")  # an address, an encoded word that could not be decoded

_LETTERS = re.compile(r"[^\W\d_]+")
_NUMERAL = re.compile(r"x{0,3}(?:i{2,3}|i[vx]|vi{0,3})", re.IGNORECASE)  # not Xi, a family name
_PARTICLES = frozenset(
    ("af", "da", "de", "del", "den", "der", "di", "du", "la", "le", "ter", "van", "von", "zu")
)
_TITLES = frozenset(
    ("cpa", "dds", "esq", "ii", "iii", "iv", "jd", "jr", "mba", "md", "msc", "phd", "rn", "sr")
)

_SEPARATOR = re.compile(r"[._]+")
_GIVEN_NAME = re.compile(r"/g=([^/]+)", re.IGNORECASE)
_SURNAME = re.compile(r"/s=([^/]+)", re.IGNORECASE)


def person_name(display_name: str, local_part: str) -> str:
    """Return the name by which to call the owner of a mailbox, empty if nothing tells it.

    The display name without asides, titles and quotes, `Last, First` put in order; if there is none worth that name,
    a local part such as `first.last`. What is wholly in capital or in small letters gets the usual capitals.
    """
    return _from_display_name(display_name) or _from_local_part(local_part)


def _from_display_name(display_name: str) -> str:
    name = _ASIDE.sub(" ", display_name).strip(_OUTER) or display_name
    name = name.translate(_BRACKETS).replace("\\", "").strip(_OUTER)
    if _NO_NAME.search(name) or not _LETTERS.search(name):
        return ""
    family, _, rest = name.partition(",")
    given = rest.partition(",")[0]
    if _is_family_name(family.split()) and given.replace(".", "").strip().lower() not in _TITLES:
        name = f"{given} {family}"
    else:
        name = family
    return _capitalize(name.split())


def _is_family_name(words: list[str]) -> bool:
    return len(words) < 2 or words[0].lower() in _PARTICLES


def _from_local_part(local_part: str) -> str:
    surname = _SURNAME.search(local_part)
    if surname:  # X.400, RFC 2156 §2.3
        given_name = _GIVEN_NAME.search(local_part)
        words = [given_name[1]] if given_name else []
        return _capitalize([*words, surname[1]])
    words = [word.rstrip("0123456789") for word in _SEPARATOR.split(local_part.partition("+")[0])]
    if len(words) < 2 or not all(word.replace("-", "").isalpha() for word in words):
        return ""
    return _capitalize(words)


def _capitalize(words: list[str]) -> str:
    name = " ".join(words)
    if not (name.isupper() or name.islower()):
        return name
    first, *others = words
    return " ".join([_capitalize_word(first), *(_capitalize_later_word(word) for word in others)])


def _capitalize_later_word(word: str) -> str:
    if word.lower() in _PARTICLES:
        return word.lower()
    return word.upper() if _NUMERAL.fullmatch(word) else _capitalize_word(word)


def _capitalize_word(word: str) -> str:
    return _LETTERS.sub(_capitalize_run, word)


def _capitalize_run(run: re.Match[str]) -> str:
    letters = run[0].lower()
    if len(letters) == 1 and run.start():
        return letters  # the end of "Rosie's"
    if letters.startswith("mc") and len(letters) > 4:
        return f"Mc{letters[2:].capitalize()}"
    return letters.capitalize()
