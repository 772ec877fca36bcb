"""Backup and restore; an archive from outside is hostile."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import shutil
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ConflictError, KbjobsError, NotFoundError, UnavailableError, UsageError
from kbjobs.services.sources import register, verify
from kbjobs.store.backup import NEVER_IN_IT, create_backup
from kbjobs.store.jobs import NewJob
from kbjobs.store.ledger import Ledger
from kbjobs.store.queue import Queue
from kbjobs.store.restore import restore_backup
from kbjobs.store.sources import SourceFolder
from tests.conftest import ROOT, Kbjobs, fill_disk, read_json, write_pages


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
    assert not verify(other, "wiki").ok  # vector stores are not in it
    kbjobs("sources", "rebuild", "wiki", env={**_environment(), **environment})
    assert verify(other, "wiki").ok
    modes = {path.stat().st_mode & 0o777 for path in other.path.rglob("*") if path.is_file()}
    assert modes <= {0o600, 0o644} and other.state_file.stat().st_mode & 0o777 == 0o600


def _environment() -> dict[str, str]:
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


def put_json(members: list[tuple[tarfile.TarInfo, bytes]], change: Callable[[dict[str, Any]], Any], at: int) -> None:
    index = json.loads(members[at][1])
    change(index)
    members[at] = (members[at][0], json.dumps(index).encode())


def put_index(members: list[tuple[tarfile.TarInfo, bytes]], change: Callable[[dict[str, Any]], Any]) -> None:
    put_json(members, change, -1)


def rename_member(name: str) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[1][0].name = name
        put_index(members, lambda index: index["files"].update({name: index["files"].pop("state.db")}))

    return change


def put_member(members: list[tuple[tarfile.TarInfo, bytes]], name: str, content: bytes) -> None:
    """Put a file in, with an index that fits."""
    members.insert(1, (tarfile.TarInfo(name), content))
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    put_index(members, lambda index: index["files"].update({name: entry}))


def put_two_in_one_place(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    put_member(members, "sources/x/pages/1/a", b"file")
    put_member(members, "sources/x/pages/1/a/b", b"below the file")


def put_newer_database(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    head, content = members[1]
    content = content[:60] + (77).to_bytes(4, "big") + content[64:]  # the user version (sqlite.org, "Database Header")
    members[1] = (head, content)
    digest = hashlib.sha256(content).hexdigest()
    put_index(members, lambda index: index["files"]["state.db"].update(sha256=digest))


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
    "twice": lambda members: members.insert(2, members[1]),
    "missing": lambda members: members.pop(1),
    "unknown": lambda members: members.insert(1, (tarfile.TarInfo("more"), b"x")),
    "no index": lambda members: members.pop(0),
    "bad index": lambda members: members.__setitem__(0, (members[0][0], b"[]")),
    "newer": lambda members: put_json(members, lambda head: head.update(format=9), 0),
    "newer database": put_newer_database,
    "no index at the end": lambda members: members.pop(),
    "bad index at the end": lambda members: members.__setitem__(-1, (members[-1][0], b'{"files": 3}')),
    "deep index": lambda members: members.__setitem__(-1, (members[-1][0], b"[" * 100_000)),
    "pages of no source": rename_member("sources/pages/1/a.html"),
    "climbing in pages": rename_member("sources/x/pages/../../../evil.db"),
    "climbing at the end": rename_member("sources/x/pages/.."),
    "empty name in pages": rename_member("sources/x/pages//etc/evil"),
    "this folder in pages": rename_member("sources/x/pages/./evil"),
    "chain in a folder": rename_member("chains/../evil.toml"),
    "chain below": rename_member("chains/a/b.toml"),
    "zero in a name": lambda members: put_index(
        members, lambda index: index["files"].update({"sources/x/pages/a\0b": index["files"].pop("state.db")})
    ),
    "a file in a file's place": put_two_in_one_place,
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


def read_tree(folder: Path) -> dict[str, bytes]:
    return {os.fspath(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_chains_and_copied_pages_are_in_it_whatever_their_names(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 2)
    odd = [
        os.fsdecode(b"\xff\xfe.html"),
        "line\nbreak.html",
        "wa\u0301ter \u6c34 50%.html",
        "-rf.html",
        "n" * 200 + ".html",
    ]
    for name in odd:
        (pages / name).write_text(f"<p>{len(name)}")
    deep = pages.joinpath(*["d" * 100] * 5)
    write_pages(deep, 1)
    register(home, "wiki", [pages], copy=True)
    folder = SourceFolder(home.sources, "wiki")
    folder.assets.mkdir()
    (folder.assets / "style.css").write_text("p {}")
    home.chains.mkdir()
    (home.chains / "night.toml").write_text("name = 'night'")
    (home.chains / "notes.txt").write_text("not a chain")
    written = create_backup(home, tmp_path / "b.tar")
    assert (written.left_out, written.damaged) == (NEVER_IN_IT, {})
    assert written.size == (tmp_path / "b.tar").stat().st_size
    other = Home(tmp_path / "other")
    names = restore_backup(other, tmp_path / "b.tar", replace=False)
    assert len(names) == written.files == len(odd) + 2 + 1 + 3
    restored = SourceFolder(other.sources, "wiki")
    assert read_tree(restored.pages) == read_tree(folder.pages)
    assert read_tree(restored.assets) == {"style.css": b"p {}"}
    assert read_tree(other.chains) == {"night.toml": b"name = 'night'"}
    assert restored.read().paths == (str(restored.pages / "1" / "pages"),)


def test_pages_can_be_left_out(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    kbjobs("sources", "add", "copied", write_pages(tmp_path / "pages", 2), "--copy")
    kbjobs("sources", "add", "outside", write_pages(tmp_path / "more", 2))
    message = kbjobs("backup", tmp_path / "b.tar", "--without-pages").stderr
    for what in (*NEVER_IN_IT, "pages", "files read in place"):
        assert what in message
    answer = read_json(kbjobs("backup", tmp_path / "b.tar", "--json", "--without-pages"))
    assert answer == {
        "file": str(tmp_path / "b.tar"),
        "bytes": (tmp_path / "b.tar").stat().st_size,
        "files": 2,
        "left_out": [*NEVER_IN_IT, "pages", "files read in place"],
        "damaged": [],
    }
    assert read_json(kbjobs("backup", tmp_path / "whole.tar", "--json"))["files"] == 4
    other = Home(tmp_path / "other")
    message = kbjobs("restore", tmp_path / "b.tar", env={**_environment(), "KBJOBS_HOME": str(other.path)}).stderr
    assert (
        f"Source copied: its copied files were not in the backup. Put them back: {other.sources}/copied/pages"
        in message
    )
    assert "Source outside" not in message


def test_links_and_devices_among_the_pages_are_told_and_not_followed(home: Home, tmp_path: Path) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)], copy=True)
    pages = SourceFolder(home.sources, "wiki").pages
    (pages / "secret").symlink_to("/etc/passwd")
    (pages / "folder").symlink_to("/etc")
    os.mkfifo(pages / "pipe")
    written = create_backup(home, tmp_path / "b.tar")
    links = [f"sources/wiki/pages/{name}: not a regular file" for name in ("folder", "pipe", "secret")]
    assert [one for one in written.left_out if one not in NEVER_IN_IT] == links
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert [name for name in tar.getnames() if "pages" in name] == ["sources/wiki/pages/1/pages/page0.html"]
        assert {member.type for member in tar} == {tarfile.REGTYPE}


def test_a_pages_folder_on_another_disk_is_in_it(home: Home, tmp_path: Path) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)], copy=True)
    pages = SourceFolder(home.sources, "wiki").pages
    pages.rename(tmp_path / "large-disk")
    pages.symlink_to(tmp_path / "large-disk")
    create_backup(home, tmp_path / "b.tar")
    assert "sources/wiki/pages/1/pages/page0.html" in restore_backup(Home(tmp_path / "o"), tmp_path / "b.tar", False)


def test_pages_that_come_and_go_meanwhile_are_whole(home: Home, tmp_path: Path) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 100)], copy=True)
    pages = SourceFolder(home.sources, "wiki").pages / "1" / "pages"
    stop = threading.Event()

    def rewrite_pages() -> None:
        number = 0
        while not stop.is_set():
            unfinished = pages / "new.part"
            unfinished.write_text(f"{number} " * 5_000)
            unfinished.rename(pages / f"page{number % 100}.html")
            (pages / f"page{(number + 50) % 100}.html").unlink(missing_ok=True)
            number += 1

    writer = threading.Thread(target=rewrite_pages)
    writer.start()
    try:
        for number in range(5):
            assert create_backup(home, tmp_path / f"{number}.tar").damaged == {}
    finally:
        stop.set()
        writer.join()
    for number in range(5):
        other = Home(tmp_path / f"home{number}")
        restore_backup(other, tmp_path / f"{number}.tar", replace=False)
        restored = SourceFolder(other.sources, "wiki").pages / "1" / "pages"
        texts = [page.read_text() for page in restored.glob("*.html")]
        assert texts
        assert all("kettle" in text or len(set(text.split())) == 1 for text in texts)


def damage_manifest(folder: SourceFolder) -> None:
    folder.manifest.write_text("{")


def damage_ledger(folder: SourceFolder) -> None:
    content = bytearray(folder.ledger.read_bytes())
    content[2048:] = b"x" * (len(content) - 2048)
    folder.ledger.write_bytes(content)


def empty_ledger(folder: SourceFolder) -> None:
    folder.ledger.write_bytes(b"")


def fold_manifest(folder: SourceFolder) -> None:
    folder.manifest.unlink()
    folder.manifest.mkdir()


@pytest.mark.parametrize(
    ("damage", "taken"),
    [
        (damage_manifest, {"manifest.json", "source.db", "pages/1/b/page0.html"}),
        (fold_manifest, {"source.db", "pages/1/b/page0.html"}),
        (damage_ledger, {"manifest.json", "pages/1/b/page0.html"}),
        (empty_ledger, {"manifest.json", "pages/1/b/page0.html"}),
    ],
)
def test_a_damaged_source_is_named_and_the_others_are_there(
    home: Home, tmp_path: Path, kbjobs: Kbjobs, damage: Callable[[SourceFolder], None], taken: set[str]
) -> None:
    for name in ("a", "b", "c"):
        register(home, name, [write_pages(tmp_path / name, 1)], copy=True)
        Ledger(SourceFolder(home.sources, name).ledger).close()
    damage(SourceFolder(home.sources, "b"))
    ended = kbjobs("backup", tmp_path / "b.tar", "--json", check=3)
    assert read_json(ended)["damaged"] == ["b"]
    assert "Source b is not complete in it" in ended.stderr
    other = Home(tmp_path / "other")
    names = restore_backup(other, tmp_path / "b.tar", replace=False)
    assert {name.removeprefix("sources/b/") for name in names if name.startswith("sources/b/")} == taken
    for name in ("a", "c"):
        assert read_tree(SourceFolder(other.sources, name).path).keys() == {
            "manifest.json", "source.db", f"pages/1/{name}/page0.html",
        }  # fmt: skip


def test_a_damaged_state_is_no_backup(home: Home, tmp_path: Path) -> None:
    home.state_file.write_bytes(b"x" * 8192)
    with pytest.raises(UnavailableError, match="damaged"):
        create_backup(home, tmp_path / "b.tar")
    assert not list(tmp_path.glob("*b.tar")) and not list(tmp_path.glob(".kbjobs-backup-*"))


def test_a_full_disk_leaves_nothing(home: Home, tmp_path: Path, small_disk: Path) -> None:
    pages = write_pages(tmp_path / "pages", 1)
    (pages / "large.html").write_bytes(b"<p>" + b"large " * 200_000)
    register(home, "wiki", [pages], copy=True)
    fill_disk(small_disk, 600_000)
    before = sorted(small_disk.iterdir())
    with pytest.raises(UnavailableError, match="No space left"):
        create_backup(home, small_disk / "b.tar")
    assert sorted(small_disk.iterdir()) == before


def test_an_archive_that_may_not_be_so_large_leaves_nothing(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    """As on FAT, whose files end at 4 GB: no page is to blame for it."""
    register(home, "wiki", [write_pages(tmp_path / "pages", 200)], copy=True)
    before = sorted(tmp_path.iterdir())
    limits = (100_000, 100_000)
    refused = kbjobs(
        "backup", tmp_path / "b.tar", check=7, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    )
    assert "File too large" in refused.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_a_page_that_cannot_be_read_is_named_and_the_others_are_there(home: Home, tmp_path: Path) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 2)], copy=True)
    folder = os.open(SourceFolder(home.sources, "wiki").pages, os.O_RDONLY)
    for _ in range(22):  # longer than a path may be
        os.mkdir("d" * 200, dir_fd=folder)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    written = create_backup(home, tmp_path / "b.tar")
    assert "File name too long" in written.damaged["wiki"]
    assert written.files == 3
    assert len(restore_backup(Home(tmp_path / "other"), tmp_path / "b.tar", replace=False)) == 3


def test_a_restore_to_a_full_disk_changes_nothing(home: Home, tmp_path: Path, small_disk: Path) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 300)], copy=True)
    create_backup(home, tmp_path / "b.tar")
    other = Home(small_disk / "home")
    other.prepare()
    (other.chains).mkdir()
    (other.chains / "mine.toml").write_text("mine")
    fill_disk(small_disk, 200_000)  # enough for what the files hold, not for their blocks
    with pytest.raises(UnavailableError, match="too full"):
        restore_backup(other, tmp_path / "b.tar", replace=True)
    assert read_tree(other.chains) == {"mine.toml": b"mine"}
    assert list(other.sources.iterdir()) == [] and not list(other.path.glob(".restoring-*"))


def test_a_backup_into_what_it_holds_is_refused(home: Home, tmp_path: Path) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)], copy=True)
    pages = SourceFolder(home.sources, "wiki").pages
    with pytest.raises(UsageError, match="is inside the folder that is backed up"):
        create_backup(home, pages / "b.tar")
    assert [path.name for path in pages.iterdir()] == ["1"]


def test_chains_are_replaced_by_those_of_the_backup_alone(home: Home, tmp_path: Path) -> None:
    home.prepare()
    create_backup(home, tmp_path / "without.tar")
    home.chains.mkdir()
    (home.chains / "old.toml").write_text("old")
    create_backup(home, tmp_path / "with.tar")
    (home.chains / "old.toml").rename(home.chains / "new.toml")
    with pytest.raises(ConflictError):
        restore_backup(home, tmp_path / "with.tar", replace=False)
    restore_backup(home, tmp_path / "with.tar", replace=True)
    assert read_tree(home.chains) == {"old.toml": b"old"}
    assert [read_tree(path) for path in home.path.glob("replaced-*/chains")] == [{"new.toml": b"old"}]
    restore_backup(home, tmp_path / "without.tar", replace=True)
    assert read_tree(home.chains) == {"old.toml": b"old"}


def test_a_backup_of_version_0_1_0(home: Home, tmp_path: Path) -> None:
    archive = ROOT / "tests" / "frozen" / "backup-1.tar"
    names = restore_backup(home, archive, replace=False)
    assert names == ["state.db", "config.toml", "sources/wiki/manifest.json", "sources/wiki/source.db"]
    folder = SourceFolder(home.sources, "wiki")
    assert folder.read().paths == ("/tmp/kbjobs-0.1.0/home/sources/wiki/pages/1/pages",)
    (folder.pages / "1" / "pages").mkdir(parents=True)  # put back by hand: it was not in the backup
    assert folder.read().paths == (str(folder.pages / "1" / "pages"),)
    ledger = Ledger(folder.ledger)
    assert ledger.document_paths()[0][1] == "pages/water.html"
    ledger.close()
    rewritten = tmp_path / "b.tar"
    shutil.copy(archive, rewritten)
    rewrite(rewritten, lambda members: members.pop(2))
    with pytest.raises(UnavailableError, match="it lacks"):
        restore_backup(Home(tmp_path / "other"), rewritten, replace=False)
