"""Functions of a module that a worker can import: one of each way to be called and to answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any


@dataclass
class Counted:
    """A result as a dataclass."""

    pages: int
    folder: str


class Described:
    """A result that can tell itself as a dict."""

    def to_dict(self) -> dict[str, Any]:
        return {"told": True}


def count_pages(folder: str, suffix: str = ".html") -> Counted:
    return Counted(len(list(Path(folder).glob(f"*{suffix}"))), folder)


def describe() -> Described:
    return Described()


def answer() -> int:
    return 42


def nothing() -> None:
    """Returns None."""


def returns_what_is_not_json() -> set[int]:
    return {1}


def fails() -> None:
    raise ValueError("no such luck")


def reports(progress_callback: Callable[..., None], seconds: float = 0.0) -> dict[str, Any]:
    """Reports in all three forms."""
    progress_callback(10)
    progress_callback(20, "a fifth")
    time.sleep(seconds)
    progress_callback(3, 4, "three of four")
    time.sleep(seconds)
    return {"done": True}


def reports_by_name(progress_callback: Callable[..., None]) -> None:
    progress_callback(1, 2, message="half")
    progress_callback(current=Fraction(3, 4), total=1, message="three quarters")
    progress_callback(percent="odd")
    progress_callback()
    progress_callback(float("nan"), None, "nothing")


def takes_anything(**given: Any) -> dict[str, Any]:
    return {"given": sorted(given)}


def works_until_cancelled(
    marker: str, progress_callback: Callable[..., None], cancel_checker: Callable[[], bool]
) -> dict[str, Any]:
    Path(marker).touch()
    deadline = time.monotonic() + 60
    while not cancel_checker():
        assert time.monotonic() < deadline
        progress_callback(1, 2, "working")
        time.sleep(0.02)
    return {"stopped": True}


def reports_until_ended(marker: str, progress_callback: Callable[..., None]) -> None:
    """Cannot ask whether to stop."""
    Path(marker).touch()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        progress_callback(1, 2, "working")
        time.sleep(0.02)


def my_index_function(
    arg1: str, kwarg1: int = 0, progress_callback: Any = None, cancel_checker: Any = None
) -> dict[str, Any]:
    """As the example of the former API has it: positional and named arguments, a callback and a checker."""
    for step in range(kwarg1):
        if cancel_checker():
            return {"status": "cancelled"}
        progress_callback(step + 1, kwarg1, f"indexing {arg1}")
    return {"status": "success", "indexed": kwarg1}


def my_metadata_function(source_id: str, progress_callback: Any = None, cancel_checker: Any = None) -> dict[str, Any]:
    """A first phase."""
    progress_callback(1, 1, "done")
    return {"source": source_id, "documents": 3}
