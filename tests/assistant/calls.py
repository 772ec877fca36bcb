"""Calls of tools by the library's own client, within the process of the test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import anyio
from mcp import Client

from kbjobs.assistant.mcp_server import AssistantServer
from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from tests.conftest import wait_ended


class Assistant:
    """An assistant that calls tools one after the other; every answer is checked for what none may contain."""

    def __init__(self, server: AssistantServer, forbidden: str) -> None:
        self._protocol, self._forbidden = server.make_protocol(), forbidden

    def tools(self) -> dict[str, Any]:
        """The tools, by name."""

        async def ask() -> Any:
            async with Client(self._protocol) as client:
                return await client.list_tools()

        return {tool.name: tool for tool in anyio.run(ask).tools}

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """What a tool answers."""
        result = self._call(name, arguments)
        assert not result.is_error, result.content
        assert json.loads(result.content[0].text) == result.structured_content
        return dict(result.structured_content)

    def refusal(self, name: str, **arguments: Any) -> str:
        """The message of a tool's error."""
        result = self._call(name, arguments)
        assert result.is_error
        assert "Traceback" not in result.content[0].text
        return str(result.content[0].text)

    def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        async def ask() -> Any:
            async with Client(self._protocol) as client:
                return await client.call_tool(name, arguments)

        result = anyio.run(ask)
        assert self._forbidden not in result.model_dump_json()
        assert "file:" not in result.model_dump_json()
        return result


@contextmanager
def open_assistant(home: Home, *, allow_jobs: bool = False) -> Iterator[Assistant]:
    """An assistant of a home. No answer may contain the path of the folder in which the home is."""
    with closing(AssistantServer(home, allow_jobs=allow_jobs)) as server:
        yield Assistant(server, str(home.path.parent))


def read_metadata(home: Home, source_id: str) -> None:
    """Run the metadata job, after which a source can be searched by words."""
    with JobManager(home) as manager:
        assert wait_ended(manager, manager.submit("metadata", source_id)).exit_code == 0
