"""ZIM files for tests: made by libzim's own writer in a process of its own, and changed byte by byte."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kbjobs.content.zim_service import ZIM_HEADER
from tests.conftest import ROOT

ZIMS = ROOT.parent / "shared" / "data" / "zim"

WRITER = """
import json, sys
from pathlib import Path
from libzim.writer import Creator, Hint, Item, StringProvider

class Page(Item):
    def __init__(self, path, title, mimetype, content):
        super().__init__()
        self.it = path, title, mimetype, content
    def get_path(self): return self.it[0]
    def get_title(self): return self.it[1]
    def get_mimetype(self): return self.it[2]
    def get_contentprovider(self): return StringProvider(self.it[3])
    def get_hints(self): return {Hint.FRONT_ARTICLE: self.it[2].startswith("text/html")}

spec = json.load(sys.stdin)
creator = Creator(Path(spec["path"])).config_indexing(False, "eng").config_clustersize(spec["cluster"])
with creator.config_nbworkers(1) as zim:
    if spec["main"]:
        zim.set_mainpath(spec["main"])
    for item in spec["items"]:
        zim.add_item(Page(*item))
    for path, target in spec["redirects"]:
        zim.add_redirection(path, path, target, {Hint.FRONT_ARTICLE: False})
    for name, value in spec["metadata"].items():
        zim.add_metadata(name, value)
"""


def build_zim(
    path: Path,
    items: Sequence[tuple[str, str, str, str]],
    redirects: Sequence[tuple[str, str]] = (),
    main: str = "",
    cluster: int = 2**16,
    **metadata: str,
) -> Path:
    """Write a ZIM file of items (path, title, type, content) and redirects (path, target)."""
    spec = {"path": str(path), "items": items, "redirects": redirects, "metadata": metadata, "main": main}
    subprocess.run(
        [sys.executable, "-P", "-c", WRITER],
        input=json.dumps(spec | {"cluster": cluster}).encode(),
        check=True,
        capture_output=True,
        timeout=120,
    )
    return path


def page(number: int, words: int = 60, language: str = "") -> tuple[str, str, str, str]:
    """A page that differs from the others."""
    text = f"Water of well {number} boils in the kettle while the wind sings. " * (words // 12)
    attribute = f" lang={language}" if language else ""
    html = f"<html{attribute}><title>Page {number}</title><body><h1>Page {number}</h1><p>{text}</p></body></html>"
    return f"page{number}", f"Page {number}", "text/html", html


def find_dirents(zim: bytes | bytearray) -> dict[str, int]:
    """Where each content entry's record begins, by path."""
    head = ZIM_HEADER.unpack_from(zim)
    found = {}
    for number in range(head[4]):
        at = int.from_bytes(zim[head[6] + 8 * number :][:8], "little")
        start = at + (12 if zim[at : at + 2] == b"\xff\xff" else 16)
        if zim[at + 3 : at + 4] == b"C":
            found[zim[start : zim.index(b"\0", start)].decode()] = at
    return found


def as_old(zim: bytes) -> bytes:
    """The same file in the older scheme, with its content in the namespace A."""
    changed = bytearray(zim)
    changed[4:8] = (5).to_bytes(2, "little") + (0).to_bytes(2, "little")
    for at in find_dirents(zim).values():
        changed[at + 3] = ord("A")
    return bytes(changed)
