"""Finish interrupted replacements of sources: the old source returns, the rest is removed."""

from __future__ import annotations

import contextlib
import logging
import os

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError
from kbjobs.store.locks import try_lock
from kbjobs.store.source_swap import SourceSwap, list_interrupted_swaps

log = logging.getLogger("kbjobs.daemon")


def recover_swaps(home: Home) -> None:
    """Recover each source that nobody works on. Errors are logged."""
    for source in list_interrupted_swaps(home.sources):
        try:
            lock = try_lock(source.lock, 0)
            if lock is None:
                continue
            try:
                SourceSwap(source).recover()
                if not os.path.lexists(source.manifest):
                    with contextlib.suppress(OSError):  # taking the lock created the folder
                        source.lock.unlink(missing_ok=True)
                        source.path.rmdir()
            finally:
                lock.release()
            log.info("what was left of a source %s that was not wholly installed is removed", source.id)
        except (OSError, KbjobsError) as error:
            log.warning("what is left of a source %s that was not wholly installed stays: %s", source.id, error)
