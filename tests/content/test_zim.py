"""ZIM files: what is in them, in which order, and that neither damage nor a dying reader takes the caller down."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kbjobs.content import zim as module
from kbjobs.content.zim import (
    ZimError,
    ZimFailure,
    ZimFile,
    ZimItem,
    ZimRedirect,
    is_zim,
    parse_counter,
    parse_languages,
)
from kbjobs.content.zim_service import ZIM_HEADER
from tests.conftest import FACTOR, is_alive, known, real_input, wait_until
from tests.content.zims import ZIMS, as_old, build_zim, find_dirents, page

BOOKS = "wikibooks_be_all_nopic_2017-02"
UNOPENABLE = {
    "bad_mimetype_list", "invalid_checksumpos", "invalid_mimelistpos", "nonsorted_dirent_table", "offset_in_cluster",
    "outofbounds_clusterptrpos", "outofbounds_first_direntptr", "outofbounds_last_direntptr", "outofbounds_urlptrpos",
    "smaller_than_header",
}  # fmt: skip
UNREADABLE = {"bad_mimetype_in_dirent": 1, "outofbounds_first_clusterptr": 10}


@pytest.fixture(scope="session")
def zims() -> Path:
    return real_input(ZIMS, "the openZIM testing suite")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four megabytes that do not fit into a pipe, in many clusters, written in an order that is not that of paths."""
    numbers = list(range(400))
    random.Random(1).shuffle(numbers)
    items = [page(number, 2_000) for number in numbers]
    items.append(("pixel.png", "", "image/png", "not really"))
    items.append(("notes.txt", "Notes", "text/plain;charset=utf-8", "plain words"))
    redirects = [("old7", "page7"), ("older7", "old7")]
    path = tmp_path_factory.mktemp("zims") / "made.zim"
    return build_zim(
        path, items, redirects, "old7", Title="Wells", Language="eng", Tags="a;b", Creator="nobody", Date="2024-01-02"
    )


def read(path: Path, **options: Any) -> list[ZimItem | ZimFailure | ZimRedirect]:
    with ZimFile(path, **options) as file:
        return list(file.entries())


def failures(entries: Iterable[object]) -> list[ZimFailure]:
    return [entry for entry in entries if isinstance(entry, ZimFailure)]


def items(entries: Iterable[object]) -> list[ZimItem]:
    return [entry for entry in entries if isinstance(entry, ZimItem)]


# What is in a file


def test_header(made: Path) -> None:
    with ZimFile(made) as file:
        header = file.header
    assert (header.title, header.language, header.languages) == ("Wells", "en", ("en",))
    assert (header.tags, header.creator, header.date, header.license) == (("a", "b"), "nobody", "2024-01-02", "")
    assert header.counter == {"text/html": 400, "image/png": 1, "text/plain": 1}
    assert (header.entry_count, header.article_count, header.main_entry) == (404, 400, "page7")
    assert header.all_entry_count > 404
    assert header.has_checksum
    assert not header.has_illustration
    assert not header.is_multipart
    assert header.filesize == made.stat().st_size
    assert len(header.uuid) == 36
    assert header.as_dict()["title"] == "Wells"


def test_entries(made: Path) -> None:
    entries = read(made)
    assert len(entries) == 404
    assert not failures(entries)
    by_path = {entry.path: entry for entry in items(entries)}
    data = known(by_path["page7"].data)
    assert by_path["page7"].title == "Page 7"
    assert b"well 7 boils" in data
    assert by_path["page7"].size == len(data)
    assert by_path["pixel.png"] == ZimItem("pixel.png", by_path["pixel.png"].title, "image/png", 10, None)
    assert by_path["notes.txt"].mimetype == "text/plain"
    assert by_path["notes.txt"].data == b"plain words"
    assert entries[-2:] == [ZimRedirect("old7", "page7"), ZimRedirect("older7", "old7")]


