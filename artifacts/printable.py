"""Data as text that a terminal or a log shows as it is: no line break or control sequence of it is obeyed."""

from itertools import accumulate
from unicodedata import east_asian_width


def one_line(text: str) -> str:
    """Text without line breaks and control characters: they are escaped as in Python's literals."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def columns_of(letter: str) -> int:
    """How many columns of a terminal a letter takes."""
    return 2 if east_asian_width(letter) in "WF" else 1


def fitted(text: str, columns: int) -> str:
    """The beginning of a text of one line that takes so many columns of a terminal."""
    return text[: sum(end <= columns for end in accumulate(map(columns_of, text)))]


def printable(text: str) -> str:
    """Text that may have lines: its line breaks stay, other control characters are escaped."""
    return "\n".join(map(one_line, text.split("\n")))


def is_text(value: str) -> bool:
    """Whether a text can be written as UTF-8 and named as a path: neither lone surrogates nor NUL."""
    return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
