"""A model's part of a ledger, and the place of its collection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
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


@dataclass(slots=True)
class CopyContents:
    """The ids of the records in a working copy, as far as this process has followed them; None if it has not."""

    ids: set[str] | None = None


@dataclass(frozen=True, slots=True)
class Indexed:
    """A model's part of a ledger, with the directory of its collection or, with a server, of its exact index."""

    ledger: Ledger
    model: int
    profile: int
    live: Path
    max_matrix: int = 1 << 32
    """Largest matrix in bytes; beyond it, the collection has one record for each text, and answers searches."""
    words: Path | None = None
    """The file of words that was written before the first index, if there is one."""
    server: ChromaServer | None = None
    source_id: str = ""
    opens: OpenDirectory = open_directory
    """Opens the collection of a directory."""
    contents: CopyContents = field(default_factory=CopyContents)
    """What its working copy holds."""

    @property
    def copies(self) -> WorkingCopy:
        """The collection and its working copy."""
        if self.server is None:
            return WorkingCopy(self.live, self.opens)
        return ServerCopies(self.live, self.server, self.source_id, self.ledger)

    def impatient(self) -> Indexed:
        """The same without waiting for an unavailable server, and with connections of its own."""
        return self if self.server is None else replace(self, server=self.server.waiting_as(Waiting()))

    @property
    def has_matrix(self) -> bool:
        """Whether the vectors are also published as a matrix."""
        row_bytes = 4 * store.dimension(self.ledger, self.model)
        return row_bytes * self.ledger.count_texts(self.profile) <= self.max_matrix

    def read_wanted(self) -> LedgerRecords:
        """Read what the collection should hold. It is a pass over the whole ledger, so use the result several times."""
        return read_wanted(self.ledger, self.model, self.profile, self.has_matrix)

    def bytes_to_write(self) -> int:
        """The approximate bytes of a collection and its exact index on this disk.

        Each vector counts once in Chroma and once in the matrix, the texts three times in Chroma (as they are, and as
        trigrams) and twice in the file of passages.
        """
        vectors = self.ledger.count_texts(self.profile) * 4 * store.dimension(self.ledger, self.model)
        texts = store.text_bytes(self.ledger, self.profile)
        return vectors + 2 * texts if self.server is not None else 2 * vectors + 5 * texts


class Collections:
    """The places of a source's collections, according to the settings in force. Call ``close`` at the end.

    Args:
        home: the source's home.
        settings: the settings in force.
        source: the source.
        waiting: how long to wait for an unavailable server.
        apart: whether to open collections in directories in a separate process, for callers with much to compute.
    """

    def __init__(
        self, home: Home, settings: Settings, source: SourceFolder, waiting: Waiting | None = None, apart: bool = False
    ) -> None:
        self._source = source
        self._max_matrix = settings.integer("matrix_max_mb") << 20
        address = read_address(home, settings)
        self.server = None if address is None else ChromaServer(address, waiting)
        self._is_apart = apart and self.server is None
        self._process: ChromaProcess | None = None

    def of(self, ledger: Ledger, model: int, profile: int, key: str) -> Indexed:
        """Describe the collection of a model and its place.

        Args:
            ledger: the source's ledger.
            model: the model's row in it.
            profile: the row of its cutting profile.
            key: the model's key.
        """
        live = self._source.vectors / key
        words = self._source.words
        opens = self._open_apart if self._is_apart else open_directory
        return Indexed(ledger, model, profile, live, self._max_matrix, words, self.server, self._source.id, opens)

    def prepare(self) -> None:
        """Start the process of collections that are to be opened soon: that takes half a second of another core."""
        if self._is_apart and self._process is None:
            self._process = ChromaProcess()

    def _open_apart(self, path: Path, create: bool = False) -> Collection:
        self.prepare()
        assert self._process is not None  # noqa: S101
        return self._process.open(path, create)

    def close(self) -> None:
        """Close the connections to a server, or stop the process."""
        if self._process is not None:
            self._process.close()
        if self.server is not None:
            self.server.close()


def copies_where_published(
    home: Home, settings: Settings, source: SourceFolder, ledger: Ledger, key: str, waiting: Waiting
) -> WorkingCopy:
    """Find the collection of a model at the place where it was last published, whatever the settings say now.

    Args:
        home: the source's home.
        settings: the settings in force, which have the server's credentials.
        source: the source.
        ledger: its ledger, which knows the place.
        key: the model's key.
        waiting: how long to wait for an unavailable server.
    """
    live = source.vectors / key
    place = place_of(ledger, key)
    if place is None:
        return WorkingCopy(live)
    return ServerCopies(live, ChromaServer(address_of(home, settings, *place), waiting), source.id, ledger)


@contextmanager
def open_published(home: Home, settings: Settings, source: SourceFolder, key: str) -> Iterator[Collection]:
    """Open the collection of a model for reading, at the place where it was last published.

    Args:
        home: the source's home.
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
