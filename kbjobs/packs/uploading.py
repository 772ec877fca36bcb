"""Uploading the pack of a source to a store: first missing parts, then the manifest, then the catalogue.

A reader never sees half a pack. After a kill, at most the parts in flight are sent again.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kbjobs.context import Context, PhaseResult
from kbjobs.errors import KbjobsError, UnavailableError
from kbjobs.formatting import agreeing, counted
from kbjobs.object_storage.bucket import Bucket
from kbjobs.object_storage.upload_targets import note_store
from kbjobs.packs.manifest import Part
from kbjobs.packs.pack_building import PackBuilder
from kbjobs.packs.pack_catalogue import Version, describe_version, publish_version, version_name
from kbjobs.packs.parts import SealedPart
from kbjobs.store.ledger import Ledger
from kbjobs.system.crashpoints import crash_point

AT_ONCE = 6
"""Parts sent at the same time. At up to 20 MiB each, this bounds the memory, and what a kill makes send again."""
MARKERS = "uploads/"
"""The folder of markers. An upload's marker keeps parts that it relies on from being pruned meanwhile."""
SEND = (0.0, 0.97)


@dataclass(slots=True)
class _Sent:
    """The parts and bytes that an upload has sent or found in the store so far."""

    new_parts: int = 0
    new_bytes: int = 0
    reported: int = 0
    seen: set[str] = field(default_factory=set)
    reused: list[Part] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def upload(context: Context, bucket: Bucket, include_backup: bool, keep: int, dry_run: bool) -> PhaseResult:
    """Upload the context's source to a store.

    Args:
        context: the job's context; the job need not hold the source's lock, because the pack is a snapshot.
        bucket: the store.
        include_backup: whether to send the source's files too.
        keep: the number of versions of the source to keep in the store.
        dry_run: whether to count only, and send nothing.
    """
    with PackBuilder(context.source, include_backup, context.check) as builder:
        if dry_run:
            return _result(context, bucket, builder, _send(context, bucket, builder, dry_run=True), None)
        keeps_conditions = bucket.keeps_conditions()
        if not keeps_conditions:
            context.log.warning(
                "%s ignores conditions on writes: two uploads at the same moment may lose an entry of its catalogue;"
                " kbjobs pack prune with --rebuild-catalogue mends it",
                bucket.label,
            )
        with _marked(context, bucket):
            sent = _send(context, bucket, builder, dry_run=False)
            _check_reused(bucket, sent)
            manifest = builder.manifest
            version = describe_version(manifest, datetime.now(UTC))
            crash_point("upload.before_manifest")
            bucket.put(version_name(manifest.source.id, version), manifest.encode())
            crash_point("upload.manifest")
            dropped = publish_version(bucket, manifest, version, keep, keeps_conditions, context.check)
            crash_point("upload.published")
        bucket.delete([version_name(manifest.source.id, one) for one in dropped])
        with Ledger(context.source.ledger) as ledger:
            note_store(ledger, bucket.label, context.home.path)
        return _result(context, bucket, builder, sent, version, keeps_conditions)


def _send(context: Context, bucket: Bucket, builder: PackBuilder, dry_run: bool) -> _Sent:
    """Send the missing parts, several at a time, while the builder continues."""
    sent = _Sent()
    running: set[Future[None]] = set()
    with ThreadPoolExecutor(AT_ONCE, "upload") as pool:
        try:
            for sealed in builder.parts():
                if sealed.part.sha256 in sent.seen:
                    continue
                sent.seen.add(sealed.part.sha256)
                while len(running) >= AT_ONCE:
                    running = _wait_for_some(running)
                    context.check()
                running.add(pool.submit(_put, bucket, sealed, sent, dry_run))
                _report(context, builder, sent)
            while running:
                running = _wait_for_some(running)
                _report(context, builder, sent)
        except BaseException:
            for future in running:
                future.cancel()
            raise
    return sent


def _wait_for_some(running: set[Future[None]]) -> set[Future[None]]:
    """Wait until one has ended, or half a second; returns those that still run, and raises their errors."""
    done, left = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
    return left


def _put(bucket: Bucket, sealed: SealedPart, sent: _Sent, dry_run: bool) -> None:
    there = bucket.find(sealed.part.name)
    if there is not None and there.size == sealed.part.size:
        with sent.lock:
            sent.reused.append(sealed.part)
        return
    if not dry_run:
        bucket.put(sealed.part.name, sealed.data)
        crash_point("upload.part")
    with sent.lock:
        sent.new_parts += 1
        sent.new_bytes += sealed.part.size


def _report(context: Context, builder: PackBuilder, sent: _Sent) -> None:
    context.saved(sent.new_parts - sent.reported)
    sent.reported = sent.new_parts
    done, total = builder.done_bytes, max(builder.expected_bytes, builder.done_bytes, 1)
    message = f"{counted(sent.new_parts, 'part')} sent, {len(sent.reused):,} there already"
    context.progress(done, total, "bytes", message, SEND)


def _check_reused(bucket: Bucket, sent: _Sent) -> None:
    """Raise UnavailableError if a reused part is gone: a prune at the same moment may have missed the marker."""
    gone = [part for part in sent.reused if bucket.find(part.name) is None]
    if gone:
        raise UnavailableError(
            f"{agreeing(len(gone), 'part', 'was', 'were')} removed from {bucket.label} during the upload",
            "Try again: it resumes.",
        )


@contextmanager
def _marked(context: Context, bucket: Bucket) -> Iterator[None]:
    """Keep a marker in the store while an upload runs; an upload that resumes after a kill uses the same marker."""
    name = context.checkpoint if isinstance(context.checkpoint, str) else f"{MARKERS}{secrets.token_hex(8)}.json"
    context.save_checkpoint(name)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    bucket.put(name, json.dumps({"source": context.source.id, "started_at": started}).encode())
    crash_point("upload.marked")
    try:
        yield
    except BaseException:
        try:
            bucket.delete([name])
        except KbjobsError as error:
            context.log.warning(
                "the upload marker %s could not be deleted and stays in the store: %s", name, error.message
            )
        raise
    bucket.delete([name])


def _result(
    context: Context,
    bucket: Bucket,
    builder: PackBuilder,
    sent: _Sent,
    version: Version | None,
    keeps_conditions: bool | None = None,
) -> PhaseResult:
    manifest = builder.manifest
    unseen = builder.unseen
    for key, reason in unseen:
        context.log.warning("not in the pack: %s: %s", key, reason)
    counts = {
        "source": manifest.source.id,
        "store": bucket.label,
        "version": None if version is None else version.version,
        "documents": manifest.documents.records,
        "parts": len(sent.seen),
        "new_parts": sent.new_parts,
        "bytes": manifest.size,
        "new_bytes": sent.new_bytes,
        "failed": len(unseen),
        "keeps_conditions": keeps_conditions,
    }
    verb = "would be sent" if version is None else "sent"
    summary = (
        f"{bucket.label}: {counted(sent.new_parts, 'part')} of {len(sent.seen):,} {verb},"
        f" {sent.new_bytes / 1e6:,.1f} of {manifest.size / 1e6:,.1f} MB"
    )
    if version is not None:
        summary += f"; version {version.version[:12]}"
    if keeps_conditions is False:
        summary += "; the store ignores conditions on writes (see the log)"
    if unseen:
        summary += f"; {counted(len(unseen), 'file')} could not be read (see the log)"
    return PhaseResult(counts, summary, len(unseen))