def test_entries_come_in_the_order_of_clusters(made: Path) -> None:
    zim = made.read_bytes()
    dirents = find_dirents(zim)
    clusters = [int.from_bytes(zim[dirents[item.path] + 8 :][:4], "little") for item in items(read(made))]
    assert len(set(clusters)) > 20
    assert clusters == sorted(clusters)


@pytest.mark.slow
def test_start_wanted_limit_and_sample(made: Path) -> None:
    with ZimFile(made) as file:
        everything = list(file.entries())
        for start in (0, 1, 200, 401, 402, 403, 404, 500):
            assert list(file.entries(start)) == everything[start:]
        assert {item.data is not None for item in items(file.entries(wanted={"image/png"}))} == {True, False}
        assert [item.path for item in items(file.entries(size_limit=20)) if item.data] == ["notes.txt"]
        sample = list(file.entries(sample=50))
        assert 40 <= len(sample) <= 50
        assert set(sample) <= set(everything)
        assert len({item.path[:5] for item in items(sample)}) >= 5
        assert list(file.entries(10, sample=50)) == sample[10:]
        assert list(file.entries(sample=0)) == []
        assert len(list(file.entries(sample=10**6))) == len(everything)


def test_windows_give_the_same_order(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = read(made)
    replace_child(monkeypatch, tmp_path, "child.WINDOW = 30; child._CHUNK = 7; child._SPAN = 100")
    assert read(made) == before


def test_check(made: Path, zims: Path, tmp_path: Path) -> None:
    with ZimFile(made) as file:
        assert file.check() is True
        assert len(list(file.entries())) == 404
    damaged = bytearray(made.read_bytes())
    damaged[-10_000] ^= 1
    (tmp_path / "damaged.zim").write_bytes(damaged)
    with ZimFile(tmp_path / "damaged.zim") as file:
        assert file.check() is False


def test_no_libzim_here(made: Path) -> None:
    program = "import sys; from kbjobs.content.zim import ZimFile; list(ZimFile(sys.argv[1]).entries());"
    program += "assert not [name for name in sys.modules if name.startswith(('libzim', 'numpy'))]"
    subprocess.run([sys.executable, "-c", program, made], check=True, cwd=Path(module.__file__).parents[2])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eng", ("en",)), ("=en", ("en",)), ("bel", ("be",)), ("", ()), ("pt_BR", ("pt-br",)),
        ("eng,fra", ("en", "fr")),
        ("mul", ()), ("<b>", ()), ("eng;eng", ("en",)),
    ],
)  # fmt: skip
def test_languages(text: str, expected: object) -> None:
    assert parse_languages(text) == expected


def test_counter() -> None:
    text = "text/html=5;Image/PNG=3;text/html;raw=true=7;application/x;a=1;b=c=2;junk;=4;a/b=x"
    assert parse_counter(text) == {"text/html": 12, "image/png": 3, "application/x": 1, "b": 2, "junk": 4}
    assert parse_counter("") == {}


def test_magic(made: Path) -> None:
    assert is_zim(made.read_bytes()[:4])
    assert not is_zim(b"ZIM")
    assert not is_zim(b"")


# Files by others


@pytest.mark.slow
def test_the_public_suite(zims: Path) -> None:
    for path in sorted(zims.glob("invalid.*.zim")):
        name = path.name.split(".")[1]
        if name in UNOPENABLE:
            with pytest.raises(ZimError, match="cannot be opened: "):
                ZimFile(path)
            continue
        with ZimFile(path) as file:
            entries = list(file.entries())
            assert len(failures(entries)) == UNREADABLE.get(name, 0), name
            assert len(entries) - len(failures(entries)) == (1 if name == "outofbounds_first_clusterptr" else 2)
            assert file.check() is False
    assert len(UNOPENABLE) == 10


def test_small(zims: Path) -> None:
    with ZimFile(zims / "small.zim") as file:
        assert [entry.path for entry in file.entries()] == ["main.html", "favicon.png"]
        assert (file.header.article_count, file.header.main_entry, file.check()) == (1, "main.html", True)


