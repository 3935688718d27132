"""Text from outside, as a person may see it: nothing drives a terminal, no credential is shown.

A terminal acts on control characters; bidirectional and invisible ones make text read as other
text; a password travels in a URL. What is left are the letters of right-to-left scripts and those
that look alike.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

HIDDEN = "***"
_MOST_MARKS = 2
"""Marks above and below one letter; more of them reach into other lines."""
# Default_Ignorable_Code_Point of the Unicode Character Database and the blank braille pattern, as
# far as `str.isprintable` calls them printable.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
_SPELLED = str.maketrans(
    {
        "·": "-",
        "→": "->",
        "…": "...",
        "×": "x",
        "–": "-",
        "—": "-",
        "─": "-",
        "━": "-",
        "│": "|",
        "█": "#",
        "✓": "+",
        "✗": "x",
        "≥": ">=",
        "≤": "<=",
    }
)
"""The signs of our own texts, for who cannot have them."""
_STORES = "s3|gs|local|vault|awskms|gcpkms|unix|file"
_IN_STORE = re.compile(rf"\b({_STORES})://[^\s/?#]*@", re.IGNORECASE)
# The user ends at the last @ of the word, since passwords with / and ? are met unescaped; where
# what follows a colon is no port, at the last @ of the line.
_ELSEWHERE = re.compile(
    rf"\b(?!(?:{_STORES}):)([a-z][a-z0-9+.-]{{0,30}})://"
    r"(\S*@|[^\s/?#:]*:(?!\d*(?:[\s/?#'\"]|$)).*@)?"
    r"(\S*?)(?=['\"]?(?:\s|$))",
    re.IGNORECASE,
)
# `user:password@host`; `image:tag@sha256:…` is none. Bounded, as text can be long.
_BARE = re.compile(r"(?<![^\s'\"=,;(/])[^\s:@/'\"=,;(]{1,100}:[^\s@/]{1,500}@(?!sha256:)(?=[\w\[])")


def visible(text: str) -> str:
    r"""``text`` with all that cannot be seen as an escape (``\x1b``, ``\u202e``); one line."""
    if text.isascii() and text.isprintable():
        return text
    shown = []
    marks = _MOST_MARKS  # none is shown where there is no letter before it
    for char in text:
        kind = unicodedata.category(char)
        if kind in ("Mn", "Me"):
            marks += 1
        elif kind != "Mc":  # a vowel sign beside its letter, which takes room
            marks = 0 if kind[0] == "L" else _MOST_MARKS
        seen = char.isprintable() and not _BLANK.match(char) and marks <= _MOST_MARKS
        shown.append(char if seen else char.encode("unicode_escape").decode())
    return "".join(shown)


def without_credentials(text: str) -> str:
    """``text`` whose URLs have lost user, password, query and fragment.

    Of addresses in stores, whose names may hold ``?`` and ``#``, only the user goes.
    """
    if "@" not in text and "://" not in text:
        return text
    text = _IN_STORE.sub(rf"\1://{HIDDEN}@", text)
    return _BARE.sub(f"{HIDDEN}@", _ELSEWHERE.sub(_bare_url, text))


def shortened(text: str, most: int) -> str:
    """At most ``most`` characters of ``text``, cut once its credentials are gone."""
    text = without_credentials(text)
    return text if len(text) <= most else text[: most - 3] + "..."


def _bare_url(found: re.Match[str]) -> str:
    scheme, user, rest = found.groups()
    path = re.split("[?#]", rest, maxsplit=1)[0]
    query = rest[len(path) : len(path) + 1] + HIDDEN if path != rest else ""
    return f"{scheme}://{f'{HIDDEN}@' if user else ''}{path}{query}"


def spelled(error: UnicodeError) -> tuple[str, int]:
    """What an encoding does not have: our own signs in ASCII, anything else as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_SPELLED)
    return text.encode("ascii", "backslashreplace").decode(), error.end


SPELLED = "strongroom.spelled"
"""The name of that handler, for ``str.encode`` and streams."""
codecs.register_error(SPELLED, spelled)
