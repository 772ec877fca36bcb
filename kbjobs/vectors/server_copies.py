"""Changing a collection on a Chroma server in a second one next to it, and publishing that by a rename.

A few changes go into the live collection itself, since a copy would send all of it over the network. New records are
written first and old ones deleted last, so that a search in between misses nothing. The exact index, the matrix and the
passages, is always in the source's folder, and is published right after the collection.
"""

from __future__ import annotations

from pathlib import Path

from kbjobs.store.ledger import Ledger
from kbjobs.system.crashpoints import crash_point
from kbjobs.vectors.chroma_places import forget_place, name_collection, note_place, owner_of
from kbjobs.vectors.chroma_server import ChromaServer
from kbjobs.vectors.collection import Collection
from kbjobs.vectors.collection_swap import WorkingCopy
from kbjobs.vectors.exact import PASSAGES

MAX_IN_PLACE = 0.1
"""Up to this share of changed records, a collection on a server is changed in place."""


class ServerCopies(WorkingCopy):
    """The collections around one live collection on a server, and the directories of its exact index."""

    def __init__(self, live: Path, server: ChromaServer, source_id: str, ledger: Ledger) -> None:
        super().__init__(live)
        self.server = server
        self._ledger = ledger
        self._key, self._source_id = live.name, source_id
        self._name = name_collection(server.prefix, source_id, self._key)
        self._owner = owner_of(ledger)
        self._is_in_place = False

    @property
    def is_in_place(self) -> bool:
        """Whether changes go into the live collection itself."""
        return self._is_in_place

    def has_live(self) -> bool:
        """Whether there is a published collection."""
        return self.server.has(self._name, self._owner)

    def has_begun(self) -> bool:
        """Whether a new collection has been begun next to it."""
        return self.server.has(self._building, self._owner)

    def recover(self) -> None:
        """Recover from a kill, in the directories and on the server."""
        super().recover()
        if self.server.has(self._replaced, self._owner):
            if not self.has_live():
                self.server.rename(self._building if self.has_begun() else self._replaced, self._owner, self._name)
            self.server.delete(self._replaced, self._owner)

    def begin(self, empty: bool) -> None:
        """Resume a collection begun next to the live one; otherwise begin one, or let changes go into the live one.

        ``empty``: whether to begin an empty one; otherwise an existing live collection is changed in place.
        """
        super().begin(empty)
        self._is_in_place = not empty and not self.has_begun() and self.has_live()
        note_place(self._ledger, self._key, self.server.url, self.server.prefix, self._source_id)
        if not self._is_in_place:
            self.server.open(self._building, self._owner, create=True)

    def open_live(self) -> Collection:
        """Open the published collection."""
        return self.server.open(self._name, self._owner)

    def open_building(self) -> Collection:
        """Open the collection that is written to."""
        return self.server.open(self._name if self._is_in_place else self._building, self._owner)

    def discard(self) -> None:
        """Discard the collection begun next to the live one."""
        super().discard()
        self.server.delete(self._building, self._owner)
        self._is_in_place = False

    def remove_from_server(self) -> None:
        """Remove the collection and those next to it from the server."""
        for name in (self._building, self._replaced, self._name):
            self.server.delete(name, self._owner)
            crash_point("server.deleted")

    def clear(self) -> int:
        """Remove the collection and its exact index; returns the bytes freed on this disk."""
        self.remove_from_server()
        forget_place(self._ledger, self._key)
        return super().clear()

    def publish(self) -> None:
        """Replace the live collection by the verified one, and then the exact index."""
        if not self._is_in_place:
            crash_point("server.before_publish")
            if self.has_live():
                self.server.rename(self._name, self._owner, self._replaced)
                crash_point("server.between_renames")
            self.server.rename(self._building, self._owner, self._name)
            crash_point("server.renamed")
            self.server.delete(self._replaced, self._owner)
        super().publish()

    def close(self) -> None:
        """Close the connections."""
        self.server.close()

    def describe(self) -> str:
        """As for directories, with the collection's id and number of records on the server."""
        return f"{super().describe()} {self.server.fingerprint(self._name, self._owner)}"

    def _leave_out(self, folder: str, names: list[str]) -> set[str]:
        return {name for name in names if name != PASSAGES}

    @property
    def _building(self) -> str:
        return f"{self._name}.building"

    @property
    def _replaced(self) -> str:
        return f"{self._name}.old"
