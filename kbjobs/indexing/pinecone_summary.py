"""The cost of a sync with Pinecone, and its result."""

from __future__ import annotations

from dataclasses import dataclass

from kbjobs.config.prices import Price
from kbjobs.context import Context, PhaseResult
from kbjobs.formatting import agreeing, counted
from kbjobs.indexing.pinecone_progress import SyncProgress
from kbjobs.store import publication as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import IndexedModel
from kbjobs.vectors.pinecone_diff import PineconeDiff, WantedRecords
from kbjobs.vectors.pinecone_index import PineconeIndex
from kbjobs.vectors.pinecone_records import passage_of, stored_bytes, write_metadata, write_units

TYPICAL_METADATA = 1500  # bytes, if there are no records to weigh


@dataclass(frozen=True, slots=True)
class SyncedSource:
    """What a source's ledger wants in the index."""

    ledger: Ledger
    model: IndexedModel
    source_id: str
    owner: str
    wanted: WantedRecords
    without_vector: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What the index shows after a sync.

    ``others``: records of other sources; ``unseen``: sent records that are not shown yet; ``lingering``: deleted
    records that are still shown.
    """

    others: int
    unseen: int = 0
    lingering: int = 0


def weigh(source: SyncedSource, diff: PineconeDiff) -> tuple[int, int, int]:
    """Compute the write units of sending, the number of texts that would be cut, and the mean bytes of a record."""
    names = {passage_of(name): name for name in diff.to_write}
    model = source.model
    total = cut = 0
    pages = store.pushed_passages(source.ledger, model.id, model.profile, list(names), has_vectors=False)
    for page in pages:
        for passage in page:
            _, size, is_cut = write_metadata(source.source_id, passage)
            total += stored_bytes(names[passage.id], size, model.dimension)
            cut += is_cut
    mean = total // len(names) if names else stored_bytes("", TYPICAL_METADATA, model.dimension)
    return write_units(total), cut, mean


def make_result(
    context: Context, index: PineconeIndex, source: SyncedSource, progress: SyncProgress, seen: Seen
) -> PhaseResult:
    """Make the result of a finished sync, with a line for people.

    Args:
        context: the job's context.
        index: the synced index.
        source: what its ledger wants there.
        progress: what was sent and deleted.
        seen: what the index shows.
    """
    others, unseen, lingering = seen.others, seen.unseen, seen.lingering
    price = Price.read(context.settings, "pinecone.price", "write units")
    counts = {
        **name_index(index),
        **progress.plan,
        "pushed": progress.pushed,
        "deleted": progress.deleted,
        "records": len(source.wanted.names),
        "others": others,
        "cut": progress.cut,
        "without_vector": source.without_vector,
        "write_units": progress.write_units,
        "price_usd": round(price.of(progress.write_units), 8),
        "retries": index.retries,
        "verified": not (unseen or lingering),
        "failed": unseen + lingering,
    }
    summary = f"{index.target}: {format_plan(progress.plan)}"
    if progress.pushed:
        summary += f"; {counted(progress.pushed, 'record')} sent, {counted(progress.write_units, 'write unit')}"
    if unseen or lingering:
        summary += (
            f"; after {context.settings.number('pinecone.wait'):g} s the index does not show {unseen:,} of what was"
            f" sent and still shows {lingering:,} of what was deleted: run it again later"
        )
    if others:
        summary += f"; {counted(others, 'record')} of others in the namespace were left alone"
    return PhaseResult(counts, summary + format_left_out(progress.cut, source.without_vector), unseen + lingering)


def name_index(index: PineconeIndex) -> dict[str, str]:
    """Name the index and the namespace, as results do."""
    return {"index": index.target.index, "namespace": index.target.namespace}


def format_plan(numbers: dict[str, int]) -> str:
    """Format the numbers of a plan for people."""
    return (
        f"{numbers['to_push']:,} to push, {numbers['to_update']:,} to update, {numbers['to_delete']:,} to delete,"
        f" {numbers['in_sync']:,} in sync"
    )


def format_left_out(cut: int, without_vector: int) -> str:
    """Describe records that were cut or left out; '' if there are none."""
    told = (
        f"; {agreeing(cut, 'record', 'was', 'were')} cut to fit 40 KB of metadata, at the end of the text"
        if cut
        else ""
    )
    if without_vector:
        told += f"; {counted(without_vector, 'passage')} without a vector left out (kbjobs run index-online)"
    return told
