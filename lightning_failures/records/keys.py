r"""Logged keys: names joined by slashes, how a name is written into one, and patterns with stars.

A key is a path, ``failures/factors/high/dark``, and each name in it (a factor, a layer, a band, a cue, a class) is one
segment. A name is escaped once, where it is logged, so that it stays one segment whatever it holds. In a condition

- a ``*`` stands for any one name, or for a part of one: ``failures/factors/high/*``, ``net.*``; several stars stand for
  one name each, in order; a star never stands for one of the totals, :data:`RESERVED`;
- a segment in double or single quotes is a name as it is, whatever it holds: ``failures/factors/high/"CD8+/CD4-"``,
  ``failures/factors/high/'size<16'``; a quote inside is written twice, or behind a backslash, as is a backslash;
- a key of a monitor in quotes as a whole may hold comparisons, while slashes and stars mean what they mean without
  quotes: ``"failures/factors/high/size < 16"``;
- outside quotes, a backslash before one of ``< > = ! / * " ' \`` makes it a part of the name:
  ``failures/factors/high/size\<16``.

Escapes are those of URIs: :rfc:`3986`, section 2.1.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from urllib.parse import unquote

from lightning_failures.errors import InputError

__all__ = [
    "RESERVED",
    "covers_key",
    "escape",
    "fill_key",
    "match_key",
    "parse_key",
    "subject_in_words",
    "unescape",
    "unknown_key",
    "without_names",
    "write_key",
]

#: Last segments that say something of all names together; no name is logged as one of them.
RESERVED = frozenset({"all", "worst", "worst_shrunk", "smallest", "median", "non_finite"})

#: How a key is written, for errors.
FORM = 'Join names by single slashes; write a name that holds a slash, a star or a quote as "NAME", its quotes twice.'

# What would break a key, C0 and C1 control characters among it, and a percent sign that would read as an escape.
_BREAKS = re.compile(r'[/*"\x00-\x1f\x7f-\x9f]|%(?=[0-9A-Fa-f]{2})')
# What may follow a name in quotes.
_END = r"(?=[/\s<>=!]|$)"
# Names in quotes: with backslashes before quotes; with backslashes that are as they stand; whatever follows.
_QUOTED = {
    quote: [
        (re.compile(rf"{quote}((?:[^{quote}\\]|\\[\s\S]|{quote}{quote})*){quote}{_END}"), True),
        (re.compile(rf"{quote}((?:[^{quote}]|{quote}{quote})*){quote}{_END}"), False),
    ]
    for quote in "\"'"
}
_QUOTED['"'].append((re.compile(r'"((?:[^"]|"")*)"'), False))
_SPECIAL = r"""[<>=!/*"'\\]"""
_BACKSLASH = re.compile(rf"\\({_SPECIAL})")
# What a condition or a bound would read as something else, were it not quoted.
_AMBIGUOUS = re.compile(rf"(?:^|\s)[<>=!+-]+(?:\s|$)|^\s|\s$|^'|\\{_SPECIAL}")
_NOT_FIRST = re.compile(r"[-+.,\d]|(?:true|false|none|null|nan|inf|infinity)$|[^\w*]+$", re.IGNORECASE)


def escape(name: str, where: str = "escape") -> str:
    """A name as one segment of a key.

    Only what would break a key is percent-encoded: a slash, a star, a double quote, control characters, a percent sign
    before two hexadecimal digits, and the first letter of a name that is one of :data:`RESERVED`.

    Args:
        name: for example of a factor.
        where: the public name that was called, for the error.

    Raises:
        InputError: the name is empty.

    Example:
        >>> escape("CD8+/CD4-"), escape("size<16"), escape("worst"), escape("50%")
        ('CD8+%2FCD4-', 'size<16', '%77orst', '50%')
    """
    if not name:
        raise InputError(where, "an empty name", repr(name), "Give it at least one character.")
    if name in RESERVED:
        return _percent(name[0]) + name[1:]
    return _BREAKS.sub(lambda found: _percent(found[0]), name)


def unescape(segment: str) -> str:
    """The name that :func:`escape` was given.

    Example:
        >>> unescape("CD8+%2FCD4-"), unescape("%77orst"), unescape("50%")
        ('CD8+/CD4-', 'worst', '50%')
    """
    return unquote(segment)


def parse_key(text: str, where: str, *, within: str | None = None, at: int = 0) -> str:
    r"""Read a key, or a pattern of keys, as it is written in a condition.

    Args:
        text: of the key; white space around it does not count.
        where: the public name that was called, for the error.
        within: the whole text that was given, where this is a part of it.
        at: the place in it where ``text`` begins.

    Returns:
        The key as it is logged: quoted names escaped, stars as they are.

    Raises:
        InputError: it can match no key: an empty segment, two stars side by side, a quote that is not closed or that
            does not hold a whole name; the error says at which position, counted from 1.

    Example:
        >>> parse_key('failures/factors/high/"CD8+/CD4-"', "report")
        'failures/factors/high/CD8+%2FCD4-'
        >>> parse_key("failures/factors/high/'size<16'", "report"), parse_key(r"high/size\<16", "report")
        ('failures/factors/high/size<16', 'high/size<16')
    """

    def refuse(wrong: str, place: int) -> InputError:
        given = text if within is None else within
        return InputError(where, f"{wrong} at position {at + place + 1}", repr(given), FORM)

    segments: list[str] = []
    place = len(text) - len(text.lstrip())
    end = max(len(text.rstrip()), place)
    while True:
        quoted = _read_quoted(text, place, end)
        stop = quoted[0] if quoted else _end_of_segment(text, place, end)
        if not quoted and text[stop:end].startswith('"'):
            raise refuse("an open quote" if stop == place else "a quote inside a name", stop)
        if quoted and text[stop:end][:1] not in ("", "/"):
            raise refuse("text beside a quoted name", stop)
        names = [quoted[1]] if quoted else [text[place:stop]]
        whole = quoted is not None and not segments and stop == end and names[0].startswith("failures/")
        for name in names[0].split("/") if whole else names:
            if not name:
                raise refuse("an empty name", place)
            if (whole or not quoted) and "**" in name:
                raise refuse("two stars side by side where one stands for a name", text.index("**", place))
            if whole:
                segments.append(name.replace('"', _percent('"')))
            else:
                segments.append(escape(name) if quoted else _BACKSLASH.sub(lambda found: escape(found[1]), name))
        if stop == end:
            return "/".join(segments)
        place = stop + 1


def without_names(text: str) -> str:
    r"""A text at the same length, with letters for what is certainly of a name: quoted, or behind a backslash.

    Example:
        >>> without_names('f/"a <= b" <= 2'), without_names(r"f/size\<16<2"), without_names("f/O'Brien's <= 2")
        ('f/xxxxxxxx <= 2', 'f/sizexx16<2', "f/O'Brien's <= 2")
    """
    pieces, place = [], 0
    while place < len(text):
        first = place == 0 or text[place - 1] in "/<>=!" or text[place - 1].isspace()
        quoted = _read_quoted(text, place, len(text)) if first or text[place] == '"' else None
        stop = quoted[0] if quoted else place + 2 if _BACKSLASH.match(text, place) else place + 1
        pieces.append("x" * (stop - place) if quoted or stop > place + 1 else text[place])
        place = stop
    return "".join(pieces)


def write_key(key: str) -> str:
    """A key as it is written in a condition, with quotes where it needs them; :func:`parse_key` reads it back.

    Example:
        >>> write_key("failures/factors/high/CD8+%2FCD4-"), write_key("failures/factors/high/*"), write_key("val/acc")
        ('failures/factors/high/"CD8+/CD4-"', 'failures/factors/high/*', 'val/acc')
    """
    return "/".join(_written(segment, first=place == 0) for place, segment in enumerate(key.split("/")))


@lru_cache(2**16)  # each rule asks of each key, at every evaluation
def match_key(pattern: str, key: str) -> str | None:
    """What the stars of a pattern stand for in a key, joined by slashes; None where the key is no such one.

    Example:
        >>> match_key("failures/*/high/*", "failures/factors/high/dark"), match_key("low/*", "low/worst")
        ('factors/dark', None)
    """
    found = _form(pattern).fullmatch(key)
    return "/".join(found.groups()) if found else None


def fill_key(pattern: str, subject: str) -> str:
    """The key in which the stars stand for these names, in order; stars that are left over stay.

    Args:
        pattern: a key with stars, or without.
        subject: names as :func:`match_key` gives them; may be more than there are stars.

    Example:
        >>> fill_key("low/*", "dark"), fill_key("*/low/*", "factors/dark"), fill_key("chance", "dark")
        ('low/dark', 'factors/low/dark', 'chance')
    """
    names = iter(subject.split("/") if subject else ())
    return re.sub(r"\*", lambda star: next(names, star[0]), pattern)


def subject_in_words(subject: str) -> str:
    """What the stars stand for, for people.

    Example:
        >>> subject_in_words("CD8+%2FCD4-"), subject_in_words("factors/dark")
        ('CD8+/CD4-', 'factors, dark')
    """
    return ", ".join(map(unescape, subject.split("/")))


def covers_key(pattern: str, other: str) -> bool:
    """Whether each key of the other pattern is one of this pattern too.

    Example:
        >>> covers_key("x/*", "x/dark"), covers_key("x/*", "x/d*"), covers_key("x/d*", "x/*")
        (True, True, False)
        >>> covers_key("x/*", "x/worst")
        False
    """
    return _form(pattern).fullmatch(other) is not None  # a star of the other is matched like a character of a name


def unknown_key(key: str, known: Iterable[str]) -> str:
    """A key that was not logged, and the three that were and may be meant, the user's own first.

    Example:
        >>> print(unknown_key("val_los", ["failures/factors/low/dark", "val_acc", "val_loss"]))
        'val_los' was not logged; the nearest that were: 'val_loss', 'val_acc', 'failures/factors/low/dark'.
        >>> print(unknown_key("failures/collapse/los", ["failures/collapse/loss"]))
        'failures/collapse/los' was not logged; the nearest that was: 'failures/collapse/loss'.
    """
    near = sorted(get_close_matches(key, sorted(known), n=3, cutoff=0), key=lambda each: each.startswith("failures/"))
    named = ", ".join(f"'{write_key(each)}'" for each in near)
    return f"'{write_key(key)}' was not logged; the nearest that {'were' if near[1:] else 'was'}: {named}."


def _read_quoted(text: str, start: int, end: int) -> tuple[int, str] | None:
    """Where a name in quotes that begins here ends, and the name; None where none does."""
    quote = text[start : min(start + 1, end)]
    for pattern, backslashes in _QUOTED.get(quote, ()):
        if found := pattern.match(text, start, end):
            twice = rf"\\([\"'\\])|{quote}{quote}" if backslashes else rf"{quote}({quote})"
            return found.end(), re.sub(twice, lambda part: part[1] or quote, found[1])
    return None


def _end_of_segment(text: str, start: int, end: int) -> int:
    """Where a name without quotes ends: at a slash or a double quote that no backslash stands before."""
    place = start
    while place < end and text[place] not in '/"':
        place += 2 if _BACKSLASH.match(text, place, end) else 1
    return place


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def _written(segment: str, first: bool) -> str:
    if "*" in segment:
        return segment
    name = unescape(segment)
    if escape(name) != segment:  # a key of the user's own, which nobody escaped
        return segment
    plain = name == segment and not _AMBIGUOUS.search(name) and not (first and _NOT_FIRST.match(name))
    return name if plain else '"' + re.sub(r"""\\(?=["'\\]|$)""", r"\\\\", name).replace('"', '""') + '"'


@lru_cache(maxsize=1024)
def _form(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression with one group a star."""
    *path, last = ("([^/]+)".join(map(re.escape, segment.split("*"))) for segment in pattern.split("/"))
    if "*" in pattern.rpartition("/")[2]:
        last = rf"(?!(?:{'|'.join(sorted(RESERVED))})\Z){last}"
    return re.compile("/".join([*path, last]))
