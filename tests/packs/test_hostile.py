"""Packs that were made to do harm, by mistake, or that broke on their way: each is refused, and the file is named."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from numpy.lib import format as npy

from kbjobs.errors import ExitCode, KbjobsError, NotFoundError, UnavailableError, UsageError
from kbjobs.packs.backup_unpacking import restore_backup
from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.inspecting import verify_pack
from kbjobs.packs.manifest import MAX_MANIFEST, MAX_PART
from kbjobs.packs.pack_building import PackBuilder
from kbjobs.packs.pack_reading import open_pack
from kbjobs.packs.targets import FileTarget, write_pack
from kbjobs.store.sources import SourceFolder
from tests.packs.conftest import Forger
from tests.packs.sources import DIMENSION

MEMORY = 400 * 1024 * 1024


def refusal(place: str, kind: type[KbjobsError] = DamagedPackError) -> str:
    """What is said of a pack that is refused, with the exit code of what is damaged, in little time and memory."""
    tracemalloc.start()
    begun = time.monotonic()
    try:
        with pytest.raises(kind) as refused, open_pack(place) as pack:
            verify_pack(pack)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert time.monotonic() - begun < 30
    assert refused.value.hint
    assert refused.value.exit_code == (ExitCode.UNAVAILABLE if kind is DamagedPackError else refused.value.exit_code)
    return refused.value.message


def test_the_pack_that_is_changed_below_is_whole(forger: Forger, tmp_path: Path) -> None:
    with open_pack(forger.write()) as pack:
        verify_pack(pack)
        (tmp_path / "out").mkdir()
        assert restore_backup(pack, tmp_path / "out") == [tmp_path / "out" / "pages" / "1" / "pages"]


# -- the manifest ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Expecting value"),
        (b"PK\x03\x04", "Expecting value"),
        (b"\xff\xfe{", "can't decode byte"),
        (b"[1, 2]", "is no JSON object"),
        (b'{"format": 1, "minor": 0', "Expecting"),
        (b'{"format": 1, "format": 1}', "has a field twice"),
        (b'{"format": 1, "minor": NaN}', "NaN is no JSON"),
        (b'{"format": ' + b"9" * 5_000 + b"}", "digits"),
        (b'{"format": 1, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is nested too deeply"),
        (b'{"format": 1, ' + b",".join(b'"%d":1' % n for n in range(700_000)) + b"}", "an object has 700,001 fields"),
        (b"{}", "it has no format"),
        (b'{"format": true}', "it has no format"),
        (b'{"format": 1}', "minor: Field required"),
    ],
)
def test_no_manifest(forger: Forger, text: bytes, reason: str) -> None:
    message = refusal(forger.write_text(text))
    assert "/manifest.json is not a pack that can be used: packs/wiki/" in message
    assert reason in message


def test_a_manifest_of_a_gigabyte(forger: Forger) -> None:
    place = forger.write()
    os.truncate(place, 1 << 30)
    assert f"has more than the {MAX_MANIFEST:,} bytes it may have" in refusal(place)


def test_a_manifest_of_millions_of_mistakes(forger: Forger) -> None:
    forger.values["documents"]["parts"] = [1] * 2_000_000
    assert "documents.parts.0: Input should be" in refusal(forger.write())


def test_a_cut_or_changed_manifest(forger: Forger) -> None:
    place = Path(forger.write())
    place.write_text(place.read_text().replace("Page", "Pagf").replace('"wiki"', '"wiki" '))
    assert "it was changed or moved" in refusal(str(place))
    os.truncate(place, place.stat().st_size // 2)
    assert "cannot be read" in refusal(str(place))


def test_a_newer_format(forger: Forger) -> None:
    forger.values["format"] = 2
    message = refusal(forger.write(), UnavailableError)
    assert "has format 2, this program knows 1" in message


def test_a_newer_minor_version_may_say_more(forger: Forger) -> None:
    forger.values["minor"] = 7
    forger.values["colour"] = "green"
    forger.values["source"]["colour"] = "green"
    forger.change(forger.values["documents"], lambda records: records[0].update(colour="green"))
    with open_pack(forger.write()) as pack:
        verify_pack(pack)
        assert pack.manifest.minor == 7


def test_this_minor_version_may_not(forger: Forger) -> None:
    forger.values["source"]["colour"] = "green"
    assert "source.colour: Extra inputs are not permitted" in refusal(forger.write())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("source.id", "../../etc"),
        ("source.id", "/etc"),
        ("source.id", "CON"),
        ("source.id", "con"),
        ("source.base_url", "file:///etc/passwd"),
        ("source.base_url", "https://user:word@example.org/"),
        ("source.base_url", "javascript:alert(1)"),
        ("source.name", "\x1b]0;owned\x07"),
        ("source.name", "x" * 3_000),
        ("models.0.key", "../../../tmp/x"),
        ("models.0.key", ".hidden"),
        ("models.0.profile", 5),
        ("models.0.vectors", 5_000),
        ("models.0.dimension", 10**9),
        ("models.0.dimension", -1),
        ("models.0.dimension", "8"),
        ("models.0.dimension", 8.0),
        ("documents.records", True),
        ("filtered", 6),
        ("documents.parts.0.sha256", "../../../../etc/passwd"),
        ("documents.parts.0.sha256", "A" * 64),
        ("documents.parts.0.size", MAX_PART + 1),
        ("documents.parts.0.size", 0),
        ("documents.parts.0.unpacked", MAX_PART),
        ("documents.parts.0.packing", "gzip"),
        ("models.0.blocks.0.vectors.unpacked", 7),
    ],
)
def test_a_value_that_cannot_be(forger: Forger, path: str, value: Any) -> None:
    *steps, last = path.split(".")
    place: Any = forger.values
    for step in steps:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value
    message = refusal(forger.write())
    assert "manifest.json cannot be read: " in message


def test_a_model_twice(forger: Forger) -> None:
    forger.values["models"].append({**forger.values["models"][0], "key": forger.values["models"][0]["key"].upper()})
    assert "a profile or model stands in it twice" in refusal(forger.write())


# -- the parts ---------------------------------------------------------------------------------------


def documents_part(forger: Forger) -> Path:
    return forger.store / "objects" / forger.values["documents"]["parts"][0]["sha256"]


def test_a_changed_part(forger: Forger) -> None:
    path = documents_part(forger)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert f"objects/{path.name} was changed" in refusal(forger.write())


def test_a_cut_part(forger: Forger) -> None:
    path = documents_part(forger)
    os.truncate(path, path.stat().st_size - 1)
    assert f"objects/{path.name} has {path.stat().st_size:,} bytes, not the" in refusal(forger.write())


def test_a_part_that_goes_on(forger: Forger) -> None:
    path = documents_part(forger)
    os.truncate(path, 1 << 40)
    assert f"objects/{path.name} has " in refusal(forger.write())


def test_a_missing_part(forger: Forger) -> None:
    path = documents_part(forger)
    path.unlink()
    assert f"objects/{path.name} is missing" in refusal(forger.write())


def test_a_part_that_is_a_link_a_pipe_or_a_device(forger: Forger, tmp_path: Path) -> None:
    path = documents_part(forger)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    place = forger.write()
    refusal(place, UnavailableError)
    path.unlink()
    os.mkfifo(path)
    assert f"objects/{path.name} is not a regular file" in refusal(place)
    path.unlink()
    path.mkdir()
    assert f"objects/{path.name} is not a regular file" in refusal(place)


def test_a_bomb(forger: Forger) -> None:
    packed = zstandard.ZstdCompressor(level=19).compress(bytes(MAX_PART))
    forger.values["documents"]["parts"] = [forger.put_packed(packed, MAX_PART)]
    assert f"{len(packed):,} bytes would become {MAX_PART:,}" in refusal(forger.write())


def test_a_bomb_that_lies_of_its_size(forger: Forger) -> None:
    packed = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 30))
    forger.values["documents"]["parts"] = [forger.put_packed(packed, 1_000_000)]
    assert "would become 1,073,741,824 bytes, not the 1,000,000 of the manifest" in refusal(forger.write())


def test_a_bomb_that_does_not_tell_its_size(forger: Forger) -> None:
    stream = zstandard.ZstdCompressor(level=19).compressobj()
    packed = stream.compress(bytes(1 << 30)) + stream.flush()
    forger.values["documents"]["parts"] = [forger.put_packed(packed, 1_000_000)]
    assert "would become -1 bytes" in refusal(forger.write())


@pytest.mark.parametrize("behind", [b"more", zstandard.ZstdCompressor().compress(b"more")])
def test_more_behind_the_frame(forger: Forger, behind: bytes) -> None:
    packed = zstandard.ZstdCompressor().compress(bytes(1_000))
    forger.values["documents"]["parts"] = [forger.put_packed(packed + behind, 1_000)]
    assert "cannot be unpacked" in refusal(forger.write())


def test_a_frame_that_is_cut_or_none(forger: Forger) -> None:
    packed = zstandard.ZstdCompressor().compress(os.urandom(1_000))
    for data in (packed[:-10], b"\x28\xb5\x2f\xfd", bytes(100)):
        forger.values["documents"]["parts"] = [forger.put_packed(data, 1_000)]
        assert f"objects/{hashlib.sha256(data).hexdigest()}" in refusal(forger.write())


def test_a_frame_that_wants_a_gigabyte_of_memory(forger: Forger) -> None:
    settings = zstandard.ZstdCompressionParameters.from_level(3, window_log=30, enable_ldm=True)
    packed = bytearray(zstandard.ZstdCompressor(compression_params=settings).compress(os.urandom(1 << 20) * 2))
    forger.values["documents"]["parts"] = [forger.put_packed(bytes(packed), 2 << 20)]
    refusal(forger.write())


# -- the records -------------------------------------------------------------------------------------


def put_lines(forger: Forger, *lines: bytes) -> None:
    forger.values["documents"] = {"records": len(lines), "parts": [forger.put(b"".join(lines))]}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\n", "line 1: Expecting value"),
        (b"{}", "its last line does not end"),
        (b"[]\n", "line 1: Input should be"),
        (b"{" + b",".join(b'"%d":1' % n for n in range(300_000)) + b"}\n", "an object has 300,000 fields"),
        (b'{"doc_id": ' + b"[" * 200_000 + b"\n", "is nested too deeply"),
        (b'{"a":"' + b"x" * (5 << 20) + b'"}\n', "a line has more than 4,194,304 bytes"),
        (b'{"a":' + b"1" * 10_000 + b"}\n", "digits"),
        (b'"\\ud800"\n', "line 1: "),
    ],
)
def test_no_record(forger: Forger, line: bytes, reason: str) -> None:
    put_lines(forger, line)
    message = refusal(forger.write())
    assert "(documents), line 1: " in message
    assert reason in message


def test_a_million_columns(forger: Forger) -> None:
    forger.values["metadata"]["parts"] = [forger.put(b"[" + b"[]," * 1_390_000 + b"[]]\n")]
    assert "(metadata), line 1: Input should be" in refusal(forger.write())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("doc_id", "x"),
        ("doc_id", "../" + "a" * 29),
        ("title", "\ud800"),
        ("title", "a\x00b"),
        ("title", "\x1b[2J"),
        ("title", "\u202egnp.exe"),
        ("url", "javascript:alert(1)"),
        ("url", "file:///etc/passwd"),
        ("url", "https://user:word@example.org/"),
        ("url", "https://"),
        ("url", "http://[/"),
        ("path", ""),
        ("path", "a\nb"),
        ("language", "en\n"),
        ("words", -1),
        ("words", 1e3),
        ("words", 2**60),
        ("filtered", 1),
    ],
)
def test_a_record_that_cannot_be(forger: Forger, name: str, value: Any) -> None:
    forger.change(forger.values["documents"], lambda records: records[2].update({name: value}))
    assert f"(documents), line 3: {name}: " in refusal(forger.write())


def test_records_twice_missing_or_not_in_order(forger: Forger) -> None:
    documents = forger.values["documents"]
    whole = forger.lines(documents)
    forger.change(documents, lambda records: records.insert(1, records[0]))
    assert f"has '{whole[0]['doc_id']}' twice, or not in order" in refusal(forger.write())
    forger.change(documents, lambda records: records.reverse())
    assert "twice, or not in order" in refusal(forger.write())
    forger.replace(documents, whole)
    documents["records"] += 1
    assert "has 5 records, not the 6 of the manifest" in refusal(forger.write())


def test_metadata_of_a_document_that_is_not_there(forger: Forger) -> None:
    forger.change(forger.values["metadata"], lambda records: records[-1].update(doc_id="f" * 32))
    assert f"(metadata) has the document {'f' * 32}, which is not there" in refusal(forger.write())


def test_a_link_that_leads_nowhere(forger: Forger) -> None:
    forger.change(forger.values["links"], lambda records: records[0].update(url=None, target=None))
    assert "leads nowhere" in refusal(forger.write())


def test_a_text_under_the_hash_of_another(forger: Forger) -> None:
    """Its vector would be taken for that of another text."""
    forger.change(forger.values["profiles"][0]["passages"], lambda records: records[0].update(text="Something else"))
    assert "whose hash is another one" in refusal(forger.write())


# -- the vectors -------------------------------------------------------------------------------------


def array(rows: Any, version: tuple[int, int] = (1, 0), **options: Any) -> bytes:
    file = io.BytesIO()
    npy.write_array(file, rows, version=version, **options)
    return file.getvalue()


def claim(header: bytes) -> bytes:
    """An array of a header of one's own, and a few numbers."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(100)


