"""Sources made of packs: what comes out is what went in, and a kill leaves the old one or the new one."""

from __future__ import annotations

import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.content.source_files import find_files
from kbjobs.errors import ConflictError, JobCancelled, NotFoundError, UnavailableError
from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.installing import Installed, Mode, install_pack
from kbjobs.packs.pack_reading import open_pack
from kbjobs.packs.targets import Written
from kbjobs.services.documents import documents
from kbjobs.services.sources import SourceFields, describe, register, verify
from kbjobs.store import source_swap
from kbjobs.store.ledger import Ledger
from kbjobs.store.locks import is_locked, lock_source
from kbjobs.store.sources import SourceFolder
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import Kbjobs, fill_disk, rest_full, write_pages
from tests.packs.conftest import Forger, build, place_of
from tests.packs.sources import fill, make_source, page

POINTS = (
    "install.filled",
    "install.built",
    "install.before_rename",
    "swap.between_renames",
    "install.renamed",
    "install.done",
)


@pytest.fixture
def other(tmp_path: Path) -> Home:
    """A home of somebody else."""
    home = Home(tmp_path / "other")
    home.prepare()
    return home


def install(
    home: Home, store: Path, written: Written, include_backup: bool = False, mode: Mode | None = None
) -> Installed:
    with open_pack(place_of(store, written)) as pack:
        return install_pack(pack, home.sources, include_backup, mode)


def rows(folder: SourceFolder) -> dict[str, list[tuple[object, ...]]]:
    """All that both homes have to know alike."""
    with Ledger(folder.ledger) as ledger:
        execute = ledger.connection.execute
        found = {
            "documents": execute(
                "SELECT doc_id, path, url, title, language, content_hash, word_count FROM documents ORDER BY 1"
            ),
            "metadata": execute(
                "SELECT doc_id, language, snippet, headings, published, authors, doc_type FROM metadata ORDER BY 1"
            ),
            "links": execute("SELECT doc_id, url, target FROM links ORDER BY 1, 2"),
            "chunks": execute(
                "SELECT doc_id, ordinal, record_id, text_hash, tokens, text, page FROM chunks ORDER BY 1, 2"
            ),
            "chunked": execute("SELECT doc_id, p.name FROM chunked JOIN profiles p ON p.id = profile ORDER BY 1, 2"),
            "models": execute("SELECT key, name, dimension, cleared FROM models ORDER BY 1"),
            "vectors": execute("SELECT text_hash, vector FROM vectors ORDER BY 1"),
        }
        return {name: [tuple(row) for row in found[name].fetchall()] for name in found}


def test_what_comes_out_is_what_went_in(home: Home, other: Home, tmp_path: Path) -> None:
    folder = make_source(home, tmp_path, described=SourceFields("Wiki", "CC0", "https://wiki.example.org/"))
    with Ledger(folder.ledger) as ledger:
        ledger.set_fact("site titles", '[[], [" | Wiki"], []]')
    written = build(folder, tmp_path / "store")
    installed = install(other, tmp_path / "store", written)
    assert installed == Installed("wiki", written.version, 5, 10, 6, 0, 0, 0)
    copy = SourceFolder(other.sources, "wiki")
    assert rows(copy) == rows(folder)
    source = copy.read()
    assert (source.name, source.license, source.base_url) == ("Wiki", "CC0", "https://wiki.example.org/")
    assert source.paths == (str(copy.pages),)
    assert copy.read_pack() == {"version": written.version}
    assert verify(other, "wiki").ok
    assert verify(other, "wiki").checked == 10
    with Ledger(copy.ledger) as ledger:
        assert ledger.fact("site titles") == '[[], [" | Wiki"], []]'
    assert sorted(path.name for path in other.sources.iterdir()) == ["wiki"]
    modes = {path.stat().st_mode & 0o077 for path in other.sources.rglob("*") if "vectors" not in path.parts}
    assert modes == {0}


@pytest.mark.parametrize("base_url", ["", "https://wiki.example.org/"])
@pytest.mark.parametrize("include_backup", rest_full([False, True], True))
def test_a_pack_of_what_was_installed_is_the_same_pack(
    home: Home, other: Home, tmp_path: Path, include_backup: bool, base_url: str
) -> None:
    folder = make_source(home, tmp_path, described=SourceFields(base_url=base_url))
    pages = [page("wiki", number, base_url or f"file://{tmp_path}/pages/") for number in range(5)]
    fill(folder, pages)
    with Ledger(folder.ledger) as ledger:
        ledger.connection.execute("UPDATE documents SET filtered = 1 WHERE doc_id = ?", (pages[2].doc_id,))
    written = build(folder, tmp_path / "store", include_backup)
    install(other, tmp_path / "store", written, include_backup)
    again = build(SourceFolder(other.sources, "wiki"), tmp_path / "store", include_backup)
    assert (again.version, again.new_parts) == (written.version, 0)


