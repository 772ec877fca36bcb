"""Named points after every commit and before every external effect, where a test can kill the process.

``KBJOBS_CRASH_AT=NAME:FILE``, which only tests set, kills the first process that reaches the point NAME; FILE is made
then, and while it exists nobody is killed again. Several such requests are separated by commas.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "KBJOBS_CRASH_AT"

POINTS: tuple[str, ...] = (
    "submit.committed",
    "pause.committed",
    "pause.ended",
    "daemon.described",
    "daemon.claimed",
    "daemon.started_worker",
    "daemon.before_recovery",
    "daemon.recovered",
    "daemon.before_sigterm",
    "finish.taken",
    "finish.started",
    "finish.ended",
    "finish.closed",
    "worker.locked",
    "worker.named",
    "worker.source_locked",
    "checkpoint.opened",
    "checkpoint.saved",
    "phase.before_record",
    "phase.recorded",
    "worker.before_finish",
    "worker.finished",
    "scan.committed",
    "embed.before",
    "embed.committed",
    "batch.planned",
    "batch.uploaded",
    "batch.created",
    "batch.noted",
    "batch.taken",
    "batch.deleted",
    "batch.closed",
    "collection.upserted",
    "documents.deleted",
    "profile.adopted",
    "scrape.sitemap",
    "scrape.wiki_list",
    "scrape.wiki_change",
    "scrape.saved",
    "scrape.committed",
    "scrape.removed",
    "scrape.linked",
    "metadata.committed",
    "metadata.linked",
    "metadata.settled",
    "metadata.marked",
    "words.written",
    "matrix.rows_written",
    "passages.written",
    "matrix.sealed",
    "copy.before_rename",
    "copy.renamed",
    "publish.before",
    "publish.between_renames",
    "publish.renamed",
    "publish.done",
    "withdraw.catalogue",
    "withdraw.manifests",
    "upload.marked",
    "upload.part",
    "upload.before_manifest",
    "upload.manifest",
    "upload.published",
    "pinecone.removed",
    "pinecone.created",
    "pinecone.planned",
    "pinecone.upserted",
    "pinecone.saved",
    "pinecone.before_delete",
    "pinecone.deleted",
    "pinecone.verified",
    "server.before_publish",
    "server.between_renames",
    "server.renamed",
    "server.deleted",
    "clear.marked",
    "clear.renamed",
    "clear.removed",
    "purge.committed",
    "purge.deleted",
    "purge.freed",
    "delete.renamed",
    "source.ended",
    "delete.removed_file",
    "delete.before_return",
    "delete.returned",
    "delete.removed",
    "compact.removed",
    "compact.vacuumed",
    "compact.rebuilt",
    "pack.part_written",
    "pack.before_manifest",
    "pack.published",
    "download.noted",
    "download.received",
    "download.checked",
    "download.renamed",
    "download.before_publish",
    "download.between_renames",
    "download.published",
    "install.part",
    "install.fetched",
    "install.filled",
    "install.built",
    "install.before_rename",
    "install.between_renames",
    "install.renamed",
    "install.done",
    "tags.answered",
    "tags.before_write",
    "tags.written",
    "map.before_rename",
    "map.points_renamed",
    "map.page_renamed",
    "language.fetched",
    "language.before_rename",
    "language.renamed",
)


def crash_point(name: str) -> None:
    """Die here by SIGKILL, if a test asks for it."""
    requests = os.environ.get(VARIABLE)
    if requests is None:
        return
    for request in requests.split(","):
        wanted, _, marker = request.partition(":")
        if wanted != name:
            continue
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)
