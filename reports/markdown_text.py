"""Text of strangers in GitHub's Markdown: shown as it is, never a link, mention, image, tag, heading or cell end."""

import re
from collections.abc import Iterable

from lastbit.reports import summary

#: Words that say the same in Markdown as out of it. All others are code spans, in which nothing is active: GitHub looks
#: for mentions, issues, commits, addresses, mathematics and emoji everywhere else, behind any escape.
_INERT = re.compile(r"\[?(?:[A-Za-z0-9.,;()'\"%/+=!?>…-]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9]))+\]?:?")
#: Inert characters that nevertheless become a link: an address, a commit, an issue.
_LINKED = re.compile(r"www\.|\b[0-9a-f]{7,40}\b|\bGH-\d", re.IGNORECASE)
#: What may begin a sentence: no mark of a list, a rule or a heading.
_FIRST = re.compile(r"[A-Za-z(\"'…]|[+-]?\d+(?![\d.)])|[+-]?\d+[.)]\S")
_RUN = re.compile(r"`+")


def code(text: str, width: int = 300) -> str:
    """`text` as a code span; "" where there is none."""
    shown = summary.clean(text, width).strip()
    if not shown:
        return ""
    fence = _fence(shown, 1)
    pad = " " if shown[0] == "`" or shown[-1] == "`" else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def in_cell(markdown: str) -> str:
    """Text made by this module, as it has to be written in a cell of a table."""
    return markdown.replace("|", "\\|")


def sentence(text: str, width: int = 300) -> str:
    """`text` with the words that Markdown could take for something as code spans."""
    parts: list[tuple[bool, str]] = []
    for word in summary.clean(text, width).split():
        inert = bool(_INERT.fullmatch(word)) and not _LINKED.search(word)
        inert = inert and (bool(parts) or bool(_FIRST.match(word)))
        if parts and not inert and not parts[-1][0]:
            parts[-1] = (False, f"{parts[-1][1]} {word}")
        else:
            parts.append((inert, word))
    return " ".join(word if inert else _spanned(word) for inert, word in parts)


def block(lines: Iterable[str], width: int = 300) -> list[str]:
    """`lines` as a block of code."""
    shown = [summary.clean(line, width) for line in lines]
    fence = _fence("\n".join(shown), 3)
    return [f"{fence}text", *shown, fence]


def _spanned(words: str) -> str:
    """A code span, without the sentence's own punctuation."""
    inside = words.rstrip(",;:.") or words
    return code(inside, len(inside)) + words[len(inside) :]


def _fence(text: str, least: int) -> str:
    """More backticks in a row than `text` has."""
    return "`" * max(least, 1 + max(map(len, _RUN.findall(text)), default=0))
