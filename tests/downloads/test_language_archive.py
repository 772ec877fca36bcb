"""A language pack is unpacked with care: what would get elsewhere, or is not what it says, is refused."""

from __future__ import annotations

import io
import random
import shutil
import stat
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from kbjobs.downloads import language_archive
from kbjobs.downloads.language_archive import unpack
from kbjobs.errors import JobCancelled, KbjobsError, UnavailableError
from kbjobs.languages.language_packs import DamagedLanguagePackError, Pair
from tests.conftest import FACTOR
from tests.servers.language_packs import pack_members, zip_up

PAIR = Pair("en", "es")
MOST = 64 << 20
TOP = "translate-en_es-1_0"
Members = dict[str, bytes]


def hollow(**metadata: Any) -> Members:
    """A pack without a real model in it: small."""
    members = pack_members("en", "es", **metadata)
    return {**members, f"{TOP}/model/model.bin": b"model", f"{TOP}/sentencepiece.model": b"pieces"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in" / "pack"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pack.argosmodel"


def refuse(file: Path, folder: Path, content: bytes, match: str, most: int = MOST) -> None:
    """Check that a pack is refused for this reason, and that nothing lies anywhere but in the folder."""
    file.write_bytes(content)
    before = {path for path in file.parent.rglob("*") if not path.is_relative_to(folder)}
    with pytest.raises(DamagedLanguagePackError, match=match):
        unpack(file, folder, PAIR, most)
    assert {path for path in file.parent.rglob("*") if not path.is_relative_to(folder)} == before
    assert not [path for path in folder.rglob("*") if path.is_symlink()]


def test_a_pack_is_unpacked(file: Path, folder: Path) -> None:
    members = {**hollow(target_prefix=">>spa<<"), f"{TOP}/model/deep/er.txt": b"x", f"{TOP}/LICENSE": b"CC0"}
    file.write_bytes(zip_up(members))
    said = unpack(file, folder, PAIR, MOST)
    assert (said.version, said.licence, said.target_prefix) == ("1.0", "CC0", ">>spa<<")
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    # stanza/ is left out: it is not used, and holds pickles.
    assert found == {name.partition("/")[2]: content for name, content in members.items() if "/stanza/" not in name}
    assert {stat.S_IMODE(path.stat().st_mode) & 0o111 for path in folder.rglob("*") if path.is_file()} == {0}


def test_folders_of_their_own_are_no_files(file: Path, folder: Path) -> None:
    file.write_bytes(zip_up({f"{TOP}/": b"", f"{TOP}/model/": b"", **hollow()}))
    unpack(file, folder, PAIR, MOST)
    assert (folder / "model" / "model.bin").read_bytes() == b"model"


@pytest.mark.parametrize(
    ("readme", "licence"),
    [
        (b"# Pack\n\nLicense: CC-BY 4.0\n", "CC-BY 4.0"),
        (b"## Licence\nMIT\n", "MIT"),
        (b"* license - GPL-3.0\n", "GPL-3.0"),
        (b"Nothing is told.\n", ""),
        (b"License: \x1b[31mred\n", ""),
        (b"\xff\xfelicense\xff", ""),
    ],
)
def test_the_licence_is_what_the_readme_says(file: Path, folder: Path, readme: bytes, licence: str) -> None:
    file.write_bytes(zip_up({**hollow(), f"{TOP}/README.md": readme}))
    assert unpack(file, folder, PAIR, MOST).licence == licence


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        f"{TOP}/../../evil",
        f"{TOP}/model/../../../evil",
        "/evil",
        "//evil",
        f"{TOP}//evil",
        f"{TOP}/./evil",
        f"{TOP}/..",
        "C:/evil",
        f"{TOP}\\..\\evil",
        f"{TOP}/model\\evil",
        f"{TOP}/e\x00vil",
        f"{TOP}/e\nvil",
        f"{TOP}/\x1b[2J",
        f"{TOP}/{'x' * 300}",
    ],
)
def test_a_name_that_leads_elsewhere(file: Path, folder: Path, name: str) -> None:
    # zipfile writes no such name: an innocent one of the same length is replaced in the bytes.
    innocent = "Q" * len(name.encode())
    content = zip_up({**hollow(), innocent: b"evil"}).replace(innocent.encode(), name.encode())
    refuse(file, folder, content, "leads elsewhere")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