def test_the_files_are_where_the_addresses_say(home: Home, other: Home, tmp_path: Path) -> None:
    folder = make_source(home, tmp_path)
    fill(folder, [page("wiki", number, f"file://{tmp_path}/pages/") for number in range(5)])
    written = build(folder, tmp_path / "store", include_backup=True)
    install(other, tmp_path / "store", written, include_backup=True)
    copy = SourceFolder(other.sources, "wiki")
    assert copy.read().paths == (str(copy.pages / "1" / "pages"),)
    for document in documents(other, "wiki"):
        path = Path(document["url"].removeprefix("file://"))
        assert path.is_relative_to(copy.pages)
        assert path.read_text() == (tmp_path / document["path"]).read_text()
    before = {document["url"] for document in documents(other, "wiki")}
    install(other, tmp_path / "store", written)  # an update keeps the files
    assert {document["url"] for document in documents(other, "wiki")} == before and copy.pages.exists()
    install(other, tmp_path / "store", written, mode="replace")
    assert {document["url"] for document in documents(other, "wiki")} == {
        f"kbjobs:wiki/pages/page{number}.html" for number in range(5)
    }
    assert not copy.pages.exists()


@pytest.mark.usefixtures("minilm")
def test_a_later_run_reads_the_files_and_embeds_nothing(
    home: Home, other: Home, tmp_path: Path, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch, engines: Path
) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 6)])
    kbjobs("run", "index-offline", "wiki")
    written = build(SourceFolder(home.sources, "wiki"), tmp_path / "store", include_backup=True)
    install(other, tmp_path / "store", written, include_backup=True)
    monkeypatch.setenv("KBJOBS_HOME", str(other.path))
    other.engines.symlink_to(engines)
    try:
        assert "Page 4" in kbjobs("search", "wiki", "the kettle for the time number 4").stdout
        assert "6 passages: 0 embedded, 6 reused" in kbjobs("run", "index-offline", "wiki").stdout
    finally:
        kbjobs("daemon", "stop", "--now", check=None)
    assert verify(other, "wiki").ok


def test_a_run_without_the_files_removes_nothing(home: Home, other: Home, tmp_path: Path) -> None:
    folder = make_source(home, tmp_path)
    install(other, tmp_path / "store", build(folder, tmp_path / "store"))
    with pytest.raises(NotFoundError, match="cannot be reached"):
        find_files([Path(path) for path in SourceFolder(other.sources, "wiki").read().paths])
    assert describe(other, "wiki").documents == 5


def test_a_source_of_ones_own_is_not_replaced_unasked(home: Home, tmp_path: Path) -> None:
    folder = make_source(home, tmp_path)
    written = build(folder, tmp_path / "store")
    (folder.path / "pages").mkdir()
    (folder.path / "pages" / "mine.html").write_text("mine")
    with pytest.raises(ConflictError, match="was not installed from a pack"):
        install(home, tmp_path / "store", written)
    assert (folder.path / "pages" / "mine.html").exists()
    install(home, tmp_path / "store", written, mode="replace")
    assert not (folder.path / "pages").exists()
    install(home, tmp_path / "store", written)  # a newer version of the same pack comes unasked


def test_the_lock_of_the_old_one_is_that_of_the_new_one(home: Home, tmp_path: Path) -> None:
    folder = make_source(home, tmp_path)
    written = build(folder, tmp_path / "store")
    lock = lock_source(folder.lock, "wiki", 1)
    try:
        install(home, tmp_path / "store", written, mode="replace")
        assert is_locked(folder.lock)
        program = (
            "import sys\nfrom pathlib import Path\nfrom kbjobs.store.locks import try_lock\n"
            "print(try_lock(Path(sys.argv[1]), 0))"
        )
        command = [sys.executable, "-c", program, str(folder.lock)]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ended.stdout == "None\n"
    finally:
        lock.release()


def test_a_new_source_whose_lock_is_held(home: Home, other: Home, tmp_path: Path) -> None:
    """A job takes the lock of a source that is not there yet: its folder holds nothing else."""
    written = build(make_source(home, tmp_path), tmp_path / "store")
    folder = SourceFolder(other.sources, "wiki")
    lock = lock_source(folder.lock, "wiki", 1)
    try:
        install(other, tmp_path / "store", written)
        assert is_locked(folder.lock)
    finally:
        lock.release()
    assert verify(other, "wiki").ok


