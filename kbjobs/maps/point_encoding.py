"""The points of a map as bytes that a page can hold: compressed, and in letters that HTML takes as they are.

Numbers lie in columns, since like compresses with like. Texts are lines; an address says how many characters it shares
with the one before it, and where it repeats the title, as those of wikis do. The page's ``decode.js`` is the other half
of this file.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GREATEST = 65_535
STEP = 4  # between two places on an axis: less than a pixel even to those who are as near as they can come
SHARED = 90  # characters that a line can say it shares: one visible letter of ASCII each
FIRST = 35  # the letter "#" stands for none
REPEATED = "\t"  # stands for the title with underscores for spaces; neither text nor address has one


@dataclass(frozen=True, slots=True)
class Points:
    """What is shown of each document, in the order of the page: columns of one length.

    ``places`` lie between -1 and 1; ``clusters``, ``sources`` and ``languages`` are numbers of names.
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
    """Places, numbers of names, and pairs of points that are linked."""
    whole = np.minimum(np.round((points.places + 1) / 2 * GREATEST / STEP) * STEP, GREATEST).astype("<u2")
    columns = [_split_bytes(whole[:, axis]) for axis in range(3)]
    columns += [_split_bytes(column.astype("<u2")) for column in (points.clusters, points.sources, points.languages)]
    sorted_links = links[np.lexsort((links[:, 1], links[:, 0]))]
    columns.append(np.diff(sorted_links[:, 0], prepend=0).astype("<u4").tobytes())  # small numbers, often 0
    columns.append(sorted_links[:, 1].astype("<u4").tobytes())
    return _pack(b"".join(columns))


def pack_texts(points: Points) -> str:
    """Titles, addresses and snippets, a line each: first all titles, then all addresses, then all snippets."""
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
    """How many characters two addresses begin alike with. Only ASCII: it is as long for the page as for us."""
    for count, (a, b) in enumerate(zip(before, url[:SHARED], strict=False)):
        if a != b or not a.isascii():
            return count
    return min(len(before), len(url), SHARED)


def _split_bytes(column: NDArray[np.uint16]) -> bytes:
    """The upper bytes of all numbers, then the lower ones."""
    return (column >> 8).astype(np.uint8).tobytes() + (column & 255).astype(np.uint8).tobytes()


def _pack(content: bytes) -> str:
    # The form of gzip (RFC 1952) that DecompressionStream reads; without a time, so that the same gives the same.
    packer = zlib.compressobj(9, zlib.DEFLATED, 31, 9)
    return base64.b64encode(packer.compress(content) + packer.flush()).decode("ascii")
