"""The index pipeline for any embedder: scan, embed new passages, publish the collection."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbjobs.content.chunking import Chunker
from kbjobs.content.tokens import TokenCounter, counter_of
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.embedder import Embedder
from kbjobs.embedding.spending import SpendingLimitError
from kbjobs.formatting import counted
from kbjobs.indexing.batch_jobs import Batches, Batching
from kbjobs.indexing.batch_state import state_name
from kbjobs.indexing.collection_writer import CollectionWriter
from kbjobs.indexing.cutting import IndexOptions, choose_profile, describe_recut
from kbjobs.indexing.embedding_batches import BatchEmbedding
from kbjobs.indexing.spans import EMBED, SCAN, STORE
from kbjobs.indexing.usage import Usage
from kbjobs.scanning.describing import Describing
from kbjobs.scanning.enumeration import Scan
from kbjobs.scanning.scan import Cutting, scan_source
from kbjobs.scanning.word_index import publish_words
from kbjobs.store.api_batches import has_batches
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import MissingText
from kbjobs.store.profiles import adopt, profile_of
from kbjobs.system.crashpoints import crash_point
from kbjobs.vectors.chroma_server import Waiting
from kbjobs.vectors.collection import CollectionError
from kbjobs.vectors.indexed import Collections, Indexed
from kbjobs.vectors.sync import compare, find_lost, is_exact, recover_and_publish
from kbjobs.vectors.verified import is_verified, note_verified


def run_index(
    context: Context,
    embedder: Embedder,
    options: IndexOptions,
    describing: Describing | None = None,
    batching: Batching | None = None,
) -> PhaseResult:
    """Index the context's source with the embedder. The caller holds the source's lock.

    Args:
        context: the job's context.
        embedder: the embedder.
        options: the job's options.
        describing: reads metadata in the same pass, if given.
        batching: use of the Batch API, if given: the results of open batches are taken first, and passages in open
            batches are not embedded.

    Raises:
        JobWaits: only passages in open batches, or waiting for room in the queue, are missing.
        SpendingLimitError: the next request would exceed a limit on spending.
    """
    waiting = Waiting(context.settings.number("vectors.chroma_wait"), partial(_report_waiting, context))
    with (
        Ledger(context.source.ledger) as ledger,
        closing(Collections(context.home, context.settings, context.source, waiting, apart=True)) as collections,
    ):
        tokens = counter_of(embedder.tokenizer)
        indexed = _open_model(context, ledger, collections, embedder, tokens, options)
        forcing = f"force {embedder.model_key} {context.job_id}" if options.force else None
        newer_than = _begin_force(indexed, forcing) if forcing else 0
        keeps_cut = options.keeps_cut and not options.recut and not options.force
        cutting = Cutting(indexed.profile, Chunker(tokens, embedder.max_tokens), keeps_cut, collections.prepare)
        changes = scan_source(context, ledger, cutting, SCAN, options.scope, describing)
        scan = changes.found.scan
        filtered = describing.finish(context, ledger, changes.found) if describing is not None else 0
        publish_words(context.source, ledger, indexed.profile)
        del cutting, tokens  # the tokenizer takes tens of MB: free them before the engine needs them
        usage = Usage.read(ledger, embedder, context.job_id)
        earlier = usage.texts
        find_missing = partial(ledger.missing_texts, indexed.model, indexed.profile, newer_than, scan.vanished)
        if scan.vanished or options.force:
            collections.prepare()
        try:
            lost = _embed(context, indexed, embedder, find_missing, usage, batching)
        except SpendingLimitError as error:
            left = find_missing()
            raise error.with_rest(sum(text.tokens for text in left), len(left)) from None
        _remove_vanished(context, ledger, scan)
        changes.remember()
        _publish(context, indexed)
        adopt(ledger, indexed.model, indexed.profile)
        context.source.words.unlink(missing_ok=True)
        crash_point("profile.adopted")
        for fact in (forcing, usage.name, state_name(embedder.model_key, context.job_id)):
            if fact:
                ledger.set_fact(fact, None)
        counts = _count(indexed, scan, embedder, usage, len(lost)) | {"filtered": filtered}
    return PhaseResult(counts, _summarise(counts, scan, earlier), counts["failed"])


def _open_model(
    context: Context,
    ledger: Ledger,
    collections: Collections,
    embedder: Embedder,
    tokens: TokenCounter,
    options: IndexOptions,
) -> Indexed:
    """Open the embedder's part of the ledger; if its passages are cut again, start with an empty working copy."""
    chosen = choose_profile(ledger, embedder.model_key, tokens, embedder.max_tokens, options)
    profile = ledger.profile(chosen.name)
    before = profile_of(ledger, embedder.model_key)
    model = ledger.model(embedder.model_key, embedder.name, embedder.dimension, profile)
    indexed = collections.of(ledger, model, profile, embedder.model_key)
    if before is not None and before != chosen:
        if recut := describe_recut(ledger, embedder.name):
            context.log.info("%s", recut)
        # Hardly any record remains, so the old ones are not worth copying.
        _begin_anew(indexed)
    return indexed


