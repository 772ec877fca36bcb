"""Detect that a model failed to load for lack of memory, which engines' libraries report in many ways."""

from __future__ import annotations

import errno

from kbjobs.errors import UnavailableError

_SIGNS = (
    "bad_alloc",
    "cannot allocate memory",
    "failed to map segment",  # of a shared library (dlopen)
    "memory allocation",
    "memoryerror",
    "out of memory",
    "unable to allocate",  # NumPy
)


class ShortOfMemoryError(UnavailableError):
    """There is too little memory for a model."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"there is too little memory to load {model}",
            "Free some, run fewer jobs at once (kbjobs config set workers 1), or raise the limit under which the daemon"
            " was started (ulimit -v) and restart it.",
        )


def mentions_memory(text: str) -> bool:
    """Whether a library's message says that memory ran out."""
    return any(sign in text.casefold() for sign in _SIGNS)


def is_short_of_memory(error: BaseException) -> bool:
    """Whether an error is due to a lack of memory."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return mentions_memory(str(error))