ROWS = np.tile(np.eye(1, DIMENSION, dtype="<f4"), (6, 1))


def spoiled(row: int, value: float) -> Any:
    rows = ROWS.copy()
    rows[row, 0] = value
    return rows


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (array(spoiled(3, np.nan)), "has a vector of length nan in row 3, not 1"),
        (array(spoiled(0, np.inf)), "has a vector of length inf in row 0"),
        (array(spoiled(0, 3e38)), "in row 0, not 1"),
        (array(spoiled(5, 0)), "has a vector of length 0 in row 5"),
        (array(ROWS[:5]), "has the shape (5, 8), not 6 vectors of 8 numbers"),
        (array(ROWS[:, :4].copy()), "has the shape (6, 4)"),
        (array(ROWS.reshape(6, 4, 2)), "has the shape (6, 4, 2)"),
        (array(ROWS.astype("<f8")), "holds <f8, not float32"),
        (array(ROWS.astype(">f4")), "holds >f4"),
        (array(np.asfortranarray(ROWS)), "in columns"),
        (array(np.array([{}] * 6, dtype=object), allow_pickle=True), "holds |O, not float32"),
        (array(ROWS, (2, 0)), "is no array in version 1.0"),
        (array(ROWS)[:-4], "bytes of numbers, not 192"),
        (array(ROWS) + b"more", "has 196 bytes of numbers"),
        (b"\x80\x04pickled", "is no array"),
        (b"\x93NUM", "is no array"),
        (claim(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 8), }\n"), "shape (1000000000, 8)"),
        (claim(b"{'descr': '<f4', 'fortran_order': False, 'shape': (6, 8), }\n"), "has 100 bytes of numbers"),
        (claim(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-6, 8), }\n"), "has a header that cannot"),
        (claim(b"(" * 500), "has a header that cannot be read"),
        (claim(b"{'descr': [('a', '<f4')] * 10, 'fortran_order': False, 'shape': (6, 8), }\n"), "cannot be read"),
        (claim(b"__import__('os').abort()\n"), "has a header that cannot be read"),
        (claim(b" " * 60_000), "has a header that cannot be read"),
    ],
)  # fmt: skip
def test_vectors_that_cannot_be(forger: Forger, data: bytes, reason: str) -> None:
    block = forger.values["models"][0]["blocks"][0]
    assert block["rows"] == len(ROWS)
    block["vectors"] = forger.put(data, is_packed=False)
    message = refusal(forger.write())
    assert f"objects/{block['vectors']['sha256']}" in message
    assert reason in message


