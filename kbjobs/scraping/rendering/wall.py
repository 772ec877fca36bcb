"""The only way out of the browser: a proxy on loopback that lets nothing through.

What a page may ask for is intercepted in the browser, requested by the worker and handed back. So whatever arrives here
got round that: a WebSocket, a prefetch, a request of the browser itself. It is refused, and noted.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

MAX_LINE = 2048
"""Most bytes read of a request."""
MAX_NOTED = 100
"""Most targets that are kept."""
SECONDS = 5.0
"""How long a connection may take to say what it wants."""
_REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class BrowserWall:
    """An async context manager: the proxy answers until it is left. It connects to nothing."""

    def __init__(self) -> None:
        self.refused: dict[str, int] = {}
        """How often each target was refused: ``CONNECT host:port``, or a method with an address."""
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        assert self._server is not None  # noqa: S101 — it is entered
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._refuse, "127.0.0.1", 0, limit=MAX_LINE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, TimeoutError):  # ValueError: a line that is too long
            async with asyncio.timeout(SECONDS):
                line = await reader.readline()
                target = " ".join(line.decode("latin-1").split()[:2])
                # Without a target it was only a connection, opened in advance.
                if target and (target in self.refused or len(self.refused) < MAX_NOTED):
                    self.refused[target] = self.refused.get(target, 0) + 1
                writer.write(_REFUSAL)
                await writer.drain()
        writer.close()
