"""Peers that take the main text out of pages; run by bench_extract.py with the Python of their own environment.

``extraction_peers.py PEER FOLDER`` reads the pages below the folder, in order, and prints the seconds it took and the
texts as JSON. Pages are decoded beforehand. Each peer does as its documentation shows first, but that comments of
readers are left out.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

Extract = Callable[[str], str]


def trafilatura() -> Extract:
    """Trafilatura, with the fallbacks it uses by default."""
    from trafilatura import extract

    return lambda page: extract(page, include_comments=False) or ""


def resiliparse() -> Extract:
    """Resiliparse, its main content."""
    from resiliparse.extract.html2text import extract_plain_text

    return lambda page: extract_plain_text(page, main_content=True)


PEERS = {"trafilatura": trafilatura, "resiliparse": resiliparse}


def main() -> None:
    """Extract once, with the clock running."""
    peer, folder = sys.argv[1:]
    pages = [path.read_text() for path in sorted(Path(folder).glob("*.html"))]
    extract = PEERS[peer]()
    extract(pages[0])  # loads what is loaded late
    begun = time.perf_counter()
    texts = [extract(page) for page in pages]
    print(json.dumps({"seconds": time.perf_counter() - begun, "texts": texts}))


if __name__ == "__main__":
    main()
