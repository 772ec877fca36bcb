"""Nothing that kbjobs writes can be read by others, also where the umask would let them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from tests.conftest import Kbjobs, write_pages
from tests.servers.site_server import SiteServer
from tests.web.conftest import running

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("minilm")]


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """The umask that hides nothing; commands, the daemon and its workers inherit it."""
    before = os.umask(0)
    yield
    os.umask(before)


def find_open(*places: Path) -> list[str]:
    """What the group or others may read, write or enter, at the places and below them."""
    found = [file for place in places for file in (place, *place.rglob("*")) if not file.is_symlink()]
    modes = {file: stat.S_IMODE(file.stat().st_mode) for file in found}
    return [f"{mode:04o} {file}" for file, mode in modes.items() if mode & 0o077]


def test_an_open_umask_opens_nothing(home: Home, kbjobs: Kbjobs, tmp_path: Path) -> None:
    """Jobs, a scrape, a backup, packs, chain files and the builder: in the home and where the user wanted them."""
    kbjobs("sources", "add", "wiki", write_pages(tmp_path / "pages", 3))
    kbjobs("run", "index-offline", "wiki", "--quiet")
    with SiteServer({"/": "<title>Start</title><p>Boil the water for a minute, and let it cool down.</p>"}) as site:
        kbjobs("run", "scrape", "guide", "--url", f"{site.url}/", "--request-delay", "0", "--quiet")
    kbjobs("run", "visualisation", "wiki", "--quiet")
    kbjobs("chains", "new", "nightly", "--home")
    kbjobs("config", "set-secret", "HF_TOKEN", input="a secret")
    kbjobs("search", "wiki", "kettle")
    written = [tmp_path / name for name in ("backup.tar.zst", "packs", "store", "restored", "own")]
    backup, packs, store, restored, own = written
    kbjobs("backup", backup)
    kbjobs("pack", "build", "wiki", packs)
    kbjobs("run", "upload", "wiki", "--to", store, "--include-backup", "--quiet")
    kbjobs("restore", backup, env={**os.environ, "KBJOBS_HOME": str(restored)})
    own.mkdir(mode=0o700)
    kbjobs("chains", "new", "mine", cwd=own)
    with running() as builder, builder.client() as client:
        text = 'name = "evening"\nsource = "wiki"\n\n[[phase]]\njob = "metadata"\n'
        client.put("/api/chains/evening", json={"toml": text}).raise_for_status()
        ran = client.post("/api/job-builder/run", json={"toml": text}).raise_for_status().json()
        kbjobs("wait", str(ran["id"]), "--quiet")
    assert len(list(home.path.rglob("*"))) > 20
    assert find_open(home.path, *written) == []
