"""Wiki markup to paragraphs of running text; casing and punctuation stay as written.

mwparserfromhell parses the markup; what is kept of its tree is decided here. Templates, tables,
references, files, categories, headings and trailing sections are left out.
"""

import html
import re
from collections import Counter
from collections.abc import Iterable

import mwparserfromhell
from mwparserfromhell import nodes

MIN_LINE_WORDS = 8
"""Shorter lines are labels, list entries and captions, not prose."""

TRAILING_SECTIONS = frozenset(
    {
        "bibliography", "citations", "external links", "footnotes", "further reading", "gallery",
        "notes", "notes and references", "references", "references and notes", "see also",
        "sources", "works cited",
    }
)  # fmt: skip
_DROPPED_TAGS = frozenset(
    {
        "ce", "chem", "code", "gallery", "hiero", "imagemap", "math", "pre", "ref", "references",
        "score", "source", "style", "syntaxhighlight", "table", "timeline",
    }
)  # fmt: skip
_COUNTED_AS = {
    "gallery": "wiki galleries", "ref": "wiki references", "references": "wiki references",
    "table": "wiki tables",
}  # fmt: skip
# A link with such a prefix places a file, a category or another language's page.
_DROPPED_LINK = re.compile(r"^(file|image|media|category|[a-z]{2,3}(-[a-z]+)*)$", re.IGNORECASE)
# Templates that stand for words of a sentence: the number of the parameters that are shown.
_SHOWN_PARAMETERS = {
    "convert": ("1", "2"), "cvt": ("1", "2"), "lang": ("2",), "nowrap": ("1",), "nobr": ("1",),
    "quote": ("1",), "blockquote": ("1",), "cquote": ("1",),
}  # fmt: skip
_LEFTOVER = re.compile(r"\||\{\{|\}\}|\[\[|\]\]|\{\||<ref|</")
_QUOTES = re.compile(r"'{2,}")
_MAGIC_WORD = re.compile(r"__[A-Z]+__")
# What a dropped template or reference leaves: "( ; )", "word ,".
_EMPTY_BRACKETS = re.compile(r"\(\s*(?:[;,:]\s*)*\)")
_BRACKET_START = re.compile(r"\(\s*[;,:]\s*")
_SPACE_BEFORE_MARK = re.compile(r"\s+([,.;:!?)](?:\s|$))")


def clean_wikitext(markup: str, counts: Counter[str]) -> list[str]:
    """Paragraphs of an article, in order.

    "'''Anarchism''' is a [[political philosophy|philosophy]] of its own, they say.<ref>x</ref>"
    -> ["Anarchism is a philosophy of its own, they say."]

    What is left out is added to `counts`: lines of fewer than 8 words, lines with markup that the
    parser could not read, and headings, trailing sections, templates, tables and the like where
    they hold anything.
    """
    tree = mwparserfromhell.parse(markup)
    kept = _without_trailing_sections(tree.nodes, counts)
    text = _MAGIC_WORD.sub("", _text_of(kept, counts))
    paragraphs = []
    for line in map(_tidy, _QUOTES.sub("", text).split("\n")):
        if not line:
            continue
        if _LEFTOVER.search(line):
            counts["wiki lines with unreadable markup"] += 1
        elif line.count(" ") + 1 < MIN_LINE_WORDS:
            counts["short wiki lines"] += 1
        else:
            paragraphs.append(line)
    return paragraphs


def _tidy(line: str) -> str:
    """_tidy("Athens ( ; ) is  old ,  very.") -> "Athens is old, very.\""""
    # Entities inside the parameters of a link are not parsed as such.
    line = _BRACKET_START.sub("(", _EMPTY_BRACKETS.sub("", html.unescape(line)))
    return _SPACE_BEFORE_MARK.sub(r"\1", " ".join(line.split()))


def _without_trailing_sections(
    tree: Iterable[nodes.Node], counts: Counter[str]
) -> Iterable[nodes.Node]:
    """Nodes outside the trailing sections and their subsections."""
    dropped_level = 0
    counted = False
    for node in tree:
        if isinstance(node, nodes.Heading):
            if not dropped_level or node.level <= dropped_level:
                title = node.title.strip_code().strip().lower()
                dropped_level = node.level if title in TRAILING_SECTIONS else 0
                counted = False
        if not dropped_level:
            yield node
        elif not counted and _holds_text(node):
            counted = True
            counts["wiki trailing sections"] += 1


def _holds_text(node: nodes.Node) -> bool:
    """Whether something to read goes with a node; cheaply, without a look inside it."""
    match node:
        case nodes.Text():
            return bool(node.value.strip())
        case nodes.Template():
            return bool(node.params)
        case nodes.Tag():
            return node.contents is not None and bool(node.contents.nodes)
    return not isinstance(node, nodes.Comment | nodes.Heading)


def _text_of(tree: Iterable[nodes.Node], counts: Counter[str]) -> str:
    return "".join([_node_text(node, counts) for node in tree])


def _node_text(node: nodes.Node, counts: Counter[str]) -> str:
    match node:
        case nodes.Text():
            return node.value
        case nodes.Wikilink():
            return _link_text(node, counts)
        case nodes.ExternalLink():
            return _text_of(node.title.nodes, counts) if node.title else ""
        case nodes.Template():
            return _template_text(node, counts)
        case nodes.Tag():
            return _tag_text(node, counts)
        case nodes.HTMLEntity():
            # An entity that stands for no character is left as it is written.
            return node.normalize() or str(node)
        case nodes.Heading():
            counts["wiki headings"] += 1
            return "\n"
    return ""  # comments and template arguments


def _link_text(node: nodes.Wikilink, counts: Counter[str]) -> str:
    """[[Athens]] -> Athens, [[Athens|the city]] -> the city, [[File:x.jpg|thumb|y]] -> nothing."""
    title = str(node.title).strip()
    prefix, colon, _ = title.partition(":")
    if colon and _DROPPED_LINK.match(prefix.strip()):
        # Behind the bar of a category stands what it is sorted by.
        if node.text and prefix.strip().lower() != "category":
            counts["wiki files with captions"] += 1
        return ""
    return _text_of(node.text.nodes, counts) if node.text else title.removeprefix(":")


def _template_text(node: nodes.Template, counts: Counter[str]) -> str:
    """{{convert|5|km|mi}} -> 5 km; nearly all other templates -> nothing."""
    shown = _SHOWN_PARAMETERS.get(str(node.name).strip().lower(), ())
    found = [node.get(number).value.nodes for number in shown if node.has(number)]
    if not found and _holds_text(node):
        counts["wiki templates"] += 1
    values = [_text_of(value, counts) for value in found]
    return " ".join(value.strip() for value in values)


def _tag_text(node: nodes.Tag, counts: Counter[str]) -> str:
    tag = str(node.tag).strip().lower()
    if tag in _DROPPED_TAGS:
        if _holds_text(node):
            counts[_COUNTED_AS.get(tag, f"wiki <{tag}>")] += 1
        return ""
    if tag in ("br", "hr"):
        return "\n"
    return _text_of(node.contents.nodes, counts) if node.contents else ""
