"""What a kill has left of a source that was being replaced is put right at the daemon's start."""

from __future__ import annotations

from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.daemon.launching import ensure_daemon
from kbjobs.daemon.replacements import recover_swaps
from kbjobs.services.sources import list_ids, register
from kbjobs.store.locks import try_lock
from kbjobs.store.sources import SourceFolder
from tests.conftest import wait_until, write_pages


def cut_between_renames(home: Home, tmp_path: Path) -> SourceFolder:
    """The old source has its second name, the new one not yet that of the source."""
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    folder = SourceFolder(home.sources, "wiki")
    (home.sources / ".installing-wiki").mkdir()
    (home.sources / ".installing-wiki" / "source.db").touch()
    folder.path.rename(home.sources / ".replaced-wiki")
    (home.sources / ".installing-new").mkdir()  # there was no old one
    (home.sources / ".installing-NO SOURCE").mkdir()
    return folder


def test_the_next_daemon_puts_the_old_one_back(home: Home, tmp_path: Path) -> None:
    home.prepare()
    cut_between_renames(home, tmp_path)
    ensure_daemon(home)
    wait_until(lambda: {path.name for path in home.sources.iterdir()} == {"wiki", ".installing-NO SOURCE"})
    wait_until(lambda: list_ids(home) == ["wiki"])
    wait_until(lambda: home.daemon_log.read_text().count("not wholly installed is removed") == 2)


def test_one_that_somebody_works_on_is_left_alone(home: Home, tmp_path: Path) -> None:
    home.prepare()
    folder = cut_between_renames(home, tmp_path)
    lock = try_lock(folder.lock, 1)
    assert lock is not None
    try:
        recover_swaps(home)
        assert (home.sources / ".replaced-wiki").exists()
    finally:
        lock.release()
    recover_swaps(home)
    assert list_ids(home) == ["wiki"]
    assert not (home.sources / ".replaced-wiki").exists()
