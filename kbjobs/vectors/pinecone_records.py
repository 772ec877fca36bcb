"""What a passage is in Pinecone: its id, metadata and vector, and how many of them fit into a request.

The id says all that the record holds, so that listing ids tells what has changed: nothing is fetched to be compared.

    OWNER # RECORD # CHECK

OWNER is that of the ledger: another home may use the same namespace, and neither sees or touches the other's records.
RECORD is the ledger's id of the passage, a hash of its document, address and text. CHECK is a hash of the rest:
source, title, path, language, vector. A record that changes gets a new id; the new one is written before the old one is
deleted.
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
"""Of an upsert: 2 MB, counted here as the bytes of its JSON, which is the most that can be meant."""
MAX_RECORDS = 1000
MAX_METADATA = 40_000  # bytes of a record's metadata: 40 KB
MIN_WRITE_UNITS = 5  # of a request; else one for each 1,000 bytes of its records
BYTES_PER_NUMBER = 4  # of a vector, as the cost of a record is counted

_FORMAT = b"kbjobs 1"
_ENVELOPE = 64  # bytes of a request beside its records and the namespace's name
_SHORTENED = ("text", "title", "path", "url")  # what is cut where metadata are too long, in this order


def record_prefix(owner: str) -> str:
    """How the ids of all records of a ledger begin, by its owner's name."""
    return owner[:OWNER_LENGTH] + SEPARATOR


def name_record(owner: str, record: str, described: Sequence[str], vector: bytes) -> str:
    """Name the record of a passage: ASCII, 66 characters, other ones if its content changes.

    Args:
        owner: names the ledger.
        record: the ledger's id of the passage.
        described: the metadata that the ledger's id does not cover.
        vector: its numbers.
    """
    digest = hashlib.blake2b(_FORMAT, digest_size=CHECK_LENGTH // 2)
    for part in (*(text.encode("utf-8", "surrogatepass") for text in described), vector):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return f"{record_prefix(owner)}{record}{SEPARATOR}{digest.hexdigest()}"


def passage_of(name: str) -> str:
    """The ledger's id of the passage, from the id of a record."""
    return name.split(SEPARATOR)[1] if name.count(SEPARATOR) == 2 else ""


@dataclass(frozen=True, slots=True)
class PineconeRecord:
    """A record as it is sent: ``values`` are the vector's numbers in JSON, ``json_bytes`` is its length in JSON.

    ``stored_bytes`` is what it counts as in the service: id, metadata, four bytes a number.
    """

    name: str
    metadata: dict[str, Any]
    values: bytes
    json_bytes: int
    stored_bytes: int
    is_cut: bool

    def as_dict(self) -> dict[str, Any]:
        """What the library's upsert takes.

        Its list has one element, the numbers as JSON that is spliced in: to make Python's numbers of them and JSON of
        these again takes longer than to send them.
        """
        import orjson

        return {"id": self.name, "values": [orjson.Fragment(self.values)], "metadata": self.metadata}


def write_record(name: str, source_id: str, passage: PushedPassage) -> PineconeRecord:
    """Make a record of a passage; if its metadata is too long, its text is cut.

    Args:
        name: the record's id.
        source_id: id of the source.
        passage: the passage with its vector.
    """
    import numpy as np
    import orjson

    metadata, metadata_bytes, is_cut = write_metadata(source_id, passage)
    vector = np.frombuffer(passage.vector, "<f4")
    # The shortest decimals that are read as the same float32: two thirds of what Python's own numbers take.
    values = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    json_bytes = len(b'{"id":"","values":[],"metadata":},') + len(name) + len(values) + metadata_bytes
    return PineconeRecord(name, metadata, values, json_bytes, stored_bytes(name, metadata_bytes, len(vector)), is_cut)


def stored_bytes(name: str, metadata_bytes: int, dimension: int) -> int:
    """Count the bytes that a record takes at the service.

    Args:
        name: the record's id.
        metadata_bytes: size of its metadata as JSON.
        dimension: how many numbers its vector has.
    """
    return len(name) + metadata_bytes + BYTES_PER_NUMBER * dimension


def write_metadata(source_id: str, passage: PushedPassage) -> tuple[dict[str, Any], int, bool]:
    """The metadata of a passage, how many bytes they take, and whether something had to be cut.

    ``languages`` has en beside en-gb, as a search for en also means it: a filter knows no beginnings of words.
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
    """The text without what JSON cannot carry: bytes of a path that are no UTF-8."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _size(metadata: dict[str, Any]) -> int:
    import orjson

    return len(orjson.dumps(metadata))


def _shorten(metadata: dict[str, Any], field: str) -> str:
    """As many of the first words of a field as there is room for; '' if there is none."""
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
        kept = words[0]  # not a part of a word
    return kept.rstrip()


class Packing:
    """Gathers records into requests as full as the service takes them.

    Args:
        namespace: the namespace of the requests.
        max_bytes: of a request's JSON.
        max_records: in a request.
    """

    def __init__(self, namespace: str, max_bytes: int = MAX_BYTES, max_records: int = MAX_RECORDS) -> None:
        self._room = max_bytes - _ENVELOPE - len(namespace)
        self._max_records = max_records
        self._batch: list[PineconeRecord] = []
        self._bytes = 0

    def add(self, record: PineconeRecord) -> Iterator[list[PineconeRecord]]:
        """Take a record; gives the request that is full without it, if one is."""
        if self._batch and (self._bytes + record.json_bytes > self._room or len(self._batch) >= self._max_records):
            yield self._take()
        self._batch.append(record)
        self._bytes += record.json_bytes

    def rest(self) -> Iterator[list[PineconeRecord]]:
        """What is left."""
        if self._batch:
            yield self._take()

    def _take(self) -> list[PineconeRecord]:
        batch, self._batch, self._bytes = self._batch, [], 0
        return batch


def write_units(stored: int) -> int:
    """What a request with records of so many bytes costs; one without any costs nothing."""
    return max(MIN_WRITE_UNITS, -(-stored // 1000)) if stored else 0
