"""JSON as packs hold it: written in one canonical form, read within bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

MAX_LINE = 4 * 1024 * 1024
"""Most bytes of one line."""
MAX_FIELDS = 200
"""Most fields of one object; the largest objects in use have a tenth of that."""


def dump(value: Any) -> bytes:
    """Encode a value as one canonical line: sorted keys, no spaces, UTF-8."""
    return (
        json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    )


def load(text: bytes) -> Any:
    """Decode a JSON text.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or an object has too many fields or a repeated field.
    """
    try:
        return json.loads(text.decode(), object_pairs_hook=_make_object, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def split_lines(data: bytes) -> Iterator[bytes]:
    """Yield the lines of a part.

    Raises:
        ValueError: a line is too long, or the last line does not end.
    """
    start = 0
    while start < len(data):
        end = data.find(b"\n", start, start + MAX_LINE + 1)
        if end < 0:
            is_cut = len(data) - start <= MAX_LINE
            raise ValueError("its last line does not end" if is_cut else f"a line has more than {MAX_LINE:,} bytes")
        yield data[start:end]
        start = end + 1


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_FIELDS:
        raise ValueError(f"an object has {len(pairs):,} fields")
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a field twice")
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
