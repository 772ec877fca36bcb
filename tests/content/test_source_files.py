"""Finding files among hostile names, links, devices and permissions."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from kbjobs.content.source_files import FileSearch, FoundFile, SkippedFile, find_files, quote_key
from kbjobs.errors import NotFoundError
from tests.content.conftest import find_page


def split(search: FileSearch) -> tuple[list[FoundFile], list[SkippedFile]]:
    entries = list(search)
    found = [entry for entry in entries if isinstance(entry, FoundFile)]
    return found, [entry for entry in entries if isinstance(entry, SkippedFile)]


def write(path: Path, text: str = "<p>some text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def run_as_nobody(action: Callable[[], str]) -> str:
    """Call ``action`` in a child without root's rights and return the text it gives."""
    if os.geteuid() != 0:
        return action()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(write_end, action().encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def open_to_all(path: Path) -> None:
    for folder in (path, *path.parents):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o055)


def test_finds_pages_in_one_order_and_counts_the_rest(tmp_path: Path) -> None:
    root = tmp_path / "docs"
    for name in ("b.html", "a/z.HTM", "a/y.xhtml", "c.md", "d.txt", "e.png", "f", ".hidden.html", ".git/x.html"):
        write(root / name)
    search = find_files([root])
    assert not search.complete
    found, skipped = split(search)
    assert [file.key for file in found] == [
        "docs/a/y.xhtml", "docs/a/z.HTM", "docs/b.html", "docs/c.md", "docs/d.txt",
    ]  # fmt: skip
    assert found[0].relative == "a/y.xhtml"
    assert skipped == []
    assert search.ignored == 2
    assert search.complete


def test_signature_changes_with_the_file(tmp_path: Path) -> None:
    page = write(tmp_path / "a.html")
    first = find_page(tmp_path)
    assert find_page(tmp_path) == first
    status = page.stat()
    page.write_text("<p>other tex")  # the same length
    os.utime(page, ns=(status.st_atime_ns, status.st_mtime_ns))  # … and the same mtime: ctime tells
    assert find_page(tmp_path).signature != first.signature


def test_a_missing_root_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        find_files([tmp_path, tmp_path / "gone"])
    assert "gone" in caught.value.message
    assert caught.value.hint


def test_a_file_may_be_a_root(tmp_path: Path) -> None:
    page = write(tmp_path / "page.html")
    found, _ = split(find_files([page]))
    assert [(file.key, file.relative) for file in found] == [("page.html", "page.html")]


def test_equal_names_in_two_roots_have_two_keys(tmp_path: Path) -> None:
    for parent in "xy":
        write(tmp_path / parent / "docs" / "a.html")
    found, _ = split(find_files([tmp_path / "x/docs", tmp_path / "y/docs"]))
    assert [file.key for file in found] == ["docs/a.html", "docs~2/a.html"]


def test_overlapping_roots_give_each_file_once(tmp_path: Path) -> None:
    write(tmp_path / "r/a.html")
    write(tmp_path / "r/sub/b.html")
    (tmp_path / "same").symlink_to(tmp_path / "r")
    found, _ = split(find_files([tmp_path / "r", tmp_path / "r/sub", tmp_path / "r/a.html", tmp_path / "same"]))
    assert sorted(file.key for file in found) == ["r/a.html", "r/sub/b.html"]


@pytest.mark.parametrize(
    "name",
    [b"with space.html", b"line\nbreak.html", "emoji 🏕️.html".encode(), b"x" * 245 + b".html", b"\xff\xfe\x80.html",
     b"50%25.html", b"50%.html", "cafe\u0301.html".encode(), "\u202eevil.html".encode(), b"tab\tand\x1besc.html"],
)  # fmt: skip
def test_any_name_gives_a_printable_key_that_leads_back(tmp_path: Path, name: bytes) -> None:
    root = os.fsencode(tmp_path) + b"/r"
    os.mkdir(root)  # noqa: PTH102 (a path in bytes)
    with open(root + b"/" + name, "wb") as page:  # noqa: PTH123
        page.write(b"<p>text")
    (file,), skipped = split(find_files([tmp_path / "r"]))
    assert skipped == []
    file.key.encode()
    assert not any(ord(letter) < 32 for letter in file.key)
    assert unquote_to_bytes(file.key) == b"r/" + name
    assert os.fsencode(file.path) == root + b"/" + name