def test_a_text_with_two_vectors(forger: Forger) -> None:
    block = forger.values["models"][0]["blocks"][0]
    lines = forger.read(block["texts"]).splitlines(keepends=True)
    block["texts"] = forger.put(b"".join([lines[1], *lines[1:]]))
    assert f"texts of {forger.values['models'][0]['key']} has a text twice" in refusal(forger.write())
    block["texts"] = forger.put(b"".join(lines[1:]))
    assert "has 5 texts, not the 6 of the manifest" in refusal(forger.write())


# -- the backup --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../x.html",
        "pages/1/../../../x.html",
        "pages/1/%2E%2E/%2E%2E/x.html",
        "pages/1/pages/..",
        "pages/1/..",
        "pages/1/.",
        "pages/1/../x.html",
        "pages/1/...",
        "assets/.x",
        "assets/../x",
        "pages/1/pages/.bashrc",
        "pages/1/pages/%2Ebashrc",
        "pages/1/pages/.",
        "pages/1/pages//x.html",
        "pages/1/pages/a%2Fb.html",
        "pages/1/pages/a%00b.html",
        "pages/1/pages/a%2",
        "pages/1/pages/a%zz",
        "pages/1/pages/" + "x" * 300,
        "pages/1/" + "x/" * 2_100 + "x.html",
        "pages/1/",
        "pages/0/x.html",
        "pages/x/x.html",
        "source.db",
        "manifest.json",
        "vectors/x/matrix.f32",
        "assets/",
        "Pages/1/x.html",
        "C:/x.html",
        "pages\\1\\x.html",
    ],
)
def test_a_name_that_leads_elsewhere(forger: Forger, tmp_path: Path, name: str) -> None:
    def rename(records: list[dict[str, Any]]) -> None:
        records[0]["name"] = name
        records.sort(key=lambda record: record["name"])

    forger.change(forger.values["backup"]["files"], rename)
    place = forger.write()
    assert ascii(name[:200]) in refusal(place)
    out = tmp_path / "out"
    out.mkdir()
    with open_pack(place) as pack, pytest.raises(DamagedPackError):
        restore_backup(pack, out)
    outside = {path.name for path in tmp_path.iterdir()}
    assert outside == {"home", "out", "pages", "store"}
    assert not (out / "source.db").exists()


