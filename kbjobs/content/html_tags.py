"""The role of each HTML tag in the extraction, by lexbor's tag numbers, which compare fast."""

from __future__ import annotations

from functools import cache

from selectolax.lexbor import LexborHTMLParser

# 1-6 are headings.
CONTAINER, TEXT, IN_LINE, SPAN, ANCHOR, BREAK, PARAGRAPH, LISTING, TABLE, ROW, FORM, HEADER = range(10, 22)
MAIN, FURNITURE, ASIDE, NOTHING = range(22, 26)
IN_LINES = frozenset({IN_LINE, SPAN, ANCHOR})
HEADINGS = {f"h{level}": level for level in range(1, 7)}

_INLINE = (
    "a abbr acronym b bdi bdo big cite code data del dfn em font i img ins kbd label mark math meter output "
    "picture progress q rb rp rt ruby s samp small span strike strong sub sup time tt u var wbr input link meta"
)
_NEVER = (
    "script style template noscript svg iframe object canvas audio video select textarea button datalist nav footer "
    "dialog"
)
_PLAIN = "p li dt dd td th tr pre h1 h2 h3 h4 h5 h6"
_BLOCKS = "p div ul ol dl li table pre blockquote section article h1 h2 h3 h4 h5 h6 form hr"
_HOLDERS_OF_BLOCKS = (
    "body div ul ol dl dd li table thead tbody tfoot tr td th blockquote section article main form nav aside header "
    "footer details summary figure figcaption fieldset center address caption"
)


@cache
def codes() -> dict[int, int]:
    """Return the walk's action at each tag; other tags are containers."""
    tree = LexborHTMLParser("<body>")
    named: dict[str, int] = dict.fromkeys(_INLINE.split(), IN_LINE)
    named |= HEADINGS | {"span": SPAN, "a": ANCHOR, "br": BREAK, "main": MAIN, "article": MAIN, "aside": ASIDE}
    named |= dict.fromkeys(_NEVER.split(), FURNITURE)
    named |= dict.fromkeys(["p", "dt"], PARAGRAPH)
    named |= {"pre": LISTING, "table": TABLE, "tr": ROW, "form": FORM, "header": HEADER}
    named |= dict.fromkeys(["head", "title", "col", "colgroup", "hr", "frameset"], NOTHING)
    by_id = {tree.create_node(tag).tag_id: code for tag, code in named.items()}
    text = LexborHTMLParser("<p>x").css_first("p")
    if text is not None and text.first_child is not None:
        by_id[text.first_child.tag_id] = TEXT
    comment = LexborHTMLParser("<p><!--x-->").css_first("p")
    if comment is not None and comment.first_child is not None:
        by_id[comment.first_child.tag_id] = NOTHING
    return by_id


@cache
def plain_tags() -> frozenset[int]:
    """Return tags that are so frequent that their attributes are read only if the page hides something."""
    return _numbers(_PLAIN)


@cache
def in_line_tags(*, with_names: bool) -> frozenset[int]:
    """Return the tags within a line; unless ``with_names``, without <span> and <a>, which pages hide or name."""
    wanted = IN_LINES if with_names else {IN_LINE}
    return frozenset(tag for tag, code in codes().items() if code in wanted)


@cache
def rowless_tags() -> frozenset[int]:
    """Return the tags that no cell of a data table contains."""
    return frozenset(tag for tag, code in codes().items() if code <= len(HEADINGS) or code in (TABLE, LISTING))


@cache
def block_tags() -> frozenset[int]:
    """Return the tags that end a line of text everywhere."""
    return _numbers(_BLOCKS)


@cache
def block_holders() -> frozenset[int]:
    """Return the tags in which blocks are usual."""
    return _numbers(_HOLDERS_OF_BLOCKS)


def _numbers(tags: str) -> frozenset[int]:
    tree = LexborHTMLParser("<body>")
    return frozenset(tree.create_node(tag).tag_id for tag in tags.split())
