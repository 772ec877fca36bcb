"""Edit the text of a chain file; parts that do not change keep their form and comments."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kbjobs.chains.file.chain_reading import MAX_BYTES
from kbjobs.chains.file.syntax import parse
from kbjobs.errors import UsageError

if TYPE_CHECKING:
    from tomlkit.items import InlineTable, Table

PHASE = "phase"
HEAD_KEYS = ("name", "description", "resumable", "source", "sources", "defaults")
PHASE_KEYS = ("name", "job", "weight", "params", "on_error", "retries")
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*phase[ \t]*\]\]", re.MULTILINE)


def read_document(text: str) -> dict[str, Any]:
    """Parse the tables of a chain file, whatever they hold. Raises UsageError if the text is not TOML."""
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise UsageError(f"the text is larger than {MAX_BYTES // 1024} KB", "Chain files are small; check the file.")
    document, problem = parse(text)
    if problem is not None:
        place = f"line {problem.line}, column {problem.column}: " if problem.line else ""
        raise UsageError(f"{place}{problem.message}", problem.hint or problem.expected)
    return document


def edit_text(text: str, document: Mapping[str, Any], origins: Sequence[int | None] = ()) -> str:
    """Change the text of a chain file so that it says what ``document`` says.

    A phase keeps its lines and the comments above it, even if it was moved or copied; if only a value has changed, only
    that value is rewritten. If a file's phases are not written as ``[[phase]]``, everything below the comments at its
    top is rewritten.

    Args:
        text: the old text; "" for a new file.
        document: the tables of the new text. They are not checked to be a chain.
        origins: for each phase, its index from 0 in the old text; None for a new phase.

    Raises:
        UsageError: the old text is not TOML, or TOML cannot express the new one.
    """
    before = read_document(text)
    document = _clean(document)
    if _is_same(before, document):
        return text
    rows = document.get(PHASE, [])
    segments = _split(text, before)
    if segments is not None and isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        known = before.get(PHASE, [])
        origins = [*origins, *[None] * len(rows)][: len(rows)]
        parts = [_edit_head(segments[0], document)]
        for row, origin in zip(rows, origins, strict=True):
            is_old = origin is not None and 0 <= origin < len(known)
            parts.append(_edit_phase(segments[1 + (origin or 0)], row) if is_old else _write_phase(row))
        edited = _join(parts)
        if _says(edited, document):
            return edited
    written = _write(_comments_at_top(text), document)
    if not _says(written, document):
        raise UsageError("what the form says cannot be written as TOML", "Change it in the text.")
    return written


def _clean(value: Any) -> Any:
    """Drop null, which TOML lacks: it means that nothing is given."""
    if isinstance(value, Mapping):
        return {str(key): _clean(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_clean(one) for one in value if one is not None]
    return value


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values mean the same: 20 and 20.0 do, 1 and true do not."""
    if isinstance(one, dict) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _unwrap(item: Any) -> Any:
    """Return the plain value of a tomlkit item; tomlkit wraps most values but not all."""
    return item.unwrap() if hasattr(item, "unwrap") else item


def _says(text: str, document: Mapping[str, Any]) -> bool:
    try:
        return _is_same(tomllib.loads(text), document)
    except tomllib.TOMLDecodeError:
        return False


def _split(text: str, document: Mapping[str, Any]) -> list[str] | None:
    """Split into the text above the phases, and each phase with the comments above it; None for another form."""
    starts = [found.start() for found in _HEADER.finditer(text)]
    rows = document.get(PHASE, [])
    if not isinstance(rows, list) or len(starts) != len(rows):
        return None
    cuts = [_above_comments(text, start) for start in starts]
    segments = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    head = {key: value for key, value in document.items() if key != PHASE}
    said = [head, *({PHASE: [row]} for row in rows)]
    fits = all(_says(segment, one) for segment, one in zip(segments, said, strict=True))
    return segments if fits else None


def _above_comments(text: str, start: int) -> int:
    """Find the start of the comment lines directly above a place."""
    while start > 0:
        line_start = text.rfind("\n", 0, start - 1) + 1
        if not text[line_start:start].lstrip().startswith("#"):
            return start
        start = line_start
    return start


def _edit_head(text: str, document: Mapping[str, Any]) -> str:
    import tomlkit

    edited = tomlkit.parse(text)
    for key in [*edited.keys()]:
        if key not in document:
            edited.remove(key)
    wanted = [*HEAD_KEYS, *(key for key in document if key not in HEAD_KEYS)]
    for key in wanted:
        if key != PHASE and key in document and not _is_same(_unwrap(edited.get(key)), document[key]):
            if isinstance(edited.get(key), dict) and isinstance(document[key], dict):
                _update(edited[key], document[key])
            else:
                edited[key] = document[key]
    return tomlkit.dumps(edited)


def _edit_phase(text: str, row: Mapping[str, Any]) -> str:
    import tomlkit

    edited = tomlkit.parse(text)
    table: Table = edited[PHASE][0]
    if not _is_same(table.unwrap(), row):
        _update(table, row)
    return tomlkit.dumps(edited)


def _update(table: Table | InlineTable, values: Mapping[str, Any]) -> None:
    """Give a table the values; a value that it has already is not touched."""
    for key in [*table.keys()]:
        if key not in values:
            table.remove(key)
    for key, value in values.items():
        if key in table and isinstance(table[key], dict) and isinstance(value, dict):
            _update(table[key], value)
        elif key not in table or not _is_same(_unwrap(table[key]), value):
            table[key] = _item(value)


def _item(value: Any) -> Any:
    import tomlkit

    if not isinstance(value, dict):
        return value
    inline = tomlkit.inline_table()
    inline.update({key: _item(one) for key, one in value.items()})
    return inline


def _write_phase(row: Mapping[str, Any]) -> str:
    import tomlkit

    table = tomlkit.table()
    ordered = [key for key in PHASE_KEYS if key in row]
    for key in [*ordered, *(key for key in row if key not in PHASE_KEYS)]:
        table.add(key, _item(row[key]))
    document = tomlkit.document()
    phases = tomlkit.aot()
    phases.append(table)
    document.add(PHASE, phases)
    return tomlkit.dumps(document)


def _write(comments: str, document: Mapping[str, Any]) -> str:
    rows = document.get(PHASE, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        rows = []
    return _join([_edit_head(comments, document), *map(_write_phase, rows)])


def _comments_at_top(text: str) -> str:
    kept = []
    for line in text.splitlines(keepends=True):
        if line.strip() and not line.lstrip().startswith("#"):
            break
        kept.append(line)
    return "".join(kept)


def _join(parts: Sequence[str]) -> str:
    """Join the parts, with an empty line between them."""
    return "\n".join(part.strip("\n") + "\n" for part in parts if part.strip("\n"))
