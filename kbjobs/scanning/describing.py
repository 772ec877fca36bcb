"""Writing metadata while documents are read, also in the same pass as their passages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from kbjobs.content.document import Document
from kbjobs.content.document_metadata import METADATA_VERSION, Metadata
from kbjobs.content.language import parse_filter
from kbjobs.context import Context
from kbjobs.scanning.enumeration import Enumerated
from kbjobs.scanning.file_reading import Read
from kbjobs.scanning.finalization import finalize
from kbjobs.store import metadata as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.metadata import KnownMetadata
from kbjobs.system.crashpoints import crash_point


def metadata_state(pipeline: str) -> str:
    """The version that reads metadata; metadata of another state is read again."""
    return f"{METADATA_VERSION} {pipeline}"


def described(documents: Iterable[Read]) -> Iterator[tuple[Document, str, Metadata]]:
    """Yield document, signature and metadata of the documents that were read with metadata."""
    for one in documents:
        if one.metadata is not None:
            yield one.document, one.signature, one.metadata


class Describing:
    """Writes the metadata of documents as a scan reads them.

    Args:
        language_filter: the languages whose documents are kept; None keeps all.

    ``known`` is the metadata that the ledger held at the beginning; ``state`` names the current version of reading it.
    """

    def __init__(self, language_filter: str | None) -> None:
        self.wanted = parse_filter(language_filter) if language_filter is not None else None
        self.known: dict[str, KnownMetadata] = {}
        self.state = ""

    def begin(self, ledger: Ledger, pipeline: str) -> None:
        """Load the known metadata."""
        self.known, self.state = store.known_metadata(ledger), metadata_state(pipeline)

    def is_current(self, doc_id: str, signature: str) -> bool:
        """Whether a document's metadata is up to date with the file of that signature."""
        known = self.known.get(doc_id)
        return known is not None and (known.state, known.signature) == (self.state, signature)

    def write(self, ledger: Ledger, pipeline: str, documents: Sequence[Read], paid: Collection[int]) -> None:
        """Write the metadata of documents, before their passages.

        Args:
            ledger: the source's ledger.
            pipeline: the version and settings that read them (see :func:`kbjobs.scanning.scan.name_pipeline`).
            documents: the documents, read with their metadata.
            paid: the profiles with paid vectors, whose passages stay until they are embedded again.
        """
        store.forget_finalized(ledger)
        store.put_metadata(ledger, pipeline, self.state, described(documents), paid)
        crash_point("metadata.committed")

    def finish(self, context: Context, ledger: Ledger, found: Enumerated) -> int:
        """Resolve links and mark documents that the language filter leaves out, after all documents are read.

        Args:
            context: the phase's context.
            ledger: the source's ledger.
            found: the source's files.

        Returns:
            The number of documents left out.

        Raises:
            JobCancelled: the job was asked to stop.
        """
        return finalize(context, ledger, found, self.wanted)
