"""Backup and restore; an archive from outside is hostile."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kbjobs.errors import ConflictError, KbjobsError, NotFoundError, UnavailableError
from kbjobs.settings import Home
from kbjobs.sources import register, verify
from kbjobs.store.backup import create_backup, restore_backup
from kbjobs.store.jobs import NewJob
from kbjobs.store.ledger import Ledger
from kbjobs.store.queue import Queue
from kbjobs.store.sources import SourceFolder
from tests.conftest import Kbjobs, read_json, write_pages


def test_what_was_there_comes_back(home: Home, tmp_path: Path, kbjobs: Kbjobs, minilm: None) -> None:
    kbjobs("sources", "add", "wiki", write_pages(tmp_path / "pages", 5))
    kbjobs("run", "index-offline", "wiki")
    home.config_file.write_text("workers = 3\n")
    archive = tmp_path / "b.tar"
    kbjobs("backup", archive)
    assert archive.stat().st_mode & 0o777 == 0o600
    assert "running" in kbjobs("daemon", "status").stdout
    assert "daemon stop" in kbjobs("restore", archive, check=5).stderr
    kbjobs("daemon", "stop")
    assert "--replace" in kbjobs("restore", archive, check=5).stderr
    history = read_json(kbjobs("history", "--json"))

    other = Home(tmp_path / "other")
    environment = {"KBJOBS_HOME": str(other.path)}
    kbjobs("restore", archive, env={**_environment(), **environment})
    assert other.config_file.read_text() == "workers = 3\n"
    assert read_json(kbjobs("history", "--json", env={**_environment(), **environment})) == history
    assert not verify(other, "wiki")["ok"]  # vector stores are not in it
    kbjobs("sources", "rebuild", "wiki", env={**_environment(), **environment})
    assert verify(other, "wiki")["ok"]
    modes = {path.stat().st_mode & 0o777 for path in other.path.rglob("*") if path.is_file()}
    assert modes <= {0o600, 0o644} and other.state_file.stat().st_mode & 0o777 == 0o600


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def test_replace_moves_aside_what_was_there(home: Home, tmp_path: Path) -> None:
    queue = Queue(home.state_file)
    queue.submit(NewJob("index_offline", "old", {}, (), ("source:old",)))
    home.prepare()
    create_backup(home, tmp_path / "b.tar")
    queue.submit(NewJob("index_offline", "newer", {}, (), ("source:newer",)))
    queue.close()
    restore_backup(home, tmp_path / "b.tar", replace=True)
    restored = Queue(home.state_file)
    assert [
        job.source for job in restored.connection.execute("SELECT * FROM jobs") for job in [restored.get(job[0])]
    ] == ["old"]
    restored.close()
    aside = Queue(next(home.path.glob("replaced-*")) / "state.db")
    assert aside.get(2).source == "newer"
    aside.close()


def test_it_is_consistent_while_others_write(home: Home, tmp_path: Path) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    ledger = Ledger(SourceFolder(home.sources, "wiki").ledger)
    profile = ledger.profile("p")
    model = ledger.model("k", "m", 1, profile)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            # Two rows in one transaction: a copy must hold both or neither.
            ledger.put_vectors(model, [(f"{number} a", b"0000"), (f"{number} b", b"0000")])
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            create_backup(home, tmp_path / f"{number}.tar")
    finally:
        stop.set()
        writer.join()
        ledger.close()
    for number in range(5):
        other = Home(tmp_path / f"home{number}")
        restore_backup(other, tmp_path / f"{number}.tar", replace=False)
        copy = Ledger(SourceFolder(other.sources, "wiki").ledger)
        names = [row[0] for row in copy.connection.execute("SELECT text_hash FROM vectors")]
        copy.close()
        assert len(names) % 2 == 0
        assert {name[:-1] for name in names if name.endswith("a")} == {
            name[:-1] for name in names if name.endswith("b")
        }


def test_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        create_backup(Home(tmp_path / "nowhere"), tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


def test_a_folder_that_cannot_be_written(home: Home, tmp_path: Path) -> None:
    home.prepare()
    with pytest.raises(UnavailableError):
        create_backup(home, tmp_path / "missing" / "b.tar")


def rewrite(archive: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], Any]) -> None:
    """Take the archive apart, change it, put it together again with sizes that fit."""
    with tarfile.open(archive) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    change(members)
    with tarfile.open(archive, "w") as tar:
        for member, content in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))


def put_index(members: list[tuple[tarfile.TarInfo, bytes]], change: Callable[[dict[str, Any]], Any]) -> None:
    index = json.loads(members[0][1])
    change(index)
    members[0] = (members[0][0], json.dumps(index).encode())


def rename_member(name: str) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[1][0].name = name
        put_index(members, lambda index: index["files"].update({name: index["files"].pop("state.db")}))

    return change


def link_member(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[1][0].type, members[1][0].linkname = tarfile.SYMTYPE, "/etc/passwd"


HOSTILE: dict[str, Callable[[list[tuple[tarfile.TarInfo, bytes]]], Any]] = {
    "absolute": rename_member("/tmp/evil"),
    "climbing": rename_member("../evil.db"),
    "climbing in a source": rename_member("sources/../../state.db"),
    "other file": rename_member("secrets.toml"),
    "link": link_member,
    "changed content": lambda members: members.__setitem__(1, (members[1][0], b"x" * len(members[1][1]))),
    "longer content": lambda members: members.__setitem__(1, (members[1][0], members[1][1] + b"x")),
    "twice": lambda members: members.append(members[1]),
    "missing": lambda members: members.pop(1),
    "unknown": lambda members: members.append((tarfile.TarInfo("more"), b"x")),
    "no index": lambda members: members.pop(0),
    "bad index": lambda members: members.__setitem__(0, (members[0][0], b"[]")),
    "newer": lambda members: put_index(members, lambda index: index.update(format=9)),
    "negative size": lambda members: put_index(members, lambda index: index["files"]["state.db"].update(size=-1)),
    "huge size": lambda members: put_index(members, lambda index: index["files"]["state.db"].update(size=10**18)),
    "reserved name": rename_member("sources/con/source.db"),
    "no hash": lambda members: put_index(members, lambda index: index["files"]["state.db"].update(sha256="")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_changes_nothing(home: Home, tmp_path: Path, name: str) -> None:
    queue = Queue(home.state_file)
    queue.submit(NewJob("index_offline", "x", {}, (), ()))
    queue.close()
    home.prepare()
    archive = tmp_path / "b.tar"
    create_backup(home, archive)
    rewrite(archive, HOSTILE[name])
    other = Home(tmp_path / "other")
    with pytest.raises(KbjobsError):
        restore_backup(other, archive, replace=False)
    assert [
        path.name for path in other.path.rglob("*") if path.is_file() and path.parent != other.daemon_lock.parent
    ] == []
    assert not (tmp_path / "evil.db").exists()


@pytest.mark.parametrize("content", [b"", b"no tar at all", b"\0" * 10240])
def test_what_is_no_archive(home: Home, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(UnavailableError):
        restore_backup(home, tmp_path / "b.tar", replace=False)
    with pytest.raises(NotFoundError):
        restore_backup(home, tmp_path / "missing.tar", replace=False)


def test_a_home_with_something_in_it_is_refused(home: Home, tmp_path: Path) -> None:
    home.prepare()
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    create_backup(home, tmp_path / "b.tar")
    with pytest.raises(ConflictError):
        restore_backup(home, tmp_path / "b.tar", replace=False)


def test_a_log_without_its_file_is_held_and_moved_aside(home: Home, tmp_path: Path) -> None:
    home.prepare()
    queue = Queue(home.state_file)
    queue.submit(NewJob("index_offline", "old", {}, (), ("source:old",)))
    create_backup(home, tmp_path / "b.tar")
    queue.submit(NewJob("index_offline", "newer", {}, (), ("source:newer",)))
    left = Path(f"{home.state_file}-wal").read_bytes()
    queue.close()
    for path in home.path.glob("state.db*"):
        path.unlink()
    Path(f"{home.state_file}-wal").write_bytes(left)
    with pytest.raises(ConflictError):
        restore_backup(home, tmp_path / "b.tar", replace=False)
    restore_backup(home, tmp_path / "b.tar", replace=True)
    restored = Queue(home.state_file)
    assert [row[0] for row in restored.connection.execute("SELECT source FROM jobs")] == ["old"]
    restored.close()


def test_a_database_of_a_newer_version_is_refused(home: Home, tmp_path: Path) -> None:
    home.prepare()
    queue = Queue(home.state_file)
    queue.connection.execute("PRAGMA user_version = 77")
    queue.close()
    create_backup(home, tmp_path / "b.tar")
    with pytest.raises(UnavailableError, match="format 77"):
        restore_backup(Home(tmp_path / "other"), tmp_path / "b.tar", replace=False)
