"""The record of a passage in Pinecone: its id, metadata and vector; and the packing of records into requests.

The id identifies the record's whole content, so that a list of ids shows what has changed, without fetching records.

    OWNER # RECORD # CHECK

OWNER is the ledger's name: several homes may use the same namespace, and none sees or touches another's records. RECORD
is the ledger's id of the passage, a hash of its document, address and text. CHECK is a hash of the rest: source, title,
path, language, vector. A changed record gets a new id; the new record is written before the old one is deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kbjobs.store.ledger_rows import PushedPassage

SEPARATOR = "#"
OWNER_LENGTH, CHECK_LENGTH = 16, 16

# From the pages "Database limits" and "Understanding cost" of Pinecone's documentation, 2026.
MAX_BYTES = 2_000_000
"""Most bytes of an upsert: 2 MB, counted here as bytes of its JSON, the strictest way to count."""
MAX_RECORDS = 1000
MAX_METADATA = 40_000  # most bytes of a record's metadata: 40 KB
MIN_WRITE_UNITS = 5  # least cost of a request; otherwise one unit per 1,000 bytes of its records
BYTES_PER_NUMBER = 4  # bytes of a vector's number, as the service counts a record

_FORMAT = b"kbjobs 1"
_ENVELOPE = 64  # bytes of a request in addition to its records and the namespace's name
_SHORTENED = ("text", "title", "path", "url")  # the fields that are cut if metadata is too long, in this order


def record_prefix(owner: str) -> str:
    """The prefix of the ids of a ledger's records, from the ledger's name."""
    return owner[:OWNER_LENGTH] + SEPARATOR


def name_record(owner: str, record: str, described: Sequence[str], vector: bytes) -> str:
    """Make the id of a passage's record: 66 ASCII characters, which change with its content.

    Args:
        owner: the ledger's name.
        record: the ledger's id of the passage.
        described: the metadata that the ledger's id does not cover.
        vector: the vector's bytes.
    """
    digest = hashlib.blake2b(_FORMAT, digest_size=CHECK_LENGTH // 2)
    for part in (*(text.encode("utf-8", "surrogatepass") for text in described), vector):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return f"{record_prefix(owner)}{record}{SEPARATOR}{digest.hexdigest()}"


def passage_of(name: str) -> str:
    """The ledger's id of the passage, from a record's id; '' if the id has another form."""
    return name.split(SEPARATOR)[1] if name.count(SEPARATOR) == 2 else ""


@dataclass(frozen=True, slots=True)
class PineconeRecord:
    """A record to send: ``values`` are the vector's numbers as JSON, ``json_bytes`` is the record's size as JSON.

    ``stored_bytes`` is its size as the service counts it: id, metadata, and four bytes per number.
    """

    name: str
    metadata: dict[str, Any]
    values: bytes
    json_bytes: int
    stored_bytes: int
    is_cut: bool

    def as_dict(self) -> dict[str, Any]:
        """The record as the library's upsert takes it.

        ``values`` has one element, a JSON fragment with all numbers: converting them to Python numbers and back to JSON
        would take longer than sending them.
        """
        import orjson

        return {"id": self.name, "values": [orjson.Fragment(self.values)], "metadata": self.metadata}


def write_record(name: str, source_id: str, passage: PushedPassage) -> PineconeRecord:
    """Make a record of a passage; if its metadata is too long, its text is cut.

    Args:
        name: the record's id.
        source_id: the source's id.
        passage: the passage with its vector.
    """
    import numpy as np
    import orjson

    metadata, metadata_bytes, is_cut = write_metadata(source_id, passage)
    vector = np.frombuffer(passage.vector, "<f4")
    # The shortest decimals that read back as the same float32: two thirds of the size of Python's own numbers.
    values = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    json_bytes = len(b'{"id":"","values":[],"metadata":},') + len(name) + len(values) + metadata_bytes
    return PineconeRecord(name, metadata, values, json_bytes, stored_bytes(name, metadata_bytes, len(vector)), is_cut)


def stored_bytes(name: str, metadata_bytes: int, dimension: int) -> int:
    """Count the bytes that a record takes at the service.

    Args:
        name: the record's id.
        metadata_bytes: the size of its metadata as JSON.
        dimension: the dimension of its vector.
    """
    return len(name) + metadata_bytes + BYTES_PER_NUMBER * dimension


def write_metadata(source_id: str, passage: PushedPassage) -> tuple[dict[str, Any], int, bool]:
    """Make the metadata of a passage; returns it, its size in bytes, and whether something had to be cut.

    For en-gb, ``languages`` also has en, because a search for en includes it, and filters cannot match prefixes.
    """
    metadata: dict[str, Any] = {
        "source": source_id,
        "doc_id": passage.doc_id,
        "title": _clean(passage.title),
        "url": _clean(passage.url),
        "path": _clean(passage.path),
        "text": _clean(passage.text),
    }
    if passage.language:
        metadata["languages"] = list(dict.fromkeys((passage.language, passage.language.partition("-")[0])))
    size = _size(metadata)
    if size <= MAX_METADATA:
        return metadata, size, False
    for field in _SHORTENED:
        metadata[field] = _shorten(metadata, field)
        size = _size(metadata)
        if size <= MAX_METADATA:
            break
    return metadata, size, True


def _clean(text: str) -> str:
    """Replace parts of a text that JSON cannot carry: bytes of a path that are not UTF-8."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _size(metadata: dict[str, Any]) -> int:
    import orjson

    return len(orjson.dumps(metadata))


def _shorten(metadata: dict[str, Any], field: str) -> str:
    """The first words of a field that fit; '' if none do."""
    text = metadata[field]
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if _size({**metadata, field: text[:middle]}) <= MAX_METADATA:
            low = middle
        else:
            high = middle - 1
    kept: str = text[:low]
    if low < len(text) and not text[low].isspace() and len(words := kept.rsplit(maxsplit=1)) == 2:
        kept = words[0]  # drop a cut word
    return kept.rstrip()


class Packing:
    """Packs records into the largest requests that the service accepts.

    Args:
        namespace: the namespace of the requests.
        max_bytes: the most bytes of a request's JSON.
        max_records: the most records of a request.
    """

    def __init__(self, namespace: str, max_bytes: int = MAX_BYTES, max_records: int = MAX_RECORDS) -> None:
        self._room = max_bytes - _ENVELOPE - len(namespace)
        self._max_records = max_records
        self._batch: list[PineconeRecord] = []
        self._bytes = 0

    def add(self, record: PineconeRecord) -> Iterator[list[PineconeRecord]]:
        """Add a record; yields the previous records as a request if this one no longer fits."""
        if self._batch and (self._bytes + record.json_bytes > self._room or len(self._batch) >= self._max_records):
            yield self._take()
        self._batch.append(record)
        self._bytes += record.json_bytes

    def rest(self) -> Iterator[list[PineconeRecord]]:
        """Yield the remaining records as a request, if there are any."""
        if self._batch:
            yield self._take()

    def _take(self) -> list[PineconeRecord]:
        batch, self._batch, self._bytes = self._batch, [], 0
        return batch


def write_units(stored: int) -> int:
    """The write units of a request with ``stored`` bytes of records; 0 for an empty one."""
    return max(MIN_WRITE_UNITS, -(-stored // 1000)) if stored else 0
