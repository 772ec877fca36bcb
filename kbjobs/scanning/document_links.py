"""Finding the documents of a source that its documents' links lead to."""

from __future__ import annotations

from functools import lru_cache

from kbjobs.content.document import document_id
from kbjobs.content.link_targets import address_key, addresses_of
from kbjobs.context import Context
from kbjobs.scanning.changes import archive_address
from kbjobs.scanning.enumeration import Enumerated
from kbjobs.store import metadata as store
from kbjobs.store.ledger import Ledger

_REMEMBERED = 20_000  # addresses in the cache, since most links of a site lead to the same few pages


def resolve_links(context: Context, ledger: Ledger, found: Enumerated) -> None:
    """Find the document of each link: first by the place of its file, then by the address that a page claims.

    Args:
        context: the phase's context.
        ledger: the source's ledger, whose links are updated.
        found: the source's files.

    Raises:
        JobCancelled: the job was asked to stop.
    """
    urls = dict(store.document_urls(ledger))
    documents: dict[str, str] = {}
    for file in found.files:
        doc_id = document_id(found.source.id, file.key)
        if doc_id in urls:
            for address in addresses_of(file, found.source.base_url):
                documents.setdefault(address_key(address), doc_id)
    for archive in found.archives:  # whose entries may have no address of their own
        prefix = f"{archive.key}/"
        for doc_id, path in ledger.document_paths():
            if path.startswith(prefix):
                documents.setdefault(address_key(archive_address(archive, path[len(prefix) :])), doc_id)
    for doc_id, url in urls.items():
        documents.setdefault(address_key(url), doc_id)

    @lru_cache(_REMEMBERED)
    def find(url: str) -> str | None:
        return documents.get(address_key(url))

    store.resolve_links(ledger, find, context.check)