@pytest.mark.parametrize("name", [f"{BOOKS}.zim", *(f"{BOOKS}_splitted.zim{part}" for part in ("aa", "ab", "ac", ""))])
def test_whole_and_split(zims: Path, name: str) -> None:
    with ZimFile(zims / name) as file:
        entries = list(file.entries())
        assert (file.header.language, file.header.article_count, file.check()) == ("be", 66, True)
        assert file.header.filesize == 211_982
    assert [item.mimetype for item in items(entries)].count("text/html") == 66
    assert (len(items(entries)), len(entries), failures(entries)) == (104, 109, [])


@pytest.mark.parametrize(
    ("missing", "reason"), [("aa", "zimaa is missing"), ("ab", "zimab is missing"), ("ac", "last part is missing")]
)
def test_a_part_is_missing(zims: Path, tmp_path: Path, missing: str, reason: str) -> None:
    for part in {"aa", "ab", "ac"} - {missing}:
        shutil.copy(zims / f"{BOOKS}_splitted.zim{part}", tmp_path / f"b.zim{part}")
    for part in ("aa", "ab", "ac", ""):
        with pytest.raises(ZimError, match=reason):
            ZimFile(tmp_path / f"b.zim{part}")


def test_what_is_no_zim_file(tmp_path: Path) -> None:
    (tmp_path / "empty.zim").touch()
    (tmp_path / "text.zim").write_text("ZIM? " * 100)
    (tmp_path / "folder.zim").mkdir()
    os.mkfifo(tmp_path / "pipe.zim")
    for name, reason in {
        "empty.zim": "empty file", "text.zim": "not a ZIM file", "folder.zim": "not a regular file",
        "pipe.zim": "not a regular file", "none.zim": "no such file", "no/where.zim": "no such file",
        "a\0b.zim": "no such file",
    }.items():  # fmt: skip
        with pytest.raises(ZimError, match=reason):
            ZimFile(tmp_path / name)


# Damage


