"""The words for searching a source before it has an index, from its passages or its metadata."""

from __future__ import annotations

import hashlib
import sqlite3

from kbjobs.content.search_words import fold_text
from kbjobs.store import publication as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.passages import DESCRIBED, PassageFile, PassageWriter
from kbjobs.store.sources import SourceFolder
from kbjobs.system.crashpoints import crash_point
from kbjobs.vectors.collection_swap import WorkingCopy


def publish_words(source: SourceFolder, ledger: Ledger, profile: int | None = None) -> None:
    """Write the source's words to a file, unless the source has an index or the file is current.

    Args:
        source: the source.
        ledger: its ledger.
        profile: the profile of the passages; by default the profile of an interrupted index job, if any; otherwise the
            words come from the documents' metadata.

    Raises:
        UnavailableError: the disk is full or not writable.
    """
    models = ledger.models()
    if any(WorkingCopy(source.vectors / row.key).is_there() for row in models):
        return
    profile = profile or next((row.profile for row in reversed(models) if ledger.count_chunks(row.profile)), None)
    wanted = store.describable(ledger) if profile is None else store.passage_languages(ledger, profile)
    state = _name_state(wanted, profile is not None)
    if not wanted or state == _read_state(source):
        return
    building = source.words.with_name(source.words.name + ".building")
    building.unlink(missing_ok=True)
    with PassageWriter(building, fold_text) as writer:
        if profile is None:
            writer.make_equal(wanted, lambda ids: store.descriptions_of(ledger, ids), state)
        else:
            writer.make_equal(wanted, lambda ids: store.passages_of(ledger, profile, ids), state)
    crash_point("words.written")
    building.replace(source.words)


def _name_state(wanted: dict[str, str | None], is_of_passages: bool) -> str:
    digest = hashlib.sha256("\n".join(f"{name} {language}" for name, language in sorted(wanted.items())).encode())
    return ("" if is_of_passages else DESCRIBED) + digest.hexdigest()[:32]


def _read_state(source: SourceFolder) -> str | None:
    try:
        with PassageFile(source.words) as words:
            return words.state
    except (OSError, sqlite3.Error, ValueError, TypeError):
        return None
