"""Building packs: one state, the same bytes, little memory, and little that is new after a small change."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ConflictError, MissingRequirementError, NotFoundError, UnavailableError
from kbjobs.packs.backup_parts import PIECE
from kbjobs.packs.backup_unpacking import restore_backup
from kbjobs.packs.inspecting import verify_pack
from kbjobs.packs.pack_building import PackBuilder
from kbjobs.packs.pack_reading import Pack, open_pack
from kbjobs.packs.parts import MAX_SIZE, TARGET
from kbjobs.packs.targets import FileTarget, write_pack
from kbjobs.services.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import write_pages
from tests.packs.conftest import build, place_of
from tests.packs.sources import Facts, fill, make_source, page, texts_of, vector_of


def parts_of(folder: SourceFolder, include_backup: bool = False) -> tuple[list[bytes], bytes]:
    """All parts and the manifest."""
    with PackBuilder(folder, include_backup) as builder:
        parts = [sealed.data for sealed in builder.parts()]
        return parts, builder.manifest.encode()


def read(folder: SourceFolder, store: Path, include_backup: bool = False) -> Pack:
    with open_pack(place_of(store, build(folder, store, include_backup))) as pack:
        return pack


def test_all_that_a_source_holds_is_in_its_pack(wiki: SourceFolder, tmp_path: Path) -> None:
    pack = read(wiki, tmp_path / "store")
    pages = {one.doc_id: one for one in (page("wiki", number) for number in range(5))}
    documents = {one.doc_id: one for one in pack.documents()}
    assert list(documents) == sorted(pages)
    for doc_id, one in pages.items():
        found = documents[doc_id]
        assert (found.path, found.url, found.title, found.language) == (one.path, one.url, one.title, "en")
        assert (found.content_hash, found.words, found.reader, found.filtered) == (one.content_hash, 7, "2.3", False)
    facts = Facts()
    for known in pack.metadata():
        assert (known.snippet, known.headings, known.authors) == (facts.snippet, [(1, "A heading")], ["Ann"])
        assert (known.published, known.kind, known.categories) == ("2024-05", "how-to", ["Water"])
    targets = {documents[link.doc_id].title: link.target for link in pack.links()}
    assert targets == {
        one.title: page("wiki", number + 1).doc_id if number < 4 else None for number, one in enumerate(pages.values())
    }
    (profile,) = pack.manifest.profiles
    passages = list(pack.passages(profile))
    assert {(one.doc_id, one.ordinal, one.text) for one in passages} == {
        (doc_id, cut.ordinal, cut.text) for doc_id, one in pages.items() for cut in texts_of(one)
    }
    (model,) = pack.manifest.models
    assert (model.key, model.name, model.dimension, model.profile) == ("tiny-0123456789ab", "tiny", 8, 0)
    vectors = {
        name: row.tobytes()
        for block in pack.vectors(model)
        for name, row in zip(block.text_hashes, block.rows, strict=True)
    }
    assert vectors == {cut.text_hash: vector_of(cut.text_hash) for one in pages.values() for cut in texts_of(one)}
    assert list(vectors) == list(dict.fromkeys(one.text_hash for one in passages)), "in the order of the passages"
    assert pack.manifest.languages == {"en": 5}
    verify_pack(pack)


def test_the_same_state_gives_the_same_bytes(home: Home, tmp_path: Path) -> None:
    """However the ledger came to be: in another order, with vectors of texts that are gone, at another time."""
    folder = make_source(home, tmp_path)
    first = parts_of(folder, include_backup=True)
    assert parts_of(folder, include_backup=True) == first
    fill(folder, [page("wiki", 7), page("wiki", 1)])
    with Ledger(folder.ledger) as ledger:
        ledger.delete_documents([page("wiki", 7).doc_id])
        ledger.connection.execute("VACUUM")
    for path in (tmp_path / "pages").iterdir():
        os.utime(path, (1, 1))
    assert parts_of(folder, include_backup=True) == first


def test_a_pack_in_one_file_is_the_same_bytes_too(wiki: SourceFolder, tmp_path: Path) -> None:
    for name in ("a.kbpack", "b.kbpack"):
        with PackBuilder(wiki, True) as builder, FileTarget(tmp_path / name) as target:
            write_pack(builder, target)
    assert (tmp_path / "a.kbpack").read_bytes() == (tmp_path / "b.kbpack").read_bytes()
    assert sorted(path.name for path in tmp_path.glob("*kbpack*")) == ["a.kbpack", "b.kbpack"]


def test_a_pack_is_of_one_moment_while_jobs_write(wiki: SourceFolder, tmp_path: Path) -> None:
    """Between any two parts a job adds, changes and deletes documents."""
    before = parts_of(wiki)
    with PackBuilder(wiki) as builder:
        parts = []
        for number, sealed in enumerate(builder.parts(), 100):
            parts.append(sealed.data)
            fill(wiki, [page("wiki", number), page("wiki", 3, title=f"Changed {number}")])
            with Ledger(wiki.ledger) as ledger:
                ledger.delete_documents([page("wiki", number - 99).doc_id])
        assert (parts, builder.manifest.encode()) == before
    assert parts_of(wiki) != before


def test_what_is_filtered_has_no_passages(wiki: SourceFolder, tmp_path: Path) -> None:
    first = sorted(page("wiki", number).doc_id for number in range(5))[0]
    with Ledger(wiki.ledger) as ledger:
        ledger.connection.execute("UPDATE documents SET filtered = 1 WHERE doc_id = ?", (first,))
    pack = read(wiki, tmp_path / "store")
    verify_pack(pack)
    assert [one.doc_id for one in pack.documents() if one.filtered] == [first]
    assert pack.manifest.filtered == 1
    passages = list(pack.passages(pack.manifest.profiles[0]))
    assert first not in {one.doc_id for one in passages}
    assert pack.manifest.models[0].vectors == len({one.text_hash for one in passages}) == 5, "also the one it shared"


def test_models_that_share_a_profile_share_its_passages(wiki: SourceFolder, tmp_path: Path) -> None:
    fill(wiki, [page("wiki", number) for number in range(5)], "other-0123456789ab", 16)
    with Ledger(wiki.ledger) as ledger:
        cleared = ledger.model("cleared-0123456789ab", "cleared", 8, ledger.profile("tokens 512 2"))
        ledger.put_vectors(cleared, [("0" * 32, vector_of("0" * 32))])
        ledger.connection.execute("UPDATE models SET cleared = 1 WHERE id = ?", (cleared,))
        ledger.model("never-run-0123456789ab", "never-run", 8, ledger.profile("tokens 1024 2"))
    pack = read(wiki, tmp_path / "store")
    verify_pack(pack)
    assert [model.key for model in pack.manifest.models] == ["other-0123456789ab", "tiny-0123456789ab"]
    assert len(pack.manifest.profiles) == 1


def test_a_source_that_was_not_embedded(wiki: SourceFolder, tmp_path: Path) -> None:
    with Ledger(wiki.ledger) as ledger:
        ledger.connection.execute("DELETE FROM vectors")
    pack = read(wiki, tmp_path / "store")
    verify_pack(pack)
    assert (pack.manifest.models, pack.manifest.profiles, pack.manifest.documents.records) == ([], [], 5)


def test_what_cannot_be_packed(home: Home, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        PackBuilder(SourceFolder(home.sources, "none"))
    home.prepare()
    register(home, "new", [write_pages(tmp_path / "new", 1)])
    with pytest.raises(MissingRequirementError, match="was never read"):
        PackBuilder(SourceFolder(home.sources, "new"))


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE vectors SET vector = zeroblob(32) WHERE id = 2", "has a vector of length 0"),
        ("UPDATE vectors SET vector = zeroblob(31) WHERE id = 2", "has not 8 numbers"),
        ("UPDATE documents SET content_hash = 'x'", "content_hash: "),
        ("UPDATE chunks SET text = 'a' || char(27)", "text: "),
    ],
)
def test_a_ledger_that_holds_what_cannot_be_read_again(
    wiki: SourceFolder, tmp_path: Path, statement: str, message: str
) -> None:
    with Ledger(wiki.ledger) as ledger:
        ledger.connection.execute(statement)
    with pytest.raises(UnavailableError, match=message) as refused:
        build(wiki, tmp_path / "store")
    assert "source 'wiki' has something that cannot be in a pack" in refused.value.message
    assert not (tmp_path / "store" / "packs").exists()


# -- the backup --------------------------------------------------------------------------------------


def test_the_backup_gives_back_every_file(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "a" / "pages", 3)
    others = write_pages(tmp_path / "b" / "pages", 2, "Other words")
    names = ("100%.html", "käse & brot.html", "new\nline.html", "\udcff.html", "sub/deep/x.md", "empty.txt", "big.pdf")
    for name in names:
        path = pages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            os.urandom(2 * PIECE + 5) if name == "big.pdf" else b"" if name == "empty.txt" else b"<p>words"
        )
    (pages / ".hidden.html").write_text("hidden-file")
    (pages / "link.html").symlink_to("/etc/passwd")
    (pages / "exact.pdf").write_bytes(bytes(PIECE))
    (tmp_path / "one.txt").write_text("A file that is a root")
    home.prepare()
    register(home, "wiki", [pages, others, tmp_path / "one.txt"])
    folder = SourceFolder(home.sources, "wiki")
    (folder.assets / "css").mkdir(parents=True)
    (folder.assets / "css" / "a.css").write_text("p {}")
    fill(folder, [page("wiki", 0)])
    pack = read(folder, tmp_path / "store", include_backup=True)
    verify_pack(pack)
    out = tmp_path / "out"
    out.mkdir()
    roots = restore_backup(pack, out)
    assert roots == [out / "pages" / "1" / "pages", out / "pages" / "2" / "pages", out / "pages" / "3" / "one.txt"]
    for name in (*names, "page0.html", "exact.pdf"):
        assert (roots[0] / name).read_bytes() == (pages / name).read_bytes(), name
        assert (roots[0] / name).stat().st_mode & 0o777 == 0o600
    assert (roots[1] / "page1.html").read_bytes() == (others / "page1.html").read_bytes()
    assert roots[2].read_text() == "A file that is a root"
    assert (out / "assets" / "css" / "a.css").read_text() == "p {}"
    there = sum(path.is_file() for path in out.rglob("*"))
    assert there == pack.manifest.backup.files.records == len(names) + 3 + 1 + 2 + 1 + 1  # type: ignore[union-attr]


def test_hidden_roots_and_roots_without_files(home: Home, tmp_path: Path) -> None:
    home.prepare()
    pages = [write_pages(tmp_path / name, 1) for name in (".wiki", "empty", "other")]
    register(home, "wiki", [*pages, pages[2] / "page0.html"])
    (pages[1] / "page0.html").unlink()
    folder = SourceFolder(home.sources, "wiki")
    fill(folder, [page("wiki", 0)])
    pack = read(folder, tmp_path / "store", include_backup=True)
    verify_pack(pack)
    (tmp_path / "out").mkdir()
    roots = restore_backup(pack, tmp_path / "out")
    assert roots == [tmp_path / "out" / "pages" / "1" / ".wiki", tmp_path / "out" / "pages" / "3" / "other"]


def test_a_split_archive_is_taken_whole(home: Home, tmp_path: Path) -> None:
    (tmp_path / "zims").mkdir()
    for suffix in ("aa", "ab", "ac"):
        (tmp_path / "zims" / f"w.zim{suffix}").write_bytes(b"ZIM\x04" + suffix.encode())
    home.prepare()
    register(home, "wiki", [tmp_path / "zims"])
    folder = SourceFolder(home.sources, "wiki")
    fill(folder, [page("wiki", 0)])
    pack = read(folder, tmp_path / "store", include_backup=True)
    assert [one.name for one in pack.files()] == [f"pages/1/zims/w.zim{suffix}" for suffix in ("aa", "ab", "ac")]


def test_names_that_differ_in_case_only_come_back_where_that_is_possible(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 1)
    for name in ("Water.html", "water.html"):
        (pages / name).write_text(name)
    home.prepare()
    register(home, "wiki", [pages])
    folder = SourceFolder(home.sources, "wiki")
    fill(folder, [page("wiki", 0)])
    pack = read(folder, tmp_path / "store", include_backup=True)
    verify_pack(pack)
    assert pack.manifest.backup is not None
    assert pack.manifest.backup.case_sensitive
    (tmp_path / "out").mkdir()
    (root,) = restore_backup(pack, tmp_path / "out")
    assert {path.name: path.read_text() for path in root.glob("?ater.html")} == {
        "Water.html": "Water.html",
        "water.html": "water.html",
    }


def test_a_file_that_changes_while_it_is_read(home: Home, tmp_path: Path) -> None:
    folder = make_source(home, tmp_path)
    big = tmp_path / "pages" / "z.pdf"
    big.write_bytes(bytes(3 * PIECE))
    with PackBuilder(folder, True) as builder:
        parts = builder.parts()
        while next(parts).part.size < PIECE:
            pass
        os.utime(big, (5, 5))
        with pytest.raises(ConflictError, match=r"z\.pdf was changed while it was read"):
            list(parts)


def test_a_file_that_is_gone_or_becomes_a_link(home: Home, tmp_path: Path) -> None:
    folder = make_source(home, tmp_path)
    path = tmp_path / "pages" / "page3.html"
    changes: list[Callable[[], None]] = [lambda: None, lambda: path.symlink_to("/etc/passwd"), lambda: os.mkfifo(path)]
    for change in changes:
        with PackBuilder(folder, True) as builder:
            path.unlink()
            change()
            with pytest.raises(UnavailableError, match=r"page3\.html"):
                list(builder.parts())
        path.unlink(missing_ok=True)
        path.write_text("again")


def test_a_root_that_is_gone(home: Home, tmp_path: Path) -> None:
    folder = make_source(home, tmp_path)
    (tmp_path / "pages").rename(tmp_path / "moved")
    with pytest.raises(NotFoundError, match="cannot be reached"):
        PackBuilder(folder, True)
    assert parts_of(folder)


# -- what is sent again ------------------------------------------------------------------------------


WIDE = "wide-0123456789ab"


def many(folder: SourceFolder, count: int, dimension: int = 256) -> None:
    """Many documents of two large passages each: tables of several parts."""
    with Ledger(folder.ledger) as ledger:
        profile = ledger.profile("tokens 256 2")
        model = ledger.model(WIDE, "wide", dimension, profile)
        random = np.random.default_rng(1)
        rows = random.standard_normal((count * 2, dimension)).astype("<f4")
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        for start in range(0, count, 1000):
            batch = []
            vectors = []
            for number in range(start, min(count, start + 1000)):
                one = page(folder.id, number)
                cuts = [
                    type(cut)(cut.ordinal, f"{cut.text} {number} " + "words " * 200, 200) for cut in texts_of(one, 2)
                ]
                batch.append((one, "", cuts))
                vectors += [(cut.text_hash, rows[2 * number + cut.ordinal].tobytes()) for cut in cuts]
            ledger.put_documents(profile, "2.3 x", batch)
            ledger.put_vectors(model, vectors)


@pytest.mark.full
@pytest.mark.slow
def test_a_small_change_changes_few_parts(home: Home, tmp_path: Path) -> None:
    folder = make_source(home, tmp_path)
    many(folder, 12_000)
    first = build(folder, tmp_path / "store")
    assert first.parts > 12
    sizes = [part.unpacked for part in first.manifest.parts()]
    assert max(sizes) < MAX_SIZE + TARGET
    fill_again = page("wiki", 777, title="Changed", content_hash="c" * 64)
    with Ledger(folder.ledger) as ledger:
        profile = ledger.profile("tokens 256 2")
        cuts = [type(cut)(cut.ordinal, f"{cut.text} changed", 9) for cut in texts_of(fill_again, 5)]
        ledger.put_documents(profile, "2.3 x", [(fill_again, "", cuts)])
        wide = ledger.model(WIDE, "wide", 256, profile)
        ledger.put_vectors(wide, [(cut.text_hash, vector_of(cut.text_hash, 256)) for cut in cuts])
        ledger.delete_documents([page("wiki", 5).doc_id])
    second = build(folder, tmp_path / "store")
    assert second.version != first.version
    # Two documents of different places: at most two parts of each of the tables, and one more where a cut moved.
    assert second.new_parts <= 2 * 5 + 2
    assert second.new_parts < second.parts / 2
    with open_pack(place_of(tmp_path / "store", second)) as pack:
        verify_pack(pack)


def test_a_changed_file_changes_its_part_alone(home: Home, tmp_path: Path) -> None:
    folder = make_source(home, tmp_path)
    for name in ("a.zim", "b.zim"):
        (tmp_path / "pages" / name).write_bytes(b"ZIM\x04" + os.urandom(3 * PIECE))
    first = build(folder, tmp_path / "store", True)
    with (tmp_path / "pages" / "b.zim").open("r+b") as file:
        file.seek(PIECE + 5)
        file.write(b"x")
    second = build(folder, tmp_path / "store", True)
    assert (first.new_parts, second.new_parts) == (first.parts, 2)  # the piece, and the list of files


def test_nothing_is_written_again(wiki: SourceFolder, tmp_path: Path) -> None:
    first = build(wiki, tmp_path / "store", True)
    again = build(wiki, tmp_path / "store", True)
    assert (again.version, again.new_parts, again.new_bytes) == (first.version, 0, 0)


# -- memory ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_large_archive_needs_little_memory(home: Home, tmp_path: Path) -> None:
    """300 MB, in a process of its own, which says how much memory it had at most."""
    make_source(home, tmp_path)
    with (tmp_path / "pages" / "large.zim").open("wb") as file:
        file.write(b"ZIM\x04")
        for _ in range(300):
            file.write(os.urandom(1 << 20))
    program = (
        "import resource, sys\nfrom pathlib import Path\nfrom kbjobs.store.sources import SourceFolder\n"
        "from kbjobs.packs.pack_building import PackBuilder\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "begun = peak()\n"
        "with PackBuilder(SourceFolder(Path(sys.argv[1]), 'wiki'), True) as builder:\n"
        "    size = sum(sealed.part.size for sealed in builder.parts())\n"
        "    assert builder.done_bytes > 300 << 20 and builder.expected_bytes > 300 << 20\n"
        "print(size, peak() - begun)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(home.sources)], capture_output=True, text=True, check=True
    )
    size, memory = map(int, ended.stdout.split())
    assert size > 300 << 20
    assert memory < 100