@pytest.mark.parametrize("name", [f"{TOP}/model/vmap.txt", f"{TOP}/other"])
def test_a_link_or_a_device(file: Path, folder: Path, kind: int, name: str) -> None:
    written = io.BytesIO(zip_up(hollow()))
    with zipfile.ZipFile(written, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    refuse(file, folder, written.getvalue(), "is a link or a device")


def test_a_name_twice(file: Path, folder: Path) -> None:
    written = io.BytesIO(zip_up(hollow()))
    with warnings.catch_warnings(), zipfile.ZipFile(written, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(f"{TOP}/model/model.bin", "another")
    refuse(file, folder, written.getvalue(), "is in it twice")


@pytest.mark.parametrize("other", [f"{TOP}/MODEL/model.bin", f"{TOP}/model/Model.bin"])
def test_names_that_are_one_on_some_disks(file: Path, folder: Path, other: str) -> None:
    refuse(file, folder, zip_up({**hollow(), other: b"x"}), "is in it twice")


def test_a_file_where_a_folder_is(file: Path, folder: Path) -> None:
    refuse(file, folder, zip_up({f"{TOP}/model/a": b"x", **hollow(), f"{TOP}/model/a/b": b"x"}), "a file and a folder")


@pytest.mark.parametrize("top", ["other/x", "README.md"])
def test_two_top_folders(file: Path, folder: Path, top: str) -> None:
    refuse(file, folder, zip_up({**hollow(), top: b"x"}), "2 top folders")


@pytest.mark.parametrize("lost", ["metadata.json", "model/model.bin", "sentencepiece.model"])
def test_what_lacks_a_file(file: Path, folder: Path, lost: str) -> None:
    members = hollow()
    del members[f"{TOP}/{lost}"]
    refuse(file, folder, zip_up(members), "it lacks")


def test_byte_pairs_instead_of_pieces(file: Path, folder: Path) -> None:
    members = hollow()
    members[f"{TOP}/bpe.model"] = members.pop(f"{TOP}/sentencepiece.model")
    file.write_bytes(zip_up(members))
    unpack(file, folder, PAIR, MOST)
    assert (folder / "bpe.model").exists()


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no object"),
        (b"{}", "from None to None"),
        (b'{"from_code": "en", "to_code": "fr"}', "to 'fr'"),
        (b'{"from_code": "es", "to_code": "en"}', "from 'es'"),
        (b'{"from_code": ["en"], "to_code": {"a": 1}}', "it says that it is from"),
        (b" " * (2 << 20), "more than"),
    ],
)
def test_metadata_that_lies_or_is_none(file: Path, folder: Path, metadata: bytes, match: str) -> None:
    refuse(file, folder, zip_up({**hollow(), f"{TOP}/metadata.json": metadata}), match)


def test_strange_values_in_metadata_are_not_kept(file: Path, folder: Path) -> None:
    file.write_bytes(zip_up(hollow(package_version=7, license="\x1b[31m", target_prefix=["x"])))
    said = unpack(file, folder, PAIR, MOST)
    assert (said.version, said.licence, said.target_prefix) == ("", "CC0", "")


def test_a_bomb_is_not_unpacked(file: Path, folder: Path) -> None:
    refuse(file, folder, zip_up({**hollow(), f"{TOP}/model/zeros": bytes(65 << 20)}), "more than 67 MB")
    assert not list(folder.iterdir())


