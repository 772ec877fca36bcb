"""A collection on a Chroma server, changed in another one next to it and published by a rename.

Few changes go into the live collection itself: a copy would send all of it over the network. New records come first
and those that are gone go last, so that a search in between misses nothing. What search computes exactly, the matrix
and the passages, lies in the source's folder as ever, and takes its place right after the collection.
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
"""Changed records, as a share of those there are, up to which a collection on a server is changed where it is."""


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
        """Whether the live collection itself is written to."""
        return self._is_in_place

    def has_live(self) -> bool:
        """Whether there is a published collection."""
        return self.server.has(self._name, self._owner)

    def has_begun(self) -> bool:
        """Whether a new one was begun next to it."""
        return self.server.has(self._building, self._owner)

    def recover(self) -> None:
        """As of directories: finish what a kill has cut short."""
        super().recover()
        if self.server.has(self._replaced, self._owner):
            if not self.has_live():
                self.server.rename(self._building if self.has_begun() else self._replaced, self._owner, self._name)
            self.server.delete(self._replaced, self._owner)

    def begin(self, empty: bool) -> None:
        """Begin a collection next to the live one, or resume one begun before; else changes go into the live one."""
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
        """Throw away what was begun next to the live one."""
        super().discard()
        self.server.delete(self._building, self._owner)
        self._is_in_place = False

    def remove_from_server(self) -> None:
        """Remove the collection and what is next to it from the server."""
        for name in (self._building, self._replaced, self._name):
            self.server.delete(name, self._owner)
            crash_point("server.deleted")

    def clear(self) -> int:
        """Remove the collection and its exact index; returns how many bytes of this disk that frees."""
        self.remove_from_server()
        forget_place(self._ledger, self._key)
        return super().clear()

    def publish(self) -> None:
        """Put the verified collection in the place of the live one, then the exact index."""
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
        """As of directories, with the collection's own id and its number of records."""
        return f"{super().describe()} {self.server.fingerprint(self._name, self._owner)}"

    def _leave_out(self, folder: str, names: list[str]) -> set[str]:
        return {name for name in names if name != PASSAGES}

    @property
    def _building(self) -> str:
        return f"{self._name}.building"

    @property
    def _replaced(self) -> str:
        return f"{self._name}.old"
