"""``kbjobs builder``: what it prints, and what it refuses. The page itself is tried in tests/web/."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from kbjobs.commands import builder
from kbjobs.errors import ExitCode
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "builder")


def start(*options: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "kbjobs", "builder", *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment})


def test_it_prints_its_address_and_how_to_reach_it_over_ssh() -> None:
    process = start(SSH_CONNECTION="10.0.0.1 5 10.0.0.2 22")
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    process.send_signal(signal.SIGINT)
    _, output = process.communicate(timeout=30)
    port = url.rpartition(":")[2].partition("/")[0]
    assert url.startswith("http://127.0.0.1:") and "?token=" in url
    assert f"ssh -N -L {port}:127.0.0.1:{port} " in output
    assert "Ctrl-C ends it, jobs keep running." in output and "Traceback" not in output


@pytest.mark.parametrize("seconds", [0, 0.002, 0.005, 0.01, 0.02, 0.05])
def test_a_signal_while_it_starts_is_not_lost(seconds: float) -> None:
    process = start()
    assert process.stdout is not None
    assert process.stdout.readline()
    time.sleep(seconds)  # the moment is what is tried
    process.send_signal(signal.SIGINT)
    _, output = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in output and "Warning" not in output


def test_json() -> None:
    process = start("--json", "--read-only")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(8)]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    found = json.loads("".join(lines))
    assert set(found) == {"url", "token", "port", "home", "read_only", "search_only"}
    assert found["read_only"] is True and found["search_only"] is False


def test_what_it_needs_is_named(kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "NEEDED", ("starlette", "no_such_package"))
    from typer.testing import CliRunner

    ended = CliRunner().invoke(builder.app, [])
    assert ended.exception is not None
    assert "no_such_package" in str(ended.exception)
    assert getattr(ended.exception, "exit_code", None) is ExitCode.MISSING_REQUIREMENT


@pytest.mark.processes
def test_a_token_file_keeps_the_token_and_is_not_printed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    tokens = set()
    for _ in range(2):
        process = start("--search-only", "--name", "kb.example.org", "--token-file", str(file))
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        token = file.read_text().strip()
        tokens.add(token)
        for headers, code in (
            ({"Authorization": f"Bearer {token}"}, 200),
            ({"Authorization": f"Bearer {token}", "Host": "kb.example.org"}, 200),
            ({"Authorization": f"Bearer {token}", "Host": "evil.example.org"}, 421),
            ({"Authorization": "Bearer other"}, 401),
            ({}, 401),
        ):
            assert status(f"{url}api/sources", headers) == code, headers
        process.send_signal(signal.SIGTERM)
        output, messages = process.communicate(timeout=30)
        assert token not in url + output + messages
        assert str(file) in messages
    assert len(tokens) == 1 and file.stat().st_mode & 0o777 == 0o600


def status(url: str, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        ("short", 0o600, "holds no token of 24 or more"),
        ("a" * 30 + " b", 0o600, "holds no token"),
        ("é" * 30, 0o600, "holds no token"),
        ("", 0o600, "holds no token"),
        ("a" * 2_000, 0o600, "holds no token"),
        ("a" * 30, 0o644, "can be read by others"),
        (None, 0o600, "cannot write"),
    ],
)
def test_a_token_file_that_is_no_good(
    kbjobs: Kbjobs, tmp_path: Path, content: str | None, mode: int, reason: str
) -> None:
    file = tmp_path / ("none/token" if content is None else "token")
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    ended = kbjobs("builder", "--token-file", file, check=7 if content is None else 2)
    assert reason in ended.stderr and str(file) in ended.stderr
    assert not content or content not in ended.stderr