def _remove_vanished(context: Context, ledger: Ledger, scan: Scan) -> None:
    if scan.vanished:
        context.log.info("removing %d documents that are gone", len(scan.vanished))
        ledger.delete_documents(scan.vanished)
        crash_point("documents.deleted")


def _count(indexed: Indexed, scan: Scan, embedder: Embedder, usage: Usage, lost: int) -> dict[str, Any]:
    """Count the result of a run; ``lost``: passages that could not be embedded."""
    chunks = indexed.ledger.count_chunks(indexed.profile)
    counts: dict[str, Any] = {
        "documents": indexed.ledger.count_documents(),
        "chunks": chunks,
        "embedded": usage.texts,
        "reused": max(0, chunks - usage.texts - lost),
        "deleted": len(scan.vanished),
        "failed": len(scan.failed) + lost,
        "skipped": len(scan.skipped) + scan.short,
        "filtered": 0,
        "new": scan.new,
        "changed": scan.changed,
        "unchanged": scan.unchanged,
        "model": embedder.name,
        "dimension": embedder.dimension,
        "engine": embedder.engine,
    }
    if not embedder.is_free:
        counts |= {"tokens": usage.all_tokens, "batch_tokens": usage.batch_tokens}
    return counts


def _summarise(counts: Mapping[str, Any], scan: Scan, earlier: int) -> str:
    """Summarise the result for people; ``earlier``: passages that earlier attempts of the job embedded."""
    before = f" ({earlier:,} of them in earlier attempts)" if earlier else ""
    summary = (
        f"{counted(counts['documents'], 'document')} ({scan.new} new, {scan.changed} changed,"
        f" {len(scan.vanished)} deleted), {counted(counts['chunks'], 'passage')}:"
        f" {counts['embedded']:,} embedded{before}, {counts['reused']:,} reused"
    )
    if counts["failed"]:
        summary += f"; {counts['failed']:,} could not be processed (see the log){scan.format_other_files()}"
    if counts["filtered"]:
        summary += f"; {counts['filtered']:,} left out by the language filter"
    return summary + scan.format_skipped()


def _begin_force(indexed: Indexed, fact: str) -> int:
    """Count vectors up to the returned number as missing. A resumed job keeps the vectors that it has embedded
    since."""
    mark = indexed.ledger.fact(fact)
    if mark is None:
        indexed.copies.discard()
        mark = str(indexed.ledger.newest_vector())
        indexed.ledger.set_fact(fact, mark)
    _begin_anew(indexed)
    return int(mark)


def _begin_anew(indexed: Indexed) -> None:
    """Begin an empty working copy unless one has begun."""
    if not indexed.copies.has_begun():
        indexed.copies.begin(empty=True)


def _embed(
    context: Context,
    indexed: Indexed,
    embedder: Embedder,
    find_missing: Callable[[], list[MissingText]],
    usage: Usage,
    batching: Batching | None,
) -> list[str]:
    """Embed the missing texts, here or by batches. Returns the hashes of texts that could not be embedded."""
    key = embedder.model_key
    if batching is None or not (batching.sends or has_batches(indexed.ledger, key)):
        return _embed_missing(context, indexed, embedder, find_missing(), usage)
    model = next(model for model in indexed.ledger.models() if model.key == key)
    with Batches(context, indexed.ledger, model, embedder, usage, batching) as batches:
        batches.collect()
        missing = find_missing()
        if batching.sends:
            batches.send(missing)
        else:
            failed = _embed_missing(context, indexed, embedder, batches.without_out(missing), usage)
            missing = find_missing()
        batches.wait(missing, indexed.ledger.count_texts(indexed.profile))
        if usage.batch_tokens and indexed.server is None and indexed.live.exists():
            # Vectors from batches are only in the ledger. They are added to a copy, and do not count as lost records.
            indexed.copies.begin(empty=False)
        return sorted(batches.failed) if batching.sends else failed


