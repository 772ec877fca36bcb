"""The format as docs/reference/pack-format.md tells it: read by another program, and kept as it is."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import zstandard

from kbjobs.config.home import Home
from kbjobs.packs import backup_parts, backup_unpacking, fields, json_lines, manifest, parts
from kbjobs.packs.backup_unpacking import restore_backup
from kbjobs.packs.inspecting import describe_pack, verify_pack
from kbjobs.packs.pack_building import PackBuilder
from kbjobs.packs.pack_reading import open_pack
from kbjobs.packs.targets import FileTarget, write_pack
from kbjobs.services.sources import SourceFields
from tests.conftest import ROOT
from tests.packs.sources import make_source, page, texts_of, vector_of

FROZEN = ROOT / "tests" / "frozen" / "pack-1.kbpack"
DOCUMENT = (ROOT / "docs" / "reference" / "pack-format.md").read_text()


class OtherReader:
    """Reads a pack with nothing of kbjobs, by the document alone."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path, "r:") as tar:
            self.members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        self.manifest: dict[str, Any] = json.loads(self.members["manifest.json"])

    def part(self, part: dict[str, Any]) -> bytes:
        data = self.members[f"objects/{part['sha256']}"]
        assert (len(data), hashlib.sha256(data).hexdigest()) == (part["size"], part["sha256"])
        raw = zstandard.ZstdDecompressor().decompress(data) if part["packing"] == "zstd" else data
        assert len(raw) == part["unpacked"]
        return raw

    def table(self, table: dict[str, Any]) -> list[dict[str, Any]]:
        lines = b"".join(map(self.part, table["parts"])).split(b"\n")
        assert lines[-1] == b""
        assert len(lines) - 1 == table["records"]
        return [json.loads(line) for line in lines[:-1]]

    def vectors(self, model: dict[str, Any]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for block in model["blocks"]:
            texts = [json.loads(line)["text_hash"] for line in self.part(block["texts"]).splitlines()]
            data = self.part(block["vectors"])
            assert data[:8] == bytes.fromhex("93 4E 55 4D 50 59 01 00")
            (length,) = struct.unpack("<H", data[8:10])
            header = data[10 : 10 + length].decode()
            assert header.rstrip(" \n") == (
                f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({block['rows']}, {model['dimension']}), }}"
            )
            size = 4 * model["dimension"]
            rows = data[10 + length :]
            found |= {text: rows[number * size : (number + 1) * size] for number, text in enumerate(texts)}
        return found

    def file(self, record: dict[str, Any]) -> bytes:
        data = self.manifest["backup"]["data"]
        return b"".join(
            self.part(data[piece["part"]])[piece["offset"] :][: piece["length"]] for piece in record["pieces"]
        )


def test_another_program_reads_a_pack(home: Home, tmp_path: Path) -> None:
    folder = make_source(home, tmp_path, described=SourceFields(name="Wiki"))
    path = tmp_path / "wiki.kbpack"
    with PackBuilder(folder, True) as builder, FileTarget(path) as target:
        version = write_pack(builder, target).version
    reader = OtherReader(path)
    assert hashlib.sha256(reader.members["manifest.json"]).hexdigest() == version
    assert list(reader.members)[-1] == "manifest.json"
    assert path.stat().st_size % 512 == 0
    documents = reader.table(reader.manifest["documents"])
    for one in documents:
        identity = hashlib.sha256(f"wiki\0{one['path']}".encode()).hexdigest()[:32]
        assert one["doc_id"] == identity
    (profile,) = reader.manifest["profiles"]
    passages = reader.table(profile["passages"])
    vectors = reader.vectors(reader.manifest["models"][0])
    wanted = [
        cut for one in sorted((page("wiki", n) for n in range(5)), key=lambda p: p.doc_id) for cut in texts_of(one)
    ]
    assert [one["text"] for one in passages] == [cut.text for cut in wanted]
    assert vectors == {cut.text_hash: vector_of(cut.text_hash) for cut in wanted}
    files = reader.table(reader.manifest["backup"]["files"])
    assert {one["name"]: reader.file(one) for one in files} == {
        f"pages/1/pages/{path.name}": path.read_bytes() for path in (tmp_path / "pages").iterdir()
    }


def test_a_pack_of_format_1_is_read_for_ever(tmp_path: Path) -> None:
    """What ``make_source`` gives with a backup, written by the first version that could."""
    with open_pack(str(FROZEN)) as pack:
        verify_pack(pack)
        described = describe_pack(pack)
        assert (described["format"], described["documents"], described["source"]) == ("1.0", 5, "wiki")
        assert described["models"][0]["vectors"] == 6
        restore_backup(pack, tmp_path)
    assert len(list(tmp_path.rglob("*.html"))) == 5


def test_the_same_state_still_gives_the_same_pack(home: Home, tmp_path: Path) -> None:
    """Packs of this version and of the first share their parts; of another zstd what is unpacked is the same."""
    folder = make_source(home, tmp_path)
    path = tmp_path / "wiki.kbpack"
    with PackBuilder(folder, True) as builder, FileTarget(path) as target:
        write_pack(builder, target)
    now, then = OtherReader(path), OtherReader(FROZEN)
    for name in ("documents", "metadata", "links"):
        assert now.table(now.manifest[name]) == then.table(then.manifest[name])
    assert now.vectors(now.manifest["models"][0]) == then.vectors(then.manifest["models"][0])
    if zstandard.ZSTD_VERSION == (1, 5, 7):
        assert path.read_bytes() == FROZEN.read_bytes()


def test_every_field_is_in_the_document() -> None:
    from tests.packs.test_privacy import KINDS

    for kind in KINDS.values():
        for name in kind.model_fields:
            assert re.search(rf"[`\"]{name}[`\"]", DOCUMENT), f"{kind.__name__}.{name}"


def test_the_numbers_of_the_document_are_those_of_the_program() -> None:
    text = " ".join(DOCUMENT.split())
    assert f"format {manifest.FORMAT}.{fields.MINOR} completely" in text
    assert f"from 1 to {manifest.MAX_PART:,} (32 MiB)" in text
    assert f"at most {manifest.MAX_RATIO} times `size`" in text
    assert f"at most {manifest.FREE_BYTES >> 20} MiB, or at most" in text
    assert f"JSON object of at most {manifest.MAX_MANIFEST >> 20} MiB" in text
    assert f"zstd runs at level {parts.LEVEL} in one thread" in text
    assert f"a window of at most {parts.MAX_WINDOW >> 20} MiB" in text
    assert f"has at least {parts.MIN_SIZE >> 20} MiB, unpacked" in text
    assert f"crc32(line) × {parts.TARGET >> 20} MiB < length" in text
    assert f"or if it has {parts.MAX_SIZE >> 20} MiB" in text
    assert f"divided into pieces of {backup_parts.PIECE >> 20} MiB" in text
    assert f"at most {json_lines.MAX_LINE >> 20} MiB long" in text
    assert f"an object may have {json_lines.MAX_FIELDS} fields" in text
    assert f"each has 1 to {backup_unpacking.MAX_STEP} bytes" in text
    assert f"at most {backup_unpacking.MAX_PATH:,} bytes unquoted" in text


def test_where_a_table_is_cut_is_as_the_document_says() -> None:
    for number in range(3_000):
        line = f'{{"number": {number}}}'.encode()
        size = 20_000
        expected = zlib.crc32(line) * (4 << 20) < size * 2**32
        assert parts.is_cut_behind(line, size, 2 << 20) == expected
        assert not parts.is_cut_behind(line, size, (1 << 20) - 1)
        assert parts.is_cut_behind(line, size, 16 << 20)