def test_a_root_that_leads_elsewhere(forger: Forger, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for root in ("pages/1/../..", "pages/2/nothing", "/etc", "../x"):
        forger.values["backup"]["roots"] = [root]
        place = forger.write()
        assert re.search("root|no name", refusal(place))
        with open_pack(place) as pack, pytest.raises(DamagedPackError, match=r"root|no name"):
            restore_backup(pack, tmp_path / "out")
        for path in (tmp_path / "out").iterdir():
            path.rename(tmp_path / f"was-{root.replace('/', '-')}")


def test_two_files_of_one_name(forger: Forger) -> None:
    files = forger.values["backup"]["files"]
    forger.change(files, lambda records: records.insert(1, records[0]))
    assert "'pages/1/pages/page0.html' twice, or not in order" in refusal(forger.write())


@pytest.mark.parametrize("name", ["pages/1/pages/PAGE0.html", "pages/1/pages/%70age0.html"])
def test_names_that_differ_in_case_or_quoting_only(forger: Forger, name: str) -> None:
    backup = forger.values["backup"]
    forger.change(backup["files"], lambda records: records.insert(0, {**records[0], "name": name}))
    backup["bytes"] += forger.lines(backup["files"])[0]["size"]
    assert "'pages/1/pages/page0.html' differs from another name in nothing but case" in refusal(forger.write())


def test_the_same_name_quoted_otherwise_overwrites_nothing(forger: Forger, tmp_path: Path) -> None:
    backup = forger.values["backup"]
    first = forger.lines(backup["files"])[0]
    forger.change(backup["files"], lambda records: records.insert(0, {**first, "name": "pages/1/pages/%70age0.html"}))
    backup |= {"bytes": backup["bytes"] + first["size"], "case_sensitive": True}
    refuse_both(forger.write(), tmp_path, "stands where another file")


def refuse_both(place: str, tmp_path: Path, reason: str) -> None:
    """What an installation refuses is refused by a look at the pack too."""
    assert reason in refusal(place)
    (tmp_path / "out").mkdir()
    with open_pack(place) as pack, pytest.raises(DamagedPackError, match=reason):
        restore_backup(pack, tmp_path / "out")


def test_a_file_below_a_file(forger: Forger, tmp_path: Path) -> None:
    backup = forger.values["backup"]
    first = forger.lines(backup["files"])[0]
    below = {**first, "name": first["name"] + "/x.html"}
    forger.change(backup["files"], lambda records: records.insert(1, below))
    backup["bytes"] += first["size"]
    refuse_both(forger.write(), tmp_path, "stands where another file")


def test_a_file_in_the_place_of_a_folder(forger: Forger, tmp_path: Path) -> None:
    backup = forger.values["backup"]
    first = forger.lines(backup["files"])[0]
    forger.change(backup["files"], lambda records: records.insert(0, {**first, "name": "pages/1/pages"}))
    backup["bytes"] += first["size"]
    refuse_both(forger.write(), tmp_path, "stands where another file")


def test_a_folder_that_was_there_is_not_written_into(forger: Forger, tmp_path: Path) -> None:
    """A link in the place of a folder would lead all files elsewhere."""
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "pages").symlink_to(tmp_path / "elsewhere")
    with open_pack(forger.write()) as pack, pytest.raises(DamagedPackError, match="stands where another file"):
        restore_backup(pack, tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sha256": "0" * 64}, "was changed"),
        ({"size": 5}, "has pieces of another size"),
        ({"pieces": []}, "has pieces of another size"),
    ],
)
def test_a_file_that_is_not_as_it_is_said(forger: Forger, change: dict[str, Any], reason: str) -> None:
    forger.change(forger.values["backup"]["files"], lambda records: records[1].update(change))
    message = refusal(forger.write())
    assert "'pages/1/pages/page1.html'" in message or "files" in message
    assert reason in message


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        ({"part": 7}, "has a piece in part 7, which is not there"),
        ({"offset": 10**9}, "has a piece beyond the end of part 0"),
        ({"offset": 2**60}, "offset: Input should be"),
        ({"part": -1}, "part: Input should be"),
    ],
)
def test_a_piece_that_is_not_there(forger: Forger, piece: dict[str, int], reason: str) -> None:
    forger.change(forger.values["backup"]["files"], lambda records: records[1]["pieces"][0].update(piece))
    assert reason in refusal(forger.write())


