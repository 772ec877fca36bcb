"""The process in which documents are read: what a hostile one breaks, it breaks here."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import signal
import sys

SECONDS = 300
"""Most processor time for one document: then the process ends itself, also where nobody waits for it any more."""

MEMORY_LIMIT = 3 * 2**30
"""Most memory of the process, in bytes."""


def main() -> None:
    """Read what comes by stdin, a list of tasks at a time, until nothing comes; the first is the reader."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's to answer; its end is seen at the pipes
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    with contextlib.suppress(EOFError, BrokenPipeError):
        reader = pickle.load(sys.stdin.buffer)  # noqa: S301 — from the process that has started this one
        while True:
            outcomes = []
            for task in pickle.load(sys.stdin.buffer):  # noqa: S301
                signal.setitimer(signal.ITIMER_PROF, SECONDS)
                outcomes.append(reader.read(task))
            signal.setitimer(signal.ITIMER_PROF, 0)
            pickle.dump(outcomes, answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()
