"""Remove collections from the disk and, on request, their vectors from the ledger."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from kbjobs.context import Context, PhaseResult
from kbjobs.formatting import agreeing, counted
from kbjobs.store import vector_clearing as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.vacuum import free_space
from kbjobs.system.crashpoints import crash_point
from kbjobs.vectors.chroma_server import Waiting
from kbjobs.vectors.collection_swap import WorkingCopy, disk_bytes
from kbjobs.vectors.indexed import copies_where_published

VECTORS = (0.5, 1.0)


def clear_source(context: Context, dimension: int | None, purge: bool) -> PhaseResult:
    """Clear the collections of a dimension, or all. The caller holds the source's lock.

    Args:
        context: the job's context.
        dimension: the dimension of the models to clear; None for all.
        purge: also delete their vectors from the ledger.
    """
    source = context.source
    counts = {"collections": 0, "records": 0, "freed_bytes": 0, "vectors_kept": 0, "vectors_deleted": 0}
    is_freed = True
    keys: set[str] = set()
    if source.ledger.exists():
        ledger = Ledger(source.ledger)
        waiting = Waiting(context.settings.number("vectors.chroma_wait"), partial(_tell_waiting, context))
        try:
            rows = ledger.models(dimension)
            keys = {row.key for row in ledger.models()}
            for done, row in enumerate(rows):
                context.progress(done, len(rows), "collections", f"clearing {row.name}", eta_matters=False)
                copies = copies_where_published(context.home, context.settings, source, ledger, row.key, waiting)
                if copies.is_there():
                    counts["collections"] += 1
                    counts["records"] += len(ledger.record_ids(row.id, row.profile))
                store.mark_cleared(ledger, row.id)
                crash_point("clear.marked")
                counts["freed_bytes"] += copies.clear()
                crash_point("clear.removed")
            if purge:
                for row in rows:
                    counts["vectors_deleted"] += _purge(context, ledger, row.id)
                    crash_point("purge.deleted")
                freed = free_space(ledger)
                is_freed = freed > 0
                counts["freed_bytes"] += freed
                crash_point("purge.freed")
            else:
                counts["vectors_kept"] = sum(ledger.count_vectors(row.id) for row in rows)
        finally:
            ledger.close()
    if dimension is None:
        orphans, freed = _clear_orphans(context, source.vectors, keys)
        counts["collections"] += orphans
        counts["freed_bytes"] += freed
    return PhaseResult({**counts, "dimension": dimension}, _summarise(counts, dimension, purge, is_freed))


def _tell_waiting(context: Context, told: str) -> None:
    context.progress(0, 1, "collections", told, eta_matters=False)


def _purge(context: Context, ledger: Ledger, model: int) -> int:
    total = ledger.count_vectors(model)

    def report(deleted: int) -> None:
        crash_point("purge.committed")
        context.saved(1)
        context.progress(deleted, total, "vectors", "deleting vectors from the ledger", VECTORS)

    return store.delete_vectors(ledger, model, report)


def _clear_orphans(context: Context, vectors: Path, keys: set[str]) -> tuple[int, int]:
    """Remove entries next to the collections that belong to no model. Returns the number of entries, and the bytes
    freed."""
    known = {path.name for key in keys for path in WorkingCopy(vectors / key).directories()}
    number = freed = 0
    for path in sorted(vectors.iterdir()) if vectors.is_dir() else []:
        if path.name in known:
            continue
        context.log.info("removing %s, which no model of the ledger names", path)
        number += 1
        if path.is_dir() and not path.is_symlink():
            freed += disk_bytes(path)
            shutil.rmtree(path)
        else:
            path.unlink()
    return number, freed


def _summarise(counts: dict[str, int], dimension: int | None, purge: bool, is_freed: bool) -> str:
    of = f" of dimension {dimension}" if dimension is not None else ""
    parts = []
    if counts["collections"]:
        parts.append(
            f"{counted(counts['collections'], 'collection')}{of} with {counted(counts['records'], 'record')} cleared,"
            f" {counts['freed_bytes'] / 1e6:,.1f} MB freed"
        )
    else:
        parts.append(f"there was no collection{of} to clear")
    if counts["vectors_deleted"]:
        gone = counted(counts["vectors_deleted"], "vector")
        parts.append(f"{gone} deleted from the ledger too: indexing again embeds them anew")
        if not is_freed:
            parts.append("its file keeps its size, and later vectors take the unused part")
    elif counts["vectors_kept"]:
        kept = agreeing(counts["vectors_kept"], "vector", "stays", "stay")
        parts.append(f"{kept} in the ledger: indexing again embeds nothing")
    elif purge:
        parts.append("the ledger has no vectors to delete")
    return "; ".join(parts)