def test_parts_are_not_read_again_and_again(forger: Forger) -> None:
    """Two parts of 32 MB, read by turns a byte at a time, would take days."""
    backup = forger.values["backup"]
    backup["data"] = [forger.put(b"a" * 1_000), forger.put(b"b" * 1_000)]
    pieces = [{"part": number % 2, "offset": 0, "length": 1} for number in range(10)]
    digest = hashlib.sha256(b"ab" * 5).hexdigest()
    one = {"name": "assets/x", "size": 10, "sha256": digest, "pieces": pieces}
    forger.replace(backup["files"], [one])
    backup["bytes"] = 10
    assert "'assets/x' has a piece in part 0, which came before" in refusal(forger.write())


def test_more_bytes_than_were_told(forger: Forger, tmp_path: Path) -> None:
    """Room on the disk was asked for as many as the manifest tells."""
    for claimed in (10, 10_000):
        forger.values["backup"]["bytes"] = claimed
        place = forger.write()
        assert f"do not have the {claimed:,} bytes" in refusal(place)
    forger.values["backup"]["bytes"] = 2**52
    (tmp_path / "out").mkdir()
    with open_pack(forger.write()) as pack, pytest.raises(UnavailableError, match="MB are free"):
        restore_backup(pack, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


# -- a pack in one file ------------------------------------------------------------------------------


@pytest.fixture
def kbpack(wiki: SourceFolder, tmp_path: Path) -> Path:
    path = tmp_path / "wiki.kbpack"
    with PackBuilder(wiki) as builder, FileTarget(path) as target:
        write_pack(builder, target)
    return path


def rewrite(kbpack: Path, change: Any) -> None:
    """Write the file anew with other members."""
    with tarfile.open(kbpack, "r:") as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    with tarfile.open(kbpack, "w:", format=tarfile.GNU_FORMAT) as tar:
        for member, data in change(members):
            member.size = len(data) if member.isreg() else member.size
            tar.addfile(member, io.BytesIO(data))


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def test_any_tar_program_reads_it_and_so_do_we(kbpack: Path) -> None:
    rewrite(kbpack, lambda members: members)
    with open_pack(str(kbpack)) as pack:
        verify_pack(pack)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (member("../../etc/passwd"), "'../../etc/passwd' is no file that a pack has"),
        (member("/etc/passwd"), "'/etc/passwd' is no file that a pack has"),
        (member("objects/x"), "'objects/x' is no file"),
        (member(f"objects/{'a' * 64}", tarfile.SYMTYPE, "/etc/passwd"), f"'objects/{'a' * 64}' is no file"),
        (member(f"objects/{'a' * 64}", tarfile.LNKTYPE, "manifest.json"), f"'objects/{'a' * 64}' is no file"),
        (member("manifest.json", tarfile.CHRTYPE), "'manifest.json' is no file"),
        (member("manifest.json", tarfile.FIFOTYPE), "'manifest.json' is no file"),
        (member("objects", tarfile.DIRTYPE), "'objects' is no file"),
        (member("x" * 5_000), "'././@LongLink' is no file"),
    ],
)
def test_a_member_that_no_pack_has(kbpack: Path, made: tarfile.TarInfo, reason: str) -> None:
    rewrite(kbpack, lambda members: [(made, b""), *members])
    assert reason in refusal(str(kbpack))


