"""Encode the points of a map as text for a page: compressed, in letters that HTML accepts unchanged.

Numbers are in columns, since similar values compress well together. Texts are lines; an address says how many
characters it shares with the previous one, and marks where it repeats the title, as wikis' addresses do. The page's
``decode.js`` is the counterpart of this file.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GREATEST = 65_535
STEP = 4  # between two places on an axis: less than a pixel even from as near as possible
SHARED = 90  # the most shared characters that a line can state: each count is one visible ASCII letter
FIRST = 35  # the letter "#" means zero
REPEATED = "\t"  # stands for the title with underscores for spaces; neither texts nor addresses contain it


@dataclass(frozen=True, slots=True)
class Points:
    """What the map shows of each document, in the order of the page: columns of equal length.

    ``places`` are between -1 and 1; ``clusters``, ``sources`` and ``languages`` are numbers of names.
    """

    places: NDArray[np.float64]
    clusters: NDArray[np.int64]
    sources: NDArray[np.int64]
    languages: NDArray[np.int64]
    ids: Sequence[str]
    titles: Sequence[str]
    urls: Sequence[str]
    snippets: Sequence[str]


def pack_numbers(points: Points, links: NDArray[np.int64]) -> str:
    """Pack the places, the numbers of names, and the pairs of linked points."""
    whole = np.minimum(np.round((points.places + 1) / 2 * GREATEST / STEP) * STEP, GREATEST).astype("<u2")
    columns = [_split_bytes(whole[:, axis]) for axis in range(3)]
    columns += [_split_bytes(column.astype("<u2")) for column in (points.clusters, points.sources, points.languages)]
    sorted_links = links[np.lexsort((links[:, 1], links[:, 0]))]
    columns.append(np.diff(sorted_links[:, 0], prepend=0).astype("<u4").tobytes())  # small numbers, often 0
    columns.append(sorted_links[:, 1].astype("<u4").tobytes())
    return _pack(b"".join(columns))


def pack_texts(points: Points) -> str:
    """Pack titles, addresses and snippets, one per line: first all titles, then all addresses, then all snippets."""
    before = ""
    addresses = []
    for url, title in zip(points.urls, points.titles, strict=True):
        repeated = title.replace(" ", "_")
        start = url.rfind(repeated)
        shared = _count_shared(before, url)
        if start >= 0:
            shared = min(shared, start)
            rest = url[shared:start] + REPEATED + url[start + len(repeated) :]
        else:
            rest = url[shared:]
        addresses.append(chr(FIRST + shared) + rest)
        before = url
    return _pack("\n".join([*points.titles, *addresses, *points.snippets]).encode())


def _count_shared(before: str, url: str) -> int:
    """Count the characters that two addresses share at their start. Only ASCII, whose length is the same in
    JavaScript."""
    for count, (a, b) in enumerate(zip(before, url[:SHARED], strict=False)):
        if a != b or not a.isascii():
            return count
    return min(len(before), len(url), SHARED)


def _split_bytes(column: NDArray[np.uint16]) -> bytes:
    """Put the upper bytes of all numbers first, then the lower ones."""
    return (column >> 8).astype(np.uint8).tobytes() + (column & 255).astype(np.uint8).tobytes()


def _pack(content: bytes) -> str:
    # The gzip format (RFC 1952), for DecompressionStream; without a time, so that equal input gives equal output.
    packer = zlib.compressobj(9, zlib.DEFLATED, 31, 9)
    return base64.b64encode(packer.compress(content) + packer.flush()).decode("ascii")
