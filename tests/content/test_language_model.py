"""The language detector mapped from files: the same answers, whatever happens to the files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kbjobs.content import language_model
from kbjobs.content.language_model import load_identifier

TEXTS = (
    "The kettle is on the stove and the water in it will boil within a few minutes.",
    "Der Kessel steht auf dem Herd, und das Wasser darin wird in wenigen Minuten kochen.",
    "Чайник стоит на плите, и вода в нём закипит через несколько минут.",
    "Bouilloire", "水はすぐに沸騰します。", "x", "1234", "",
)  # fmt: skip


@pytest.fixture
def answers() -> list[tuple[str, float]]:
    """The answers of the model unpacked in memory."""
    identifier = load_identifier(None)
    return [identifier.classify(text) for text in TEXTS]


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders into which the tables are unpacked."""
    done: list[Path] = []
    real = language_model._unpack

    def unpack(folder: Path) -> None:
        done.append(folder)
        real(folder)

    monkeypatch.setattr(language_model, "_unpack", unpack)
    return done


def test_mapped_it_gives_the_same_answers(
    tmp_path: Path, answers: list[tuple[str, float]], unpacked: list[Path]
) -> None:
    for _ in range(2):
        identifier = load_identifier(tmp_path / "engines")
        assert [identifier.classify(text) for text in TEXTS] == answers
    (folder,) = unpacked
    assert list((tmp_path / "engines").iterdir()) == [folder]
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["ptc.npy", "nextmove.npy", "rest.json", ""])
@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_damaged_files_are_written_again(
    tmp_path: Path, answers: list[tuple[str, float]], unpacked: list[Path], name: str, damage: str
) -> None:
    load_identifier(tmp_path / "engines")
    path = unpacked[0] / name
    if not name:
        shutil.rmtree(path)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"{}" * (path.stat().st_size // 2))
    identifier = load_identifier(tmp_path / "engines")
    assert len(unpacked) == 2
    assert [identifier.classify(text) for text in TEXTS] == answers


def test_where_nothing_can_be_written_it_is_unpacked_in_memory(
    tmp_path: Path, answers: list[tuple[str, float]], unpacked: list[Path]
) -> None:
    (tmp_path / "engines").write_text("a file")
    identifier = load_identifier(tmp_path / "engines")
    assert [identifier.classify(text) for text in TEXTS] == answers and not unpacked


def test_a_disk_that_is_nearly_full_is_left_alone(
    tmp_path: Path, answers: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=900_000_000))
    identifier = load_identifier(tmp_path / "engines")
    assert [identifier.classify(text) for text in TEXTS] == answers and not list((tmp_path / "engines").iterdir())