def test_a_member_twice(kbpack: Path) -> None:
    rewrite(kbpack, lambda members: [members[0], *members])
    assert "appears twice" in refusal(str(kbpack))


def test_a_pax_header_of_a_gigabyte_is_not_read(kbpack: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    kbpack.write_bytes(header.tobuf(tarfile.USTAR_FORMAT) + bytes(10_000))
    assert "'pax' is no file that a pack has" in refusal(str(kbpack))


@pytest.mark.parametrize("size", [1 << 40, MAX_PART + 1])
def test_a_member_that_is_too_large(kbpack: Path, size: int) -> None:
    header = tarfile.TarInfo(f"objects/{'a' * 64}")
    header.size = size
    kbpack.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    assert f"has {size:,} bytes, more than the" in refusal(str(kbpack))


def test_a_file_cut_anywhere(kbpack: Path) -> None:
    whole = kbpack.read_bytes()
    end = whole.rindex(b"}") + 1  # of the manifest
    for length in (0, 100, 511, 512, 513, 700, *range(1_000, end, 997), end - 1):
        kbpack.write_bytes(whole[:length])
        assert re.search("is cut" if length >= 512 else "is cut|is no tar file", refusal(str(kbpack)))


def test_a_file_that_is_no_tar(kbpack: Path) -> None:
    kbpack.write_bytes(os.urandom(10_000))
    assert "the file is no tar file" in refusal(str(kbpack))


def test_a_part_changed_in_the_file(kbpack: Path) -> None:
    whole = bytearray(kbpack.read_bytes())
    whole[600] ^= 1
    kbpack.write_bytes(whole)
    assert "was changed: its sha256" in refusal(str(kbpack))


# -- what is named -----------------------------------------------------------------------------------


def test_what_is_not_there(tmp_path: Path) -> None:
    refusal(str(tmp_path / "nothing"), NotFoundError)
    refusal(f"file://{tmp_path}/nothing.kbpack", NotFoundError)
    refusal("a\0b", NotFoundError)


def test_what_is_no_pack(tmp_path: Path, forger: Forger) -> None:
    refusal(str(tmp_path), UsageError)
    refusal("https://example.org/x.kbpack", UsageError)
    refusal("file://example.org/x.kbpack", UsageError)
    (tmp_path / "manifest.json").write_text(json.dumps(forger.values))
    assert "is not at a pack's place in a store" in refusal(str(tmp_path / "manifest.json"), UsageError)
    forger.write()
    with pytest.raises(UsageError) as refused:
        open_pack(str(forger.store))
    assert "It is a store; name one of its packs" in refused.value.hint
    refusal("/dev/zero")
