"""Settings of Sphinx for the documentation's site: ``make site``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from kbjobs.version import VERSION  # noqa: E402

project = "kbjobs"
author = "The kbjobs developers"
version = release = VERSION
html_title = f"kbjobs {VERSION}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
exclude_patterns = ["inventories"]
nitpicky = True
smartquotes = False  # options are copied from the text
suppress_warnings = ["myst.header"]  # a table of troubleshooting begins deeper than its heading

myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
# The inventory is kept here, so that the site is built without network.
intersphinx_mapping = {"python": ("https://docs.python.org/3/", "inventories/python.inv")}
intersphinx_timeout = 1
# Types of kbjobs that are passed on by those who call, and opened by nobody: they have no entry of their own.
nitpick_ignore_regex = [
    ("py:.*", r"(kbjobs\.)?(store|services|chains|context|phases|config)\..*|PhaseState.*|JobState.*|Home|Diagnostic")
]

html_theme = "furo"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b6e4f", "color-brand-content": "#0b6e4f"},
    "dark_css_variables": {"color-brand-primary": "#5fd3a7", "color-brand-content": "#5fd3a7"},
}

LINK = re.compile(r"^- \[[^\]]+\]\(((?!\.\./)[\w/.-]+)\.md\)", re.MULTILINE)
OUTSIDE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)]*)\)")
AUTODOC = re.compile(r"<!-- auto(\w+): (\S+)((?: :\S+:[^:]*?)*) -->")


def add_tables_of_contents(_: Sphinx, name: str, source: list[str]) -> None:
    """Make the contents of the index pages from the links in their lists, so that the pages stay plain Markdown.

    A comment such as ``<!-- autoclass: kbjobs.Checkpoint -->`` becomes
    what autodoc makes of it.
    """
    source[0] = AUTODOC.sub(_directive, source[0])
    depth = name.count("/")
    # A file of the repository that is no page of the site is named there.
    source[0] = OUTSIDE.sub(lambda found: found[1] if found[2].count("../") > depth else found[0], source[0])
    if name.rpartition("/")[2] != "index":
        return
    source[0] += "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(LINK.findall(source[0])) + "\n```\n"


def _directive(found: re.Match[str]) -> str:
    options = "".join(f"   :{word}\n" for word in found[3].strip().removeprefix(":").split(" :") if word)
    return f"```{{eval-rst}}\n.. auto{found[1]}:: {found[2]}\n{options}```"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_tables_of_contents)