@pytest.mark.parametrize("exchanges", rest_full([True, False], False))
@pytest.mark.parametrize("point", rest_full(POINTS, "install.built", "swap.between_renames", "install.done"))
@pytest.mark.parametrize("include_backup", rest_full([False, True], True))
def test_a_kill_leaves_the_old_one_or_the_new_one(
    home: Home, tmp_path: Path, point: str, exchanges: bool, include_backup: bool
) -> None:
    if exchanges and point == "swap.between_renames":
        pytest.skip("there is nothing between where folders can be exchanged")
    folder = make_source(home, tmp_path)
    old = build(folder, tmp_path / "store", include_backup)
    install(home, tmp_path / "store", old, include_backup, mode="replace")
    fill(folder, [page("wiki", 7)])
    new = build(folder, tmp_path / "store", include_backup)
    install(home, tmp_path / "store", old, include_backup, mode="replace")
    program = (
        "import sys\nfrom pathlib import Path\nfrom kbjobs.store import source_swap\n"
        "from kbjobs.packs.installing import install_pack\nfrom kbjobs.packs.pack_reading import open_pack\n"
        # A file system that cannot exchange folders is not to be had without a disk of its own.
        f"if not {exchanges}: source_swap.exchange_folders = lambda one, other: False\n"
        f"with open_pack(sys.argv[1]) as pack: install_pack(pack, Path(sys.argv[2]), {include_backup})"
    )
    command = [sys.executable, "-c", program, place_of(tmp_path / "store", new), str(home.sources)]
    environment = {**os.environ, VARIABLE: f"{point}:{tmp_path / 'killed'}"}
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    if point == "swap.between_renames":
        assert not folder.manifest.exists()
        source_swap.SourceSwap(folder).recover()
    is_new = point in ("install.renamed", "install.done")
    assert describe(home, "wiki").documents == (6 if is_new else 5)
    assert folder.read_pack()["version"] == (new if is_new else old).version
    assert verify(home, "wiki").ok
    subprocess.run(command, env=environment, check=True)
    assert verify(home, "wiki").ok
    assert describe(home, "wiki").documents == 6
    assert [path.name for path in home.sources.iterdir()] == ["wiki"]


def test_a_damaged_pack_leaves_the_old_one(forger: Forger, home: Home, tmp_path: Path) -> None:
    folder = SourceFolder(home.sources, "wiki")
    before = rows(folder)
    with open_pack(forger.write()) as pack:
        install_pack(pack, home.sources, include_backup=True, mode="replace")
    for change in (
        lambda: forger.change(forger.values["metadata"], lambda records: records[-1].update(doc_id="f" * 32)),
        lambda: forger.change(
            forger.values["profiles"][0]["passages"], lambda records: records[-1].update(doc_id="f" * 32)
        ),
        lambda: forger.change(forger.values["backup"]["files"], lambda records: records[0].update(sha256="0" * 64)),
        lambda: (forger.store / "objects" / forger.values["models"][0]["blocks"][0]["vectors"]["sha256"]).unlink(),
    ):
        values = deepcopy(forger.values)
        change()
        with open_pack(forger.write()) as pack, pytest.raises(DamagedPackError):
            install_pack(pack, home.sources, include_backup=True)
        forger.values = values
        assert {name: found for name, found in rows(folder).items() if name != "documents"} == {
            name: found for name, found in before.items() if name != "documents"
        }
        assert verify(home, "wiki").ok
        assert [path.name for path in home.sources.iterdir()] == ["wiki"]


def test_links_to_what_is_not_there(forger: Forger, other: Home) -> None:
    forger.change(
        forger.values["links"],
        lambda records: (records[0].update(target="f" * 32), records[1].update(url=None, target="f" * 32)),
    )
    with open_pack(forger.write()) as pack:
        install_pack(pack, other.sources)
    with Ledger(SourceFolder(other.sources, "wiki").ledger) as ledger:
        links = ledger.connection.execute("SELECT url, target FROM links ORDER BY doc_id").fetchall()
    assert [tuple(row)[1] is None for row in links].count(True) >= 1
    assert len(links) == len(forger.lines(forger.values["links"])) - 1


def test_it_can_be_stopped_at_any_moment(home: Home, other: Home, tmp_path: Path) -> None:
    written = build(make_source(home, tmp_path), tmp_path / "store", include_backup=True)
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    with open_pack(place_of(tmp_path / "store", written)) as pack:
        install_pack(pack, home.sources, include_backup=True, mode="replace", check=count)
        assert calls > 10
        for stop_at in range(1, calls + 1):
            left = stop_at

            def stop() -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    raise JobCancelled("stopped")

            with pytest.raises(JobCancelled):
                install_pack(pack, other.sources, include_backup=True, check=stop)
            assert list(other.sources.iterdir()) == []


def test_a_full_disk_leaves_the_old_one(
    small_disk: Path, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_source(home, tmp_path)
    full = Home(small_disk / "home")
    full.prepare()
    install(full, tmp_path / "store", build(folder, tmp_path / "store"))
    (tmp_path / "pages" / "large.pdf").write_bytes(os.urandom(20 << 20))
    new = build(folder, tmp_path / "store", include_backup=True)
    for leave in (5_000_000, 300_000):
        filler = fill_disk(small_disk, leave)
        with pytest.raises(UnavailableError):
            install(full, tmp_path / "store", new, include_backup=leave == 5_000_000)
        filler.unlink()
        assert verify(full, "wiki").ok
        assert [path.name for path in full.sources.iterdir()] == ["wiki"]
    install(full, tmp_path / "store", new, include_backup=True)
    assert (SourceFolder(full.sources, "wiki").pages / "1" / "pages" / "large.pdf").stat().st_size == 20 << 20


def test_a_source_that_is_half_deleted(home: Home, other: Home, tmp_path: Path) -> None:
    written = build(make_source(home, tmp_path), tmp_path / "store")
    (other.sources / ".deleting-wiki").mkdir()
    with pytest.raises(ConflictError, match="is not completely deleted"):
        install(other, tmp_path / "store", written)
