"""Whatever a site sends is parsed in a process of its own: what a hostile answer breaks or holds up, it does there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kbjobs.content.document_reading import DOCUMENT_SECONDS, max_seconds
from kbjobs.system.child_process import ChildError, ChildLimits, ChildLost, ChildProcess, ChildProgram

SERVICE = "kbjobs.scraping.parsing_service:ParsingService"
"""By name: it is made of what asks for it."""


class ParseError(ValueError):
    """What a site sent cannot be parsed; the message says why. ``is_late``: it takes too much time."""

    def __init__(self, message: str, *, is_late: bool = False) -> None:
        super().__init__(message)
        self.is_late = is_late


class Parser:
    """Asks the process that parses, which is started when it is first needed.

    Args:
        document_seconds: the setting ``document_seconds``.
    """

    def __init__(self, document_seconds: float = DOCUMENT_SECONDS) -> None:
        self._document_seconds = document_seconds
        self._child = ChildProcess(ChildProgram(SERVICE), "the process that reads it")

    def close(self) -> None:
        """End the process, whatever it does."""
        self._child.stop()

    async def ask(self, method: str, *given: object, size: int) -> Any:
        """Call a method of the parsing process, without blocking the event loop.

        Args:
            method: a method of :class:`kbjobs.scraping.parsing_service.ParsingService`.
            given: its arguments.
            size: bytes to parse, which decide how long it may take.

        Raises:
            ParseError: it cannot be parsed, or takes too long.
        """
        return await asyncio.to_thread(self.ask_now, method, *given, size=size)

    def ask_now(self, method: str, *given: object, size: int, check: Callable[[], None] | None = None) -> Any:
        """Call a method of the parsing process, and wait for it.

        Args:
            method: a method of :class:`kbjobs.scraping.parsing_service.ParsingService`.
            given: its arguments.
            size: bytes to parse, which decide how long it may take.
            check: called while waiting; what it raises ends the call.

        Raises:
            ParseError: it cannot be parsed, or takes too long.
        """
        limits = ChildLimits(max_seconds(size, self._document_seconds), check=check)
        try:
            return self._child.ask(method, *given, limits=limits)
        except ChildLost as loss:
            if loss.is_late:
                raise ParseError(f"reading it takes more than {limits.seconds:.0f} s", is_late=True) from loss
            raise ParseError(loss.reason) from loss
        except ChildError as error:
            raise ParseError(error.message if error.kind == "ValueError" else str(error)) from error
