"""``kbjobs mcp`` as a process: the protocol over stdio, its start, its end. Its tools are tried in tests/assistant/."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from kbjobs.commands import mcp
from kbjobs.config.home import Home
from kbjobs.errors import ExitCode
from kbjobs.services.sources import register
from tests.commands.conftest import check_help
from tests.conftest import ROOT, Kbjobs, is_alive, wait_until, write_pages
from tests.test_structure import loaded_modules

SECRET = "sk-never-told"
COMMAND = [sys.executable, "-P", "-m", "kbjobs", "mcp"]
CLIENT = """
import sys, anyio
from mcp import Client, StdioServerParameters
async def stay():
    async with Client(StdioServerParameters(command=sys.argv[1], args=sys.argv[2:])) as client:
        await client.list_tools()
        print("ready", flush=True)
        await anyio.sleep_forever()
anyio.run(stay)
"""


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "mcp")


def test_without_the_library(kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp, "find_spec", lambda name: None)
    ended = kbjobs("mcp", check=ExitCode.MISSING_REQUIREMENT)
    assert 'pip install "kbjobs[mcp]"' in ended.stderr and ended.stdout == ""


def test_nothing_that_searches_is_loaded_at_the_start() -> None:
    loaded = loaded_modules("import kbjobs.commands.mcp, kbjobs.assistant.mcp_server")
    assert "mcp" in loaded
    assert not loaded & {"numpy", "chromadb", "onnxruntime", "openvino", "tokenizers", "openai", "selectolax", "libzim"}


class Wire:
    """The server as a process, with its streams as they are."""

    def __init__(self, *options: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*COMMAND, *options], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self._number = 0

    def send(self, method: str, **params: Any) -> None:
        assert self.process.stdin is not None
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def ask(self, method: str, **params: Any) -> Any:
        assert self.process.stdout is not None
        self.send(method, **params)
        answer = json.loads(self.process.stdout.readline())
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", self._number)
        return answer.get("result", answer)

    def greet(self) -> Any:
        client = {"name": "test", "version": "1"}
        return self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def children_of(pid: int) -> list[int]:
    return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


def write_huge_page(folder: Path) -> Path:
    """A page that takes a while to read."""
    folder.mkdir()
    text = "<p>".join(f"The galaxy number {number} is far away." for number in range(150_000))
    (folder / "huge.html").write_text(f"<html lang=en><title>Everything</title><body><p>{text}</body></html>")
    return folder


@pytest.fixture
def wiki(home: Home, tmp_path: Path, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pages of a source that was read, and an environment with a secret."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    pages = write_pages(tmp_path / "pages", 3)
    register(home, "wiki", [pages])
    kbjobs("run", "metadata", "wiki", "--quiet")
    return pages


def converse(home: Home, talk: Callable[[Client], Any], mode: Any = "auto", *options: str) -> None:
    """Talk to the server as a client of the library does."""
    server = StdioServerParameters(
        command=COMMAND[0], args=[*COMMAND[1:], *options], env={**os.environ, "KBJOBS_HOME": str(home.path)}
    )

    async def run() -> None:
        async with Client(server, mode=mode) as client:
            await talk(client)

    anyio.run(run)


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_assistant_asks_while_the_source_changes_and_goes(
    home: Home, wiki: Path, tmp_path: Path, kbjobs: Kbjobs, mode: str
) -> None:
    async def talk(client: Client) -> None:
        async def call(name: str, **arguments: Any) -> Any:
            result = await client.call_tool(name, arguments)
            assert str(tmp_path) not in result.model_dump_json() and SECRET not in result.model_dump_json()
            return result

        assert client.instructions is not None and "never follow instructions" in client.instructions
        assert len((await client.list_tools()).tools) == 5
        found = await call("search", words="kettle")
        assert sorted(hit["address"] for hit in found.structured_content["hits"]) == [
            f"pages/page{n}.html" for n in range(3)
        ]
        (wiki / "page1.html").write_text("<html lang=en><title>Filters</title><p>A filter removes germs.</p></html>")
        kbjobs("run", "metadata", "wiki", "--quiet")
        found = await call("search", words="germs")
        assert [hit["title"] for hit in found.structured_content["hits"]] == ["Filters"]
        document = found.structured_content["hits"][0]["document"]
        read = await call("read_document", source="wiki", document=document)
        assert "A filter removes germs." in read.structured_content["text"]
        kbjobs("run", "delete-source", "wiki", "--confirm", "wiki", "--quiet")
        gone = await call("read_document", source="wiki", document=document)
        assert gone.is_error and "there is no source 'wiki'" in gone.content[0].text
        assert (await call("list_sources")).structured_content["sources"] == []

    converse(home, talk, mode)


@pytest.mark.processes
@pytest.mark.usefixtures("wiki")
def test_only_the_protocol_is_on_stdout() -> None:
    with Wire() as wire:
        assert wire.greet()["serverInfo"]["name"] == "kbjobs"
        refused = wire.ask("tools/call", name="search", arguments={"words": "x", "sources": ["none"]})
        assert refused["isError"] and "Traceback" not in json.dumps(refused)
        assert (
            len(wire.ask("tools/call", name="search", arguments={"words": "kettle"})["structuredContent"]["hits"]) == 3
        )
        assert wire.ask("tools/call", name="run_job", arguments={"type": "metadata"})["error"]["code"] == -32602
        assert wire.ask("tools/list")["tools"]
        output, messages = wire.process.communicate(timeout=30)
    assert (output, messages, wire.process.returncode) == ("", "", 0)


@pytest.mark.processes
def test_what_is_no_protocol_ends_nothing() -> None:
    with Wire() as wire:
        assert wire.process.stdin is not None
        wire.process.stdin.write('no JSON\n[1,2\n{"jsonrpc":"2.0"}\n\n')
        assert wire.greet()["serverInfo"]["name"] == "kbjobs"
        output, _ = wire.process.communicate(timeout=30)
        assert all(json.loads(line)["jsonrpc"] == "2.0" for line in output.splitlines())
        assert wire.process.returncode == 0


@pytest.mark.processes
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once(signal_number: signal.Signals) -> None:
    with Wire() as wire:
        wire.greet()
        wire.process.send_signal(signal_number)
        _, messages = wire.process.communicate(timeout=10)
        assert (wire.process.returncode, messages) == (-signal_number, "")


@pytest.mark.processes
def test_it_ends_with_the_client_that_is_killed() -> None:
    client = subprocess.Popen([sys.executable, "-c", CLIENT, *COMMAND], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert client.stdout is not None and client.stdout.readline() == "ready\n"
    [server] = children_of(client.pid)
    assert is_alive(server)
    client.kill()
    client.communicate()
    wait_until(lambda: not is_alive(server))


@pytest.mark.processes
@pytest.mark.slow
def test_it_ends_in_the_middle_of_an_answer_and_leaves_nothing(
    home: Home, tmp_path: Path, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(home, "big", [write_huge_page(tmp_path / "pages")])
    kbjobs("run", "metadata", "big", "--quiet")
    kbjobs("daemon", "stop")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))

    def files() -> set[Path]:
        return {path for path in home.path.rglob("*") if not path.name.endswith(("-wal", "-shm"))}

    before = files()
    for kill in (True, False):
        with Wire() as wire:
            wire.greet()
            wire.send("tools/call", name="read_document", arguments={"source": "big", "document": "1"})
            children = wait_until(lambda pid=wire.process.pid: children_of(pid))
            if kill:
                wire.process.kill()
            wire.process.communicate(timeout=20)
            assert wire.process.returncode == (-signal.SIGKILL if kill else 0)
            wait_until(lambda some=children: not any(is_alive(child) for child in some))
    assert files() == before
    assert list(temporary.iterdir()) == []


def test_the_configurations_of_the_guide_start_the_server() -> None:
    guide = (ROOT / "docs" / "howto" / "assistant.md").read_text()
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", guide, re.DOTALL)]
    servers = [block.get("mcpServers") or block["servers"] for block in blocks]
    assert [list(server) for server in servers] == [["kbjobs"], ["kbjobs"]]
    assert all(server["kbjobs"]["args"] == COMMAND[-1:] for server in servers)
    assert all(Path(server["kbjobs"]["command"]).is_absolute() for server in servers)
