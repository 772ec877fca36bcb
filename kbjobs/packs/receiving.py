"""Installing a pack from a store or a file: fetch it, build the source, put it into place, publish its collections."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.identity import model_key, weights_hash
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.embedding.online_models import find_online
from kbjobs.errors import KbjobsError, UsageError
from kbjobs.formatting import counted
from kbjobs.object_storage.bucket import Bucket
from kbjobs.object_storage.folder import FolderBucket
from kbjobs.packs import legacy_import
from kbjobs.packs.installing import Installed, Mode, install_pack
from kbjobs.packs.manifest import manifest_name
from kbjobs.packs.pack_catalogue import CATALOGUE, find_version, version_name
from kbjobs.packs.pack_download import FETCH, fetch_pack
from kbjobs.packs.pack_reading import Pack, open_pack
from kbjobs.packs.places import StorePlace
from kbjobs.packs.targets import StoreTarget, write_pack
from kbjobs.store.ledger import Ledger
from kbjobs.vectors.chroma_server import Waiting
from kbjobs.vectors.indexed import Collections
from kbjobs.vectors.sync import recover_and_publish

BUILD = (0.5, 0.98)
PUBLISH = (0.98, 1.0)


def receive_file(context: Context, path: Path, include_backup: bool, mode: Mode | None) -> PhaseResult:
    """Install a pack from a single file, or from a manifest on this machine.

    Args:
        context: the job's context; its source is the one to install.
        path: the ``.kbpack`` file or the manifest.
        include_backup: whether to install the source's files too.
        mode: see :func:`kbjobs.packs.installing.install_pack`.

    Raises:
        UsageError: the pack is of another source.
    """
    with open_pack(str(path)) as pack:
        if pack.manifest.source.id != context.source.id:
            raise UsageError(
                f"{path} is a pack of source {pack.manifest.source.id!r}, not of {context.source.id!r}",
                f"kbjobs run install-source {pack.manifest.source.id} --from {path}",
            )
        return _install(context, pack, str(path), include_backup, mode)


def receive(
    context: Context, bucket: Bucket, version: str | None, include_backup: bool, mode: Mode | None
) -> PhaseResult:
    """Install a version of the context's source from a store. The caller holds the source's lock.

    Args:
        context: the job's context.
        bucket: the store.
        version: the start of the version's name; None for the newest.
        include_backup: whether to install the source's files too.
        mode: see :func:`kbjobs.packs.installing.install_pack`.
    """
    source = context.source
    if bucket.find(CATALOGUE) is None and (prefix := _find_legacy(bucket, source.id)) is not None:
        return _receive_legacy(context, bucket, prefix, include_backup, mode)
    chosen = find_version(bucket, source.id, version)
    folder = context.home.downloads / source.id
    place = fetch_pack(context, bucket, version_name(source.id, chosen), include_backup, folder)
    with Pack(place) as pack:
        result = _install(context, pack, bucket.label, include_backup, mode)
    if not isinstance(bucket, FolderBucket):
        shutil.rmtree(folder)
    return result


def _find_legacy(bucket: Bucket, source_id: str) -> str | None:
    """The prefix of a legacy folder's files in a store; None if there is no such folder."""
    return next(
        (prefix for prefix in (f"{source_id}/", "") if bucket.find(prefix + legacy_import.MANIFEST) is not None), None
    )


def _receive_legacy(
    context: Context, bucket: Bucket, prefix: str, include_backup: bool, mode: Mode | None
) -> PhaseResult:
    """Build a pack from a legacy folder, and install it."""
    if include_backup:
        raise UsageError(
            "the files of a folder of the former system are not installed",
            f"Register them: kbjobs sources add {context.source.id} FOLDER/pages",
        )
    folder = context.home.downloads / context.source.id
    fetched = folder / "former"
    if isinstance(bucket, FolderBucket):
        fetched = bucket.root / prefix
    else:
        fetched.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number, name in enumerate(legacy_import.FILES):
            context.progress(number, len(legacy_import.FILES), "files", f"fetching {name}", FETCH)
            bucket.save(prefix + name, fetched / name, legacy_import.MAX_BYTES)
    find_key = partial(_find_key, context)
    store = FolderBucket(folder)
    with legacy_import.LegacyFolder(fetched, context.source.id, find_key, context.check) as builder:
        written = write_pack(builder, StoreTarget(store))
    with Pack(StorePlace(store, manifest_name(context.source.id, written.version))) as pack:
        result = _install(context, pack, bucket.label, False, mode)
    shutil.rmtree(folder)
    if not builder.left_out:
        return result
    names = ", ".join(builder.left_out)
    note = f"; the vectors of {names} are left out: the model is not here"
    return replace(result, counts={**result.counts, "left_out": builder.left_out}, summary=result.summary + note)


def _find_key(context: Context, name: str) -> tuple[str, str] | None:
    """The name and key of a model; None if this machine does not have it."""
    if online := find_online(name):
        return online.name, online.key
    try:
        found = find_model(name, context.home.models)
    except KbjobsError as error:
        context.log.warning("%s", error.message)
        return None
    return found.name, model_key(found, weights_hash(found, context.home.engines))


def _install(context: Context, pack: Pack, label: str, include_backup: bool, mode: Mode | None) -> PhaseResult:
    context.progress(0, 1, "records", "installing", BUILD, eta_matters=False)
    installed = install_pack(
        pack,
        context.home.sources,
        include_backup,
        mode,
        context.settings.integer("matrix_max_mb") << 20,
        context.check,
    )
    _publish(context)
    return _result(label, installed, include_backup)


def _publish(context: Context) -> None:
    """Publish the collections to the Chroma server, if one is configured; the source is searchable already."""

    def report(done: int, total: int, message: str = "publishing") -> None:
        context.progress(done, max(total, 1), "records", message, PUBLISH, eta_matters=False)

    waiting = Waiting(context.settings.number("vectors.chroma_wait"), lambda message: report(0, 1, message))
    with closing(Collections(context.home, context.settings, context.source, waiting)) as collections:
        if collections.server is None:
            return
        with Ledger(context.source.ledger) as ledger:
            for row in ledger.models():
                recover_and_publish(collections.of(ledger, row.id, row.profile, row.key), False, report)


def _result(label: str, installed: Installed, include_backup: bool) -> PhaseResult:
    counts = {
        "store": label,
        "version": installed.version,
        "documents": installed.documents,
        "chunks": installed.passages,
        "vectors": installed.vectors,
        "files": installed.files,
        "kept_documents": installed.kept_documents,
        "kept_vectors": installed.kept_vectors,
    }
    summary = (
        f"version {installed.version[:12]}: {counted(installed.documents, 'document')},"
        f" {counted(installed.passages, 'passage')}, {counted(installed.vectors, 'vector')}"
    )
    if installed.files:
        summary += f", {counted(installed.files, 'file')}"
    if installed.kept_documents:
        summary += f"; {counted(installed.kept_documents, 'document')} that the pack does not have kept"
    if installed.kept_vectors:
        summary += f"; {counted(installed.kept_vectors, 'vector')} of before kept"
    if include_backup and not installed.files:
        summary += "; the pack has no files"
    return PhaseResult(counts, summary)