def _embed_missing(
    context: Context, indexed: Indexed, embedder: Embedder, missing: Sequence[MissingText], usage: Usage
) -> list[str]:
    """Embed and commit batch by batch. Returns the hashes of texts that could not be embedded."""
    if not missing:
        return []
    ledger = indexed.ledger
    # Texts with vectors count as done, so that a resumed run shows its true progress.
    total = ledger.count_texts(indexed.profile)
    done = total - len(missing)
    context.progress(done, total, "chunks", "embedding", EMBED)
    is_distinct = not indexed.has_matrix
    with CollectionWriter(indexed.impatient(), len(missing), context.log, embedder.leaves_time) as writer:

        def read(batch: Sequence[MissingText]) -> list[str]:
            return ledger.texts([text.chunk for text in batch])

        def keep(batch: Sequence[MissingText], vectors: NDArray[np.float32]) -> None:
            rows = [(text.text_hash, _to_bytes(vector)) for text, vector in zip(batch, vectors, strict=True)]
            ledger.put_vectors(indexed.model, rows, usage.add(len(rows)))
            crash_point("embed.committed")
            context.saved(len(rows))
            hashes = [text_hash for text_hash, _ in rows]
            ids = ledger.record_ids_of_texts(indexed.profile, hashes, distinct=is_distinct)
            for records in ledger.records(indexed.model, indexed.profile, ids):
                writer.put(records)

        def on_done(count: int) -> None:
            nonlocal done
            done += count
            context.progress(done, total, "chunks", "embedding", EMBED)

        batches = _alike(missing, embedder) if embedder.pads else _in_order(missing, embedder)
        embedding = BatchEmbedding(context, embedder, batches, read, keep)
        embedding.run(on_done)
    return embedding.failed


def _to_bytes(vector: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def _in_order(missing: Sequence[MissingText], embedder: Embedder) -> Iterator[list[MissingText]]:
    """Make batches as full as the embedder allows at the time."""
    batch: list[MissingText] = []
    tokens = 0
    for text in missing:
        if batch and (tokens + text.tokens > embedder.commit_tokens or len(batch) >= embedder.commit_texts):
            yield batch
            batch, tokens = [], 0
        batch.append(text)
        tokens += text.tokens
    if batch:
        yield batch


def _alike(missing: Sequence[MissingText], embedder: Embedder) -> Iterator[list[MissingText]]:
    """Make batches of texts of similar length, each limited in tokens and texts.

    Similar lengths waste no padding. The batches are shuffled (equally in every run), so that the rate so far predicts
    the time left.
    """
    batches: list[list[MissingText]] = [[]]
    for text in sorted(missing, key=lambda text: text.tokens, reverse=True):
        batch = batches[-1]
        longest = batch[0].tokens if batch else text.tokens
        if batch and ((len(batch) + 1) * longest > embedder.commit_tokens or len(batch) >= embedder.commit_texts):
            batches.append([])
        batches[-1].append(text)
    random.Random(0).shuffle(batches)  # noqa: S311 — an order, not a secret
    yield from batches


def _report_waiting(context: Context, message: str) -> None:
    context.progress(0, 1, "records", message, STORE, eta_matters=False)


def _publish(context: Context, indexed: Indexed) -> None:
    """Make the collection equal to the ledger and verify it; an unchanged one is only verified.

    A collection that was verified before, and not written since, is not even opened.
    """
    context.progress(0, 1, "records", "verifying", STORE, eta_matters=False)
    copies = indexed.copies
    copies.recover()
    lost: list[str] = []
    wanted = indexed.read_wanted()
    if not copies.has_begun() and copies.has_live():
        if is_verified(indexed, wanted):
            return
        try:
            with copies.open_live() as collection:
                lost = find_lost(indexed, wanted, collection)
                is_equal = not compare(wanted, collection) and not lost and is_exact(wanted, copies.live)
            if is_equal:
                note_verified(indexed, wanted)
                return
        except CollectionError as error:
            context.log.warning("%s", error.message)
            lost = ["all"]
        if lost:
            context.log.warning("the index lost records; rebuilding it from the ledger")

    def report(done: int, total: int) -> None:
        context.progress(done, total, "records", "verifying", STORE, eta_matters=False)

    recover_and_publish(indexed, needs_fresh=bool(lost), on_progress=report, wanted=wanted)