def test_names_that_differ_in_one_odd_byte_have_different_keys() -> None:
    names = ["a%0A", "a\n", "a%250A", "a\udc8a", "a%8A", "a"]
    assert len({quote_key(name) for name in names}) == len(names)


def test_links_are_listed_and_never_followed(tmp_path: Path) -> None:
    root = tmp_path / "r"
    write(root / "real/a.html")
    write(tmp_path / "secret/b.html")
    (root / "loop").symlink_to(root)
    (root / "real/up").symlink_to("..")
    (root / "self.html").symlink_to("self.html")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "out.html").symlink_to(tmp_path / "secret/b.html")
    (root / "in.html").symlink_to("real/a.html")
    (root / "dangling.html").symlink_to("nowhere.html")
    (root / "sibling").symlink_to(tmp_path / "r2")
    (tmp_path / "r2").mkdir()  # begins like the root's name, and is outside
    search = find_files([root])
    found, skipped = split(search)
    assert [file.key for file in found] == ["r/real/a.html"]
    reasons = {entry.key: entry.reason for entry in skipped}
    assert "out of its folder" in reasons["r/out"]
    assert "out of its folder" in reasons["r/out.html"]
    assert "out of its folder" in reasons["r/sibling"]
    assert "within its folder" in reasons["r/in.html"]
    assert "within its folder" in reasons["r/loop"]
    assert "within its folder" in reasons["r/real/up"]
    assert "does not exist" in reasons["r/dangling.html"]
    assert "cannot be followed" in reasons["r/self.html"]
    assert search.complete


def test_pipes_and_sockets_are_not_opened(tmp_path: Path) -> None:
    root = tmp_path / "r"
    root.mkdir()
    os.mkfifo(root / "pipe.html")
    with socket.socket(socket.AF_UNIX) as bound:
        before = Path.cwd()
        os.chdir(root)  # a socket's path is limited to 107 bytes
        try:
            bound.bind("socket.txt")
        finally:
            os.chdir(before)
        found, skipped = split(find_files([root]))
    assert found == []
    assert ["not a regular file" in entry.reason for entry in skipped] == [True, True]


def test_what_may_not_be_read_is_listed_and_the_search_is_incomplete(tmp_path: Path) -> None:
    root = tmp_path / "r"
    write(root / "open.html")
    write(root / "closed/a.html")
    write(root / "locked.html")
    open_to_all(root)
    (root / "closed").chmod(0)
    (root / "locked.html").chmod(0)

    def search() -> str:
        walk = find_files([root])
        found, skipped = split(walk)
        return repr(([f.key for f in found], [(s.key, s.reason, s.still_there) for s in skipped], walk.complete))

    try:
        assert run_as_nobody(search) == repr(
            (
                ["r/open.html"],
                [("r/closed", "permission denied", True), ("r/locked.html", "permission denied", True)],
                False,
            )
        )
    finally:
        (root / "closed").chmod(0o755)


def test_a_folder_that_vanishes_during_the_walk_makes_it_incomplete(tmp_path: Path) -> None:
    write(tmp_path / "r/a.html")
    write(tmp_path / "r/b/c.html")
    search = find_files([tmp_path / "r"])
    assert isinstance(next(search), FoundFile)
    (tmp_path / "r/b/c.html").unlink()
    (tmp_path / "r/b").rmdir()
    (entry,) = list(search)
    assert isinstance(entry, SkippedFile)
    assert not entry.still_there
    assert not search.complete
