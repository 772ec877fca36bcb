"""Finish deletions of sources whose job does not resume, because it failed or was cancelled."""

from __future__ import annotations

import logging
import sqlite3

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError
from kbjobs.store.queue import Queue
from kbjobs.store.source_deletion import list_unfinished
from kbjobs.store.source_history import end_idle_source

log = logging.getLogger("kbjobs.daemon")


def finish_deletions(home: Home) -> None:
    """Remove the rest of each deleted source that no pending or running job uses. Errors are logged."""
    for removal in list_unfinished(home.sources):
        try:
            with Queue(home.state_file) as queue:
                if not end_idle_source(queue, removal.source.id):
                    continue
            removal.finish()
            log.info("what was left of the deleted source %s is removed", removal.source.id)
        except (OSError, sqlite3.Error, KbjobsError) as error:
            log.warning("what is left of the deleted source %s stays: %s", removal.source.id, error)
