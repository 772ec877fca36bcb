"""Sources that are damaged, hostile or change while they are read: a clear result, and nothing known is lost."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.content import zim as zim_module
from kbjobs.content.source_files import FileSearch, SkippedFile
from kbjobs.content.zim import SIZE_LIMIT
from kbjobs.context import PhaseResult
from kbjobs.errors import KbjobsError
from kbjobs.phases import metadata, zim_index, zim_inspect
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.phases.metadata import MetadataParams
from kbjobs.services.sources import register, verify
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import FACTOR, Kbjobs, fill_disk, read_json, real_input, rest_full, write_pages
from tests.content.pdfs import make_pdf, set_lines
from tests.content.zims import ZIMS, build_zim, find_dirents, page
from tests.phases.test_index_offline import context

PUBLIC = "the openZIM testing suite"
BOOKS = "wikibooks_be_all_nopic_2017-02"


def describe(home: Home, source: str = "x", at: Callable[[], object] | None = None, force: bool = False) -> PhaseResult:
    """Run metadata in this process; ``at`` is called whenever the phase looks whether it is to stop."""

    def look() -> bool:
        if at is not None:
            at()
        return False

    return metadata.run(context(home, source, look), MetadataParams(force=force))


def known(home: Home, source: str = "x") -> dict[str, str]:
    """Key and hash of each document that the ledger knows."""
    ledger = Ledger(SourceFolder(home.sources, source).ledger)
    rows = ledger.connection.execute("SELECT path, content_hash FROM documents").fetchall()
    ledger.close()
    return {row[0]: row[1] for row in rows}


class Once:
    """Does something the n-th time it is called."""

    def __init__(self, act: Callable[[], object], number: int) -> None:
        self.act, self.left = act, number

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.act()


# -- files by others ---------------------------------------------------------------------------------

EXPECTED = {  # documents, failed; None where the file cannot be opened
    "small": (0, 0),  # its one page has too little text
    BOOKS: (66, 0),
    f"{BOOKS}_splitted": (66, 0),
    "invalid.bad_mimetype_in_dirent": (0, 1),
    "invalid.outofbounds_first_clusterptr": (0, 10),
    "invalid.nonsorted_title_index": (0, 0),
    "invalid.outofbounds_first_title_entry": (0, 0),
    "invalid.outofbounds_last_title_entry": (0, 0),
    "invalid.outofbounds_titleptrpos": (0, 0),
}


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.usefixtures("minilm")
def test_every_public_file_through_every_type(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    files = sorted(real_input(ZIMS, PUBLIC).glob("*.zim")) + sorted(ZIMS.glob("*.zimaa"))
    assert len(files) == 19
    for number, file in enumerate(files):
        register(home, f"s{number}", [file])
        described = describe(home, f"s{number}")
        expected = EXPECTED.get(file.name.rpartition(".zim")[0])
        if expected is None:
            assert (described.counts["documents"], described.failed) == (0, 1), file.name
            for job_type in (zim_index, zim_inspect):
                with pytest.raises(KbjobsError, match="cannot be opened: ") as refused:
                    run_on_file(home, job_type, f"z{number}", file)
                assert refused.value.exit_code == 1
                assert file.name in refused.value.message
            continue
        documents, failed = expected
        caplog.clear()
        # Of the split file the same 66 pages would be embedded.
        indexed = run_on_file(home, zim_index, f"z{number}", file) if file.suffix == ".zim" else described
        for result in (described, indexed):
            assert (result.counts["documents"], result.failed) == (documents, failed), file.name
        inspected = run_on_file(home, zim_inspect, f"z{number}", file)
        assert (inspected.failed, inspected.counts["damaged_count"]) == (failed, failed)
        if failed == 10:
            assert "10 could not be processed (see the log), 9 of which are no pages" in indexed.summary
            assert f"not indexed: {file.name}/main.html: Cannot read" in caplog.text
            assert f"not indexed: {file.name}: Title, which is no page but describes the file: Cannot" in caplog.text


def run_on_file(home: Home, job_type: ModuleType, source: str, file: Path) -> PhaseResult:
    """Plan and run a type that takes a ZIM file, in this process."""
    params = job_type.JOB_TYPE.params(path=str(file))
    plan = job_type.plan(PhaseRequest(home, Settings(home), params, SourceFolder(home.sources, source)))
    result: PhaseResult = job_type.run(context(home, source), plan.params)
    return result


# -- damage ------------------------------------------------------------------------------------------


def end_clearly(home: Home, result: PhaseResult, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever was read is a document, a named failure or left out for want of text."""
    assert result.counts["documents"] == len(known(home))
    warned = [record.getMessage() for record in caplog.records if record.getMessage().startswith("not read: ")]
    assert len(warned) == result.failed == result.counts["failed"]
    assert all(re.fullmatch(r"not read: pages/.+?: .+", line) for line in warned), warned
    assert "Traceback" not in caplog.text


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", ["small", BOOKS])
def test_a_zim_file_cut_off_anywhere_loses_nothing(
    home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    whole = (real_input(ZIMS, PUBLIC) / f"{name}.zim").read_bytes()
    pages = tmp_path / "pages"
    pages.mkdir()
    path = pages / "file.zim"
    path.write_bytes(whole)
    register(home, "x", [pages])
    describe(home)
    before = known(home)
    chance = random.Random(name)
    for length in sorted(chance.randrange(len(whole)) for _ in range(min(40, 4 * FACTOR))):
        cut = bytearray(whole[:length])
        for is_hidden in (False, True):  # as if it were whole: libzim has to find out
            if is_hidden and length > 200:
                cut[72:80] = (length - 16).to_bytes(8, "little")
            path.write_bytes(cut)
            caplog.clear()
            result = describe(home)
            end_clearly(home, result, caplog)
            assert result.failed
            assert before.items() <= known(home).items(), length
    path.write_bytes(whole)
    assert describe(home).failed == 0
    assert known(home) == before


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["small", BOOKS])
def test_a_zim_file_with_flipped_bytes_ends_clearly(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    monkeypatch.setattr(zim_module, "TIMEOUT", 5.0)
    whole = (real_input(ZIMS, PUBLIC) / f"{name}.zim").read_bytes()
    pages = tmp_path / "pages"
    pages.mkdir()
    path = pages / "file.zim"
    path.write_bytes(whole)
    ends = set()
    for seed in range(min(200, 20 * FACTOR)):
        chance = random.Random(seed)
        flipped = bytearray(whole)
        for _ in range(chance.choice([1, 3, 20])):
            low, high = chance.choice([(0, 80), (80, 400), (0, len(whole)), (len(whole) // 2, len(whole))])
            flipped[chance.randrange(low, min(high, len(whole)))] = chance.randrange(256)
        path.write_bytes(flipped)
        shutil.rmtree(home.sources, ignore_errors=True)
        register(home, "x", [pages])
        caplog.clear()
        result = describe(home)
        end_clearly(home, result, caplog)
        ends.add((bool(result.counts["documents"]), bool(result.failed)))
    assert len(ends) > 1


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
def test_pdfs_with_damage_end_clearly(
    home: Home, tmp_path: Path, installation_guides: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "Water from a roof is collected in a barrel of oak.\nIt is kept in the shade."
    wholes = [make_pdf([set_lines(text)] * 3, "Rain", "en", compress=packed) for packed in (False, True)]
    wholes.append((installation_guides / "install.ko.pdf").read_bytes())
    pages = tmp_path / "pages"
    pages.mkdir()
    for seed in range(min(200, 20 * FACTOR)):
        chance = random.Random(seed)
        flipped = bytearray(wholes[2] if seed % 10 == 0 else wholes[seed % 2])
        for _ in range(chance.choice([1, 5, 100])):
            flipped[chance.randrange(len(flipped))] = chance.randrange(256)
        cut = chance.randrange(len(flipped)) if seed % 4 == 0 else len(flipped)
        (pages / f"{seed:03}.pdf").write_bytes(flipped[:cut])
    register(home, "x", [pages])
    result = describe(home)
    end_clearly(home, result, caplog)
    assert 0 < result.failed < len(list(pages.iterdir()))
    assert result.failed + result.counts["documents"] == len(list(pages.iterdir()))


# -- hostile content ---------------------------------------------------------------------------------

HUGE = """
import sys
from pathlib import Path
from libzim.writer import Blob, ContentProvider, Creator, Item, StringProvider

class Spaces(ContentProvider):
    def __init__(self, size):
        super().__init__()
        self.size = size
    def get_size(self): return self.size
    def gen_blob(self):
        for _ in range(self.size // 2**22):
            yield Blob(b" " * 2**22)

class Page(Item):
    def __init__(self, path, provider):
        super().__init__()
        self.path, self.provider = path, provider
    def get_path(self): return self.path
    def get_title(self): return self.path
    def get_mimetype(self): return "text/html"
    def get_contentprovider(self): return self.provider
    def get_hints(self): return {}

with Creator(Path(sys.argv[1])).config_indexing(False, "eng").config_nbworkers(1) as zim:
    for name in ("after", "before"):
        zim.add_item(Page(name, StringProvider("<p>" + f"Water boils {name} the kettle sings. " * 9)))
    zim.add_item(Page("huge", Spaces(int(sys.argv[2]))))
"""

MEASURED = """
import re, resource, sys
from pathlib import Path
from kbjobs.config.settings import Home
from tests.faults.test_bad_sources import describe
assert describe(Home(Path(sys.argv[1]))).counts["failed"] == 1
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.full
@pytest.mark.slow
def test_an_entry_of_two_gigabytes_is_named_and_not_read(
    home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    zim = tmp_path / "big.zim"
    subprocess.run([sys.executable, "-c", HUGE, zim, str(2**31)], check=True, capture_output=True, timeout=120)
    register(home, "x", [zim])
    result = describe(home)
    assert (result.counts["documents"], result.counts["failed"]) == (2, 1)
    assert "not read: big.zim/huge: too large: 2,048 MiB" in caplog.text
    measured = subprocess.run(
        [sys.executable, "-c", MEASURED, str(home.path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert max(map(int, measured.stdout.split())) < 160_000  # kilobytes
    assert SIZE_LIMIT < 2**31


PATHS = (
    "../../etc/passwd", "..", ".", "", "/etc/shadow", "A", "a", "%00", "a%2fb", "a/b", "a//b", "x" * 10_000,
    "line\nbreak", "a?b#c", "é", "e\N{COMBINING ACUTE ACCENT}", " ", "cut_here", "CON", "\x1b[31m", "page1", "page3",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("minilm")
def test_entries_of_any_name_are_documents_of_their_own(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    items = [(path, "t", "text/html", page(number)[3]) for number, path in enumerate(PATHS)]
    zim = build_zim(tmp_path / "names.zim", items, [("old", "A"), ("older", "old")], Language="eng")
    content = bytearray(zim.read_bytes().replace(b"cut_here", b"cut\0here"))
    dirents = find_dirents(bytes(content))
    order = sorted(dirents, key=str.encode)
    for redirect, target in (("old", "older"), ("older", "old")):  # a circle of two
        at = dirents[redirect] + 8
        content[at : at + 4] = order.index(target).to_bytes(4, "little")
    place = content.index(b"page3\0", dirents["page3"])
    content[place : place + 5] = b"page1"  # the same name twice
    zim.write_bytes(content)
    ended = kbjobs("run", "zim-index", zim, "--json")
    assert "\x1b" not in ended.stdout
    assert read_json_result(ended)["documents"] == len(PATHS) - 1
    keys = known(home, "names")
    assert len(keys) == len(PATHS) - 1
    assert {"names.zim/../../etc/passwd", "names.zim/A", "names.zim/a", "names.zim/%2500", "names.zim/cut"} <= set(keys)
    assert verify(home, "names").ok
    assert {path.name for path in home.sources.iterdir()} == {"names"}
    again = read_json_result(kbjobs("run", "zim-index", zim, "--json"))
    assert (again["embedded"], again["unchanged"]) == (0, len(keys))
    kbjobs("run", "zim-inspect", zim)


def read_json_result(ended: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """The result of the job whose end is the last line."""
    result: dict[str, object] = json.loads(ended.stdout.splitlines()[-1])["job"]["result"]
    return result


def test_files_that_are_not_what_their_names_say(home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pages = write_pages(tmp_path / "pages", 1)
    (pages / "page.zim").write_text("<title>No archive</title><p>A page.</p>")
    (pages / "empty.zim").touch()
    pdf = make_pdf([set_lines("Rain is kept in a barrel of oak.")], "Rain")
    (pages / "pdf.html").write_bytes(pdf)
    (pages / "pdf.txt").write_bytes(pdf)
    (pages / "html.pdf").write_text("<!doctype html><title>A page</title><p>The kettle sings.</p>")
    zim = build_zim(tmp_path / "real.zim", [page(number) for number in range(3)], Language="eng")
    shutil.copy(zim, pages / "zim.pdf")
    shutil.copy(zim, pages / "zim.html")
    shutil.copy(zim, pages / "good.zim")
    (pages / "folder.zim").mkdir()
    (pages / "folder.zim" / "inner.html").write_text("<title>Inner</title><p>The wind sings.</p>")
    register(home, "x", [pages])
    result = describe(home)
    end_clearly(home, result, caplog)
    assert sorted(known(home)) == [
        "pages/folder.zim/inner.html", "pages/good.zim/page0", "pages/good.zim/page1", "pages/good.zim/page2",
        "pages/html.pdf", "pages/page0.html", "pages/pdf.html", "pages/pdf.txt",
    ]  # fmt: skip
    failed = dict(re.findall(r"not read: pages/([^:]*): (.*)", caplog.text))
    assert sorted(failed) == ["empty.zim", "page.zim", "zim.html", "zim.pdf"]
    assert "not a ZIM file" in failed["page.zim"]
    assert "empty file" in failed["empty.zim"]
    assert "binary" in failed["zim.pdf"]


# -- a source that changes while it is read ----------------------------------------------------------


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"<p>More." * 1_000)


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "grows": append,
    "shrinks": lambda path: os.truncate(path, path.stat().st_size // 2),
    "is emptied": lambda path: os.truncate(path, 0),
    "vanishes": Path.unlink,
    "is replaced": lambda path: path.with_name("other").replace(path),
    "becomes a folder": put_folder,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_page_that_changes_between_the_look_and_the_read(home: Home, tmp_path: Path, change: str) -> None:
    pages = write_pages(tmp_path / "pages", 40)
    register(home, "x", [pages])
    describe(home)
    before = known(home)
    page0 = pages / "page0.html"
    original = page0.read_bytes()
    (pages / "other").write_text("<title>Another</title><p>Quite another page.</p>")
    result = describe(home, at=Once(lambda: CHANGES[change](page0), 1), force=True)
    after = known(home)
    assert after.keys() == before.keys()
    assert result.failed == (change in ("vanishes", "becomes a folder", "is emptied"))
    if result.failed:
        assert after == before
    if page0.is_dir():
        page0.rmdir()
    page0.write_bytes(original)
    assert describe(home).failed == 0
    assert known(home) == before


@pytest.mark.slow
@pytest.mark.parametrize("change", rest_full(CHANGES, "shrinks", "is replaced"))
def test_a_zim_file_that_changes_while_it_is_read(
    home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    zim = build_zim(pages / "file.zim", [page(number, 600) for number in range(600)], Language="eng")
    original = zim.read_bytes()
    register(home, "x", [pages])
    describe(home)
    before = known(home)
    assert len(before) == 600
    newer = [page(number, 600) for number in range(590)] + [page(number + 5_000, 600) for number in range(10)]
    build_zim(tmp_path / "newer.zim", newer, Language="eng")
    (tmp_path / "newer.zim").replace(pages / "other")
    result = describe(home, at=Once(lambda: CHANGES[change](zim), 200), force=True)
    end_clearly(home, result, caplog)
    assert before.keys() <= known(home).keys()
    if change != "is replaced":
        if zim.is_dir():
            zim.rmdir()
        zim.write_bytes(original)
    last = describe(home)
    assert last.failed == 0
    assert len(known(home)) == 600
    assert (known(home) == before) == (change != "is replaced")
    assert describe(home).counts["unchanged"] == 600


def test_an_archive_that_may_not_be_read_now_keeps_its_documents(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = write_pages(tmp_path / "pages", 40)
    zim = build_zim(pages / "file.zim", [page(number) for number in range(5)], Language="eng")
    register(home, "x", [pages])
    describe(home)
    before = known(home)
    judge = FileSearch._judge_file

    def refuse(search: FileSearch, path: str, relative: str, key: str, *rest: object) -> object:
        if path == str(zim):  # what root is never told
            return SkippedFile(key, "permission denied", still_there=True)
        return judge(search, path, relative, key, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(FileSearch, "_judge_file", refuse)
        result = describe(home)
    assert (result.failed, result.counts["removed"]) == (1, 0)
    assert known(home) == before


def test_an_archive_that_vanishes_during_the_walk(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zim = build_zim(tmp_path / "named-by-the-user", [page(number) for number in range(5)], Language="eng")
    register(home, "x", [zim])
    describe(home)
    before = known(home)
    access = os.access

    def vanish(path: str, mode: int) -> bool:
        there = access(path, mode)
        if path == str(zim):
            zim.unlink()
        return there

    monkeypatch.setattr(os, "access", vanish)
    result = describe(home)
    assert (result.counts["documents"], result.counts["removed"]) == (5, 0)
    assert known(home) == before


def test_entries_whose_names_are_damaged_keep_their_documents(
    home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Which of the known ones a damaged name was, nobody can say: none is removed."""
    zim = build_zim(tmp_path / "file.zim", [page(number) for number in range(100, 150)], Language="eng")
    register(home, "x", [zim])
    describe(home)
    before = known(home)
    content = bytearray(zim.read_bytes())
    place = content.index(b"page149\0", find_dirents(bytes(content))["page149"])
    content[place + 6] = 0xFF  # no UTF-8
    zim.write_bytes(content)
    result = describe(home)
    assert (result.counts["removed"], result.failed) == (0, 1)
    assert "none is removed" in caplog.text
    assert known(home) == before


# -- a disk that fills up ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("minilm")
@pytest.mark.parametrize("job_type", rest_full(["zim_index", "metadata"], "metadata"))
def test_a_disk_that_fills_up(
    small_disk: Path, tmp_path: Path, home: Home, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch, job_type: str
) -> None:
    full = Home(small_disk / "home")
    monkeypatch.setenv("KBJOBS_HOME", str(full.path))
    full.path.mkdir()
    (full.path / "engines").symlink_to(home.engines.resolve())
    zim = build_zim(tmp_path / "wiki.zim", [page(number) for number in range(40)], Language="eng")
    kbjobs("run", "zim-index", zim, "--quiet")
    before = known(full, "wiki")
    larger = build_zim(tmp_path / "larger.zim", [page(number, 120) for number in range(600)], Language="eng")
    larger.replace(zim)
    command = ["zim-index", str(zim)] if job_type == "zim_index" else ["metadata", "wiki"]
    job = int(kbjobs("run", *command, "--detach").stdout)
    filler = fill_disk(small_disk, 300_000)
    try:
        ended = kbjobs("wait", job, check=7)
        assert "full" in ended.stderr
        assert "Traceback" not in ended.stderr
        # What was published before is searched as before.
        assert len(read_json(kbjobs("search", "wiki", "well in the wind", "-k", "50", "--json"))) == 40
        assert before.keys() <= known(full, "wiki").keys()
        filler.unlink()
        kbjobs("resume", job)
        found = known(full, "wiki")
        assert len(found) == 600
    finally:
        kbjobs("daemon", "stop", "--now", check=None)
    register(home, "calm", [zim])
    describe(home, "calm")
    assert known(home, "calm") == found