def test_a_bomb_that_lies_about_its_size(file: Path, folder: Path) -> None:
    content = zip_up({**hollow(), f"{TOP}/model/zeros": bytes(65 << 20)})
    refuse(file, folder, content.replace(struct.pack("<L", 65 << 20), struct.pack("<L", 1 << 20)), "cannot be used")
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 2 << 20


def test_too_many_files(file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_archive, "MAX_FILES", 100)
    refuse(file, folder, zip_up({**hollow(), **{f"{TOP}/stanza/{n}": b"" for n in range(100)}}), "files, more than")


def test_a_list_of_files_that_is_too_long(file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_archive, "MAX_DIRECTORY", 4000)
    refuse(file, folder, zip_up({**hollow(), **{f"{TOP}/stanza/{n}": b"" for n in range(100)}}), "its list of files")


def test_a_list_of_files_whose_size_is_hidden(file: Path, folder: Path) -> None:
    """Another record seems to begin within the last one; or its size stands where only large files have it."""
    content = zip_up(hollow())
    huge = bytearray(content)
    huge[-10:-6] = struct.pack("<L", 1 << 31)
    huge[-6:-2] = b"PK\5\6"
    refuse(file, folder, bytes(huge), "its list of files")
    end = content[-22:]
    locator = b"PK\6\7" + struct.pack("<LQL", 0, len(content), 1)
    refuse(file, folder, content[:-22] + locator + end, "more than 4 GB")


def test_an_encrypted_file(file: Path, folder: Path) -> None:
    content = bytearray(zip_up(hollow()))
    for signature, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        place = content.find(signature)
        content[place + offset] |= 1
    refuse(file, folder, bytes(content), "is encrypted")


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\3\4", b"PK\5\6", b"x" * 100_000, b"PK\5\6" + bytes(18)])
def test_what_is_no_zip_file(file: Path, folder: Path, content: bytes) -> None:
    refuse(file, folder, content, "zip file|top folders")


@pytest.mark.parametrize("cut", [1, 22, 100, 5000])
def test_a_torn_file(file: Path, folder: Path, cut: int) -> None:
    refuse(file, folder, zip_up(pack_members("en", "es"))[:-cut], "zip file")


@pytest.mark.long
def test_damage_is_refused_or_changes_nothing(file: Path, tmp_path: Path) -> None:
    """Whatever bytes are changed: an error of its own, or what would have been unpacked anyway."""
    members = hollow()
    whole = zip_up(members)
    wanted = {name.partition("/")[2]: body for name, body in members.items()}
    random_ = random.Random(19)
    refused = 0
    for number in range(300 * FACTOR):
        content = bytearray(whole)
        for _ in range(random_.choice((1, 1, 2, 5))):
            content[random_.randrange(len(content))] = random_.randrange(256)
        file.write_bytes(content)
        folder = tmp_path / "in" / str(number)
        folder.mkdir(parents=True)
        try:
            unpack(file, folder, PAIR, MOST)
        except KbjobsError:
            refused += 1
        else:
            found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
            assert {"metadata.json", "model/model.bin"} <= found.keys() <= wanted.keys(), number
            assert all(path.read_bytes() == wanted[name] for name, path in found.items()), number
        shutil.rmtree(folder)
        assert {path.name for path in tmp_path.iterdir()} == {"in", "home", file.name}
    assert refused > 100 * FACTOR


def test_a_wish_to_stop_is_heard(file: Path, folder: Path) -> None:
    file.write_bytes(zip_up(hollow()))

    def stop() -> None:
        raise JobCancelled("stopped")

    with pytest.raises(JobCancelled):
        unpack(file, folder, PAIR, MOST, stop)


def test_a_disk_without_room(small_disk: Path, file: Path) -> None:
    folder = small_disk / "pack"
    folder.mkdir()
    file.write_bytes(zip_up({**hollow(), f"{TOP}/model/zeros": bytes(90 << 20)}))
    with pytest.raises(UnavailableError, match="MB are free on the disk"):
        unpack(file, folder, PAIR, 128 << 20)
    assert not list(folder.iterdir())
