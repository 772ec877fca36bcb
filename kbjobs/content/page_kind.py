"""Which pages may hold more than their text: not those of documentation and wikis, nor those written by hand."""

from __future__ import annotations

import re

_HEAD = 16_384  # bytes in which a page names its generator
_BEGINNING = 32_768  # and the elements that hold all others
_FEW = 10
# What a page of the open web has somewhere: marks for those who share, feed or count it, or a file from another place.
_MARKS_OF_SITES = (
    b"og:", b"ld+json", b"twitter:", b"application/rss+xml", b"application/atom+xml", b"wp-content", b"googletag",
    b"google-analytics", b"schema.org", b"facebook", b"disqus",
)  # fmt: skip
_FROM_ELSEWHERE = re.compile(rb"<(?:script|img|link|iframe)[^<>]{1,300}?(?:src|href)\s*=\s*[\"']?\s*(?:https?:)?//")
_GENERATORS = re.compile(
    rb"""generator[^>]{0,40}content\s*=\s*["']?\s*(?:sphinx|docutils|docbook|mediawiki|asciidoc|doxygen|"""
    rb"""javadoc|pandoc|mkdocs|docusaurus|mdbook|rustdoc|vitepress|vuepress|antora|hugo-book|gitbook|makeinfo|texi2"""
    rb"""|latex2html|hevea|tex4ht|groff|man2html|zimwriterfs|phd|jekyll-docs|starlight|dblatex|libreoffice|kramdown)""",
)
_SIGNS = (
    b"mw-parser-output", b"mw-content-text", b"sphinxsidebar", b"rst-content", b"_static/documentation_options",
    b'class="navheader"', b'class="refentry', b'class="sect1"', b'class="docutils', b"theme-doc-markdown",
    b"md-content__inner", b'class="manualnavbar', b'class="contents-overview', b"rustdoc", b'class="document"',
    b"javadoc", b"doxygen", b'class="refsect1',
)  # fmt: skip


def is_plain(page: bytes) -> bool:
    """Whether a page has hardly any names of classes and links, or none of the marks that sites of the web have."""
    if page.count(b"class=") < _FEW and page.count(b"<a ") < _FEW:
        return True
    return not any(mark in page for mark in _MARKS_OF_SITES) and _FROM_ELSEWHERE.search(page) is None


def is_documentation(page: bytes) -> bool:
    """Whether a page is of a documentation system or a wiki, by its generator or the names of its elements."""
    beginning = page[:_BEGINNING]
    head = page[:_HEAD].lower()
    at = head.find(b"generator")
    return (at >= 0 and _GENERATORS.search(head, at) is not None) or any(sign in beginning for sign in _SIGNS)
