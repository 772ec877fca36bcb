"""Parsing everything a site sends in a separate process, so that a hostile reply can break or block only that one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kbjobs.content.document_reading import DOCUMENT_SECONDS, max_seconds
from kbjobs.system.child_process import ChildError, ChildLimits, ChildLost, ChildProcess, ChildProgram

SERVICE = "kbjobs.scraping.parsing_service:ParsingService"
"""The name of the service that the parsing process runs."""


class ParseError(ValueError):
    """A reply cannot be parsed; the message says why. ``is_late``: parsing takes too long."""

    def __init__(self, message: str, *, is_late: bool = False) -> None:
        super().__init__(message)
        self.is_late = is_late


class Parser:
    """Calls the parsing process, which is started when it is first needed.

    Args:
        document_seconds: the setting ``document_seconds``.
    """

    def __init__(self, document_seconds: float = DOCUMENT_SECONDS) -> None:
        self._document_seconds = document_seconds
        self._child = ChildProcess(ChildProgram(SERVICE), "the process that reads it")

    def close(self) -> None:
        """Stop the process, even in the middle of a call."""
        self._child.stop()

    async def ask(self, method: str, *given: object, size: int) -> Any:
        """Call a method of the parsing process, without blocking the event loop.

        Args:
            method: a method of :class:`kbjobs.scraping.parsing_service.ParsingService`.
            given: its arguments.
            size: the bytes to parse, which determine the time limit.

        Raises:
            ParseError: the reply cannot be parsed, or parsing takes too long.
        """
        return await asyncio.to_thread(self.ask_now, method, *given, size=size)

    def ask_now(self, method: str, *given: object, size: int, check: Callable[[], None] | None = None) -> Any:
        """Call a method of the parsing process, and wait for it.

        Args:
            method: a method of :class:`kbjobs.scraping.parsing_service.ParsingService`.
            given: its arguments.
            size: the bytes to parse, which determine the time limit.
            check: called while waiting; may raise to end the call.

        Raises:
            ParseError: the reply cannot be parsed, or parsing takes too long.
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
