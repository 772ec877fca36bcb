"""A model's part of a ledger, and where its collection lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import MissingRequirementError
from kbjobs.store import publication as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_copy import open_ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.vectors.chroma_address import address_of, read_address
from kbjobs.vectors.chroma_places import place_of
from kbjobs.vectors.chroma_process import ChromaProcess
from kbjobs.vectors.chroma_server import ChromaServer, ForeignCollectionError, ServerAwayError, Waiting
from kbjobs.vectors.collection import Collection, CollectionError, OpenDirectory, open_directory
from kbjobs.vectors.collection_swap import WorkingCopy
from kbjobs.vectors.hnsw_files import DATABASE
from kbjobs.vectors.server_copies import ServerCopies
from kbjobs.vectors.wanted import LedgerRecords, read_wanted


@dataclass(frozen=True, slots=True)
class Indexed:
    """A model's part of a ledger, and the directory of its collection or, with a server, of its exact index."""

    ledger: Ledger
    model: int
    profile: int
    live: Path
    max_matrix: int = 1 << 32
    """Bytes of the largest matrix; beyond it the collection has one record for each text, and answers searches."""
    words: Path | None = None
    """The passages with their words, as far as they were written before the first index."""
    server: ChromaServer | None = None
    source_id: str = ""
    opens: OpenDirectory = open_directory
    """How the collection of a directory is opened."""

    @property
    def copies(self) -> WorkingCopy:
        """The collection, and what is begun next to it."""
        if self.server is None:
            return WorkingCopy(self.live, self.opens)
        return ServerCopies(self.live, self.server, self.source_id, self.ledger)

    def impatient(self) -> Indexed:
        """The same for those who have better things to do than to wait for a server. With connections of its own."""
        return self if self.server is None else replace(self, server=self.server.waiting_as(Waiting()))

    @property
    def has_matrix(self) -> bool:
        """Whether the vectors are published as a matrix too."""
        row_bytes = 4 * store.dimension(self.ledger, self.model)
        return row_bytes * self.ledger.count_texts(self.profile) <= self.max_matrix

    def read_wanted(self) -> LedgerRecords:
        """What the collection is to hold. A pass over the whole ledger: once for all that is done with it."""
        return read_wanted(self.ledger, self.model, self.profile, self.has_matrix)

    def bytes_to_write(self) -> int:
        """About what a collection and its exact index take on this disk.

        Each vector once in Chroma and once in the matrix, the texts three times in Chroma (as they are, and as
        trigrams) and twice in the file of passages.
        """
        vectors = self.ledger.count_texts(self.profile) * 4 * store.dimension(self.ledger, self.model)
        texts = store.text_bytes(self.ledger, self.profile)
        return vectors + 2 * texts if self.server is not None else 2 * vectors + 5 * texts


class Collections:
    """Where the collections of a source lie, by the settings in force. Use ``close`` at the end.

    Args:
        home: of the source.
        settings: in force.
        source: whose collections they are.
        waiting: how long for a server that is away.
        apart: those in directories are opened in a process of their own, as who has much to compute beside needs it.
    """

    def __init__(
        self, home: Home, settings: Settings, source: SourceFolder, waiting: Waiting | None = None, apart: bool = False
    ) -> None:
        self._source = source
        self._max_matrix = settings.integer("matrix_max_mb") << 20
        address = read_address(home, settings)
        self.server = None if address is None else ChromaServer(address, waiting)
        self._process = ChromaProcess() if apart and self.server is None else None

    def of(self, ledger: Ledger, model: int, profile: int, key: str) -> Indexed:
        """Describe the collection of a model and where it is.

        Args:
            ledger: the source's ledger.
            model: the model's row in it.
            profile: the row of its cutting profile.
            key: the model's key.
        """
        live = self._source.vectors / key
        words = self._source.words
        opens = open_directory if self._process is None else self._process.open
        return Indexed(ledger, model, profile, live, self._max_matrix, words, self.server, self._source.id, opens)

    def close(self) -> None:
        """Close the connections to a server, or end the process."""
        if self._process is not None:
            self._process.close()
        if self.server is not None:
            self.server.close()


def copies_where_published(
    home: Home, settings: Settings, source: SourceFolder, ledger: Ledger, key: str, waiting: Waiting
) -> WorkingCopy:
    """Find the collection of a model at the place it was last published, whatever the settings say now.

    Args:
        home: the home of the source.
        settings: the settings in force, which have the server's credentials.
        source: the source.
        ledger: its ledger, which knows the place.
        key: the model's key.
        waiting: how long to wait for an unresponsive server.
    """
    live = source.vectors / key
    place = place_of(ledger, key)
    if place is None:
        return WorkingCopy(live)
    return ServerCopies(live, ChromaServer(address_of(home, settings, *place), waiting), source.id, ledger)


@contextmanager
def open_published(home: Home, settings: Settings, source: SourceFolder, key: str) -> Iterator[Collection]:
    """Open the collection of a model at the place it was last published, for reading.

    Args:
        home: the home of the source.
        settings: the settings in force, which have the server's credentials.
        source: the source.
        key: the model's key.

    Raises:
        CollectionError: it cannot be opened.
    """
    live = WorkingCopy(source.vectors / key)
    if (live.readable() / DATABASE).is_file():
        with live.open_live() as collection:
            yield collection
        return
    try:
        with open_ledger(source.ledger) as ledger:
            copies = copies_where_published(home, settings, source, ledger, key, Waiting())
            with closing(copies), copies.open_live() as collection:
                yield collection
    except (ServerAwayError, ForeignCollectionError, MissingRequirementError) as error:
        raise CollectionError(error.message, error.hint) from error