def test_old_namespaces(made: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.zim"
    old.write_bytes(as_old(made.read_bytes()))
    entries = read(old)
    assert not failures(entries)
    assert len(entries) == 404
    assert {entry.path[:2] for entry in entries} == {"A/"}
    with ZimFile(old) as file:
        assert file.header.title == "Wells"


def test_redirects_in_a_circle(made: Path, tmp_path: Path) -> None:
    zim = bytearray(made.read_bytes())
    dirents = find_dirents(zim)
    number = sorted(dirents, key=str.encode).index("older7")
    zim[dirents["old7"] + 8 : dirents["old7"] + 12] = number.to_bytes(4, "little")
    zim[dirents["older7"] + 8 : dirents["older7"] + 12] = number.to_bytes(4, "little")
    (tmp_path / "circle.zim").write_bytes(zim)
    with ZimFile(tmp_path / "circle.zim") as file:
        assert file.header.main_entry == ""
        assert list(file.entries())[-2:] == [ZimRedirect("old7", "older7"), ZimRedirect("older7", "older7")]


def test_hostile_paths(tmp_path: Path) -> None:
    paths = ["../../etc/passwd", "/etc/shadow", "A", "a", "%00", "ü/☃", "x" * 5_000, "line\nbreak", "a?b#c", "cut_here"]
    path = build_zim(tmp_path / "hostile.zim", [(name, "t", "text/html", "<p>x") for name in paths])
    assert sorted(item.path for item in items(read(path))) == sorted(paths)
    path.write_bytes(
        path.read_bytes().replace(b"cut_here", b"cut\0here").replace("ü/☃".encode(), b"\xfc/\xff\xfe\xfd.")
    )
    entries = read(path)
    assert len(entries) == len(paths)
    assert "cut" in {item.path for item in items(entries)}


@pytest.mark.slow
@pytest.mark.long
def test_cut_off_anywhere(zims: Path, made: Path, tmp_path: Path) -> None:
    chance = random.Random(2)
    for name in ("small.zim", f"{BOOKS}.zim"):
        zim = (zims / name).read_bytes()
        for number in range(40):
            length = chance.randrange(len(zim)) if number else 79
            cut = bytearray(zim[:length])
            path = tmp_path / "cut.zim"
            path.write_bytes(cut)
            with pytest.raises(ZimError, match="cannot be opened: "):
                ZimFile(path)
            if number % 4 == 0 and length > 200:  # as if it were whole: libzim has to find out
                cut[72:80] = (length - 16).to_bytes(8, "little")
                path.write_bytes(cut)
                read_bounded(path)


@pytest.mark.slow
@pytest.mark.long
def test_flipped_bits(zims: Path, tmp_path: Path) -> None:
    chance = random.Random(os.environ.get("SEED", "3"))
    ends = {"error": 0, "entries": 0}
    for number in range(40 * FACTOR):
        zim = bytearray((zims / ("small.zim", f"{BOOKS}.zim")[number % 2]).read_bytes())
        head = ZIM_HEADER.unpack_from(zim)
        for _ in range(chance.choice([1, 1, 5, 50])):
            # header, tables and the beginning of clusters are worth more than the middle of compressed text
            start, length = chance.choice([(0, 80), (0, len(zim)), (head[6], 2_000), (head[8], 200), (80, 300)])
            zim[min(start + chance.randrange(length), len(zim) - 1)] ^= 1 << chance.randrange(8)
        path = tmp_path / f"flipped{number % 2}.zim"
        path.write_bytes(zim)
        ends["entries" if read_bounded(path) else "error"] += 1
    assert min(ends.values()) > 0


def read_bounded(path: Path) -> bool:
    """Read a damaged file; whether it could be opened. It takes no more than a while."""
    started = time.monotonic()
    try:
        with ZimFile(path, timeout=5) as file:
            for entry in file.entries():
                assert isinstance(entry, (ZimItem, ZimRedirect, ZimFailure))
            file.check()
        return True
    except ZimError:
        return False
    finally:
        assert time.monotonic() - started < 60


# The reading process


def replace_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str) -> None:
    """Have ZIM files read by a process that does something else at some point."""
    code = f"""
import os, signal, time
from kbjobs.content import zim_service as child
read_entry = child.read_entry
def at(number, act):
    def changed(archive, found, *rest):
        if found == number or number is None:
            act()
        return read_entry(archive, found, *rest)
    child.read_entry = changed
{change}
ZimService = child.ZimService
"""
    (tmp_path / "changed_service.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "SERVICE", "changed_service:ZimService")


def test_killed_in_the_middle(made: Path) -> None:
    with ZimFile(made) as file:
        expected = list(file.entries())
        entries = []
        for number, entry in enumerate(file.entries()):
            entries.append(entry)
            if number in (10, 11, 200):
                os.kill(known(file.pid), signal.SIGKILL)
        assert entries == expected


def test_an_entry_that_crashes(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = read(made)
    replace_child(monkeypatch, tmp_path, "at(100, lambda: os.kill(os.getpid(), signal.SIGSEGV))")
    entries = read(made)
    assert len(entries) == len(expected)
    assert [failure.reason for failure in failures(entries)] == ["libzim's process crashed (Segmentation fault)"]
    assert len(set(expected) - set(entries)) == 1


def test_a_stopped_process_is_noted_after_the_timeout(made: Path) -> None:
    with ZimFile(made, timeout=1) as file:
        entries = []
        for entry in file.entries():
            entries.append(entry)
            if len(entries) == 5:
                os.kill(known(file.pid), signal.SIGSTOP)
                started = time.monotonic()
        assert 1 <= time.monotonic() - started < 20
    assert len(entries) == 404
    assert [failure.reason for failure in failures(entries)] == ["libzim did not come back in time"]


def test_an_entry_that_hangs(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replace_child(monkeypatch, tmp_path, "at(100, lambda: time.sleep(1000))")
    entries = read(made, timeout=1)
    assert len(entries) == 404
    assert [failure.reason for failure in failures(entries)] == ["libzim did not come back in time"]


@pytest.mark.full
@pytest.mark.slow
def test_a_long_table_is_no_hang(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = """
child._CHUNK, child.BEAT = 50, 0.1
read = child.EntryOrder._read
def read_slowly(*arguments):
    time.sleep(0.2)
    return read(*arguments)
child.EntryOrder._read = read_slowly
"""
    replace_child(monkeypatch, tmp_path, slow)
    started = time.monotonic()
    assert not failures(read(made, timeout=2))
    assert time.monotonic() - started > 2


@pytest.mark.slow
def test_given_up_where_nothing_is_read(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replace_child(monkeypatch, tmp_path, "at(None, lambda: os.abort())")
    with ZimFile(made) as file, pytest.raises(ZimError, match=r"abandoned after \d+ failures of libzim: .*Aborted"):
        list(file.entries())


def test_a_process_that_does_not_start(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replace_child(monkeypatch, tmp_path, "time.sleep(1000)")
    with pytest.raises(ZimError, match="did not come back in time"):
        ZimFile(made, timeout=1)


def test_a_check_that_hangs(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replace_child(monkeypatch, tmp_path, "child.check = lambda archive: time.sleep(1000)")
    with ZimFile(made, timeout=1) as file:
        assert file.check() is None
        assert len(list(file.entries())) == 404


def test_a_spinning_process_ends_with_its_caller(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replace_child(monkeypatch, tmp_path, "at(5, lambda: [None for _ in iter(int, 1)])")
    program = (
        "import os, sys, threading; sys.path.insert(0, sys.argv[2])\n"
        "from kbjobs.content import zim; zim.SERVICE = 'changed_service:ZimService'\n"
        "file = zim.ZimFile(sys.argv[1])\nprint(file.pid, flush=True)\n"
        "threading.Thread(target=lambda: list(file.entries()), daemon=True).start()\n"
        "sys.stdin.read()\nos.kill(os.getpid(), 9)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, made, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(module.__file__).parents[2],
    ) as parent:  # fmt: skip
        assert parent.stdout is not None and parent.stdin is not None
        child = int(parent.stdout.readline())
        wait_until(lambda: cpu_seconds(child) > 0.5, 20)
        parent.stdin.close()
        parent.wait()
    wait_until(lambda: not is_alive(child), 1)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_file_vanishes(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "gone.zim"
    shutil.copy(made, path)
    with ZimFile(path) as file:
        entries = file.entries()
        next(entries)
        path.unlink()
        os.kill(known(file.pid), signal.SIGKILL)
        with pytest.raises(ZimError, match="cannot be opened"):
            list(entries)


def test_closing(made: Path) -> None:
    file = ZimFile(made)
    pid = known(file.pid)
    entries = file.entries()
    next(entries)
    file.close()
    assert not is_alive(pid)
    assert file.pid is None
    file.close()
    with pytest.raises(ZimError, match="closed"):
        next(entries)


def test_an_older_iteration_ends(made: Path) -> None:
    with ZimFile(made) as file:
        older = file.entries()
        next(older)
        assert len(list(file.entries())) == 404
        with pytest.raises(ZimError, match="read anew"):
            next(older)


@pytest.mark.slow
def test_memory_of_the_reading_process(tmp_path: Path) -> None:
    """A file of 60 MB in 30 clusters takes no more than its header and a few clusters."""
    big = build_zim(tmp_path / "big.zim", [page(number, 20_000) for number in range(500)], cluster=2**21)
    with ZimFile(big) as file:
        for number, entry in enumerate(file.entries()):
            assert isinstance(entry, ZimItem)
            if number == 499:
                status = Path(f"/proc/{file.pid}/status").read_text()
    used = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert used < 120_000  # kilobytes
