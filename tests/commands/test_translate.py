"""kbjobs translate: texts, files, stdin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from tests.conftest import Kbjobs, fill_disk, read_json
from tests.languages.packs import put_pack
from tests.servers.language_packs import shout
from tests.servers.languages_server import LanguagesServer

WAY = ("--from", "English", "--to", "es")


@pytest.fixture
def spanish(home: Home) -> None:
    put_pack(home, "en", "es")


@pytest.mark.usefixtures("spanish")
def test_a_text(kbjobs: Kbjobs) -> None:
    assert kbjobs("translate", "boil the <b>water</b>.", *WAY).stdout == "BOIL THE <b>WATER</b>.\n"
    printed = read_json(kbjobs("translate", 'a "quoted"\nline', *WAY, "--json"))
    assert printed == {
        "from": "en",
        "to": "es",
        "packs": [{"from": "en", "to": "es", "version": "1.0"}],
        "text": 'A "QUOTED"\nLINE',
    }


@pytest.mark.usefixtures("spanish")
def test_a_file_and_its_translation(tmp_path: Path, kbjobs: Kbjobs) -> None:
    file, output = tmp_path / "guide.md", tmp_path / "guide.es.md"
    file.write_bytes(b"# boil it\r\n\r\n- `code` here\r\n")
    assert kbjobs("translate", file, *WAY, "--output", output).stdout == ""
    assert output.read_bytes() == b"# BOIL IT\r\n\r\n- `code` HERE\r\n"
    printed = read_json(kbjobs("translate", file, *WAY, "-o", file, "--json"))  # also over itself
    assert printed["output"] == str(file) and "text" not in printed
    assert file.read_bytes() == output.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["guide.es.md", "guide.md", "home"]


@pytest.mark.usefixtures("spanish")
def test_an_output_is_whole_or_not_there(tmp_path: Path, kbjobs: Kbjobs) -> None:
    output = tmp_path / "out.txt"
    with subprocess.Popen(
        [sys.executable, "-m", "kbjobs", "translate", "-", *WAY, "-o", str(output)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        _, printed = process.communicate(b"boil it.\n" * 400 + b"\xff")
    assert process.returncode == 2 and b"stdin is not UTF-8: the byte 0xff at 3,600" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert "is a folder" in kbjobs("translate", "x", *WAY, "-o", tmp_path, check=2).stderr
    assert "cannot write" in kbjobs("translate", "x", *WAY, "-o", tmp_path / "no" / "x", check=7).stderr


@pytest.mark.usefixtures("spanish")
def test_a_full_disk_under_the_output(small_disk: Path, kbjobs: Kbjobs) -> None:
    filler = fill_disk(small_disk, 0)
    printed = kbjobs("translate", "boil it", *WAY, "-o", small_disk / "out.txt", check=7).stderr
    assert f"the disk that holds {small_disk} is full" in printed
    assert list(small_disk.iterdir()) == [filler]


@pytest.mark.usefixtures("spanish")
def test_stdin_is_translated_as_it_comes(home: Home) -> None:
    """The beginning is there before the end was given."""
    with subprocess.Popen(
        [sys.executable, "-m", "kbjobs", "translate", "-", *WAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        text = "".join(f"line {number}\n\n" for number in range(180))
        process.stdin.write(text.encode())
        process.stdin.flush()
        begun = process.stdout.read(1000)
        process.stdin.write(b"the end")
        process.stdin.close()
        assert begun + process.stdout.read() == shout(text + "the end\n").encode()


@pytest.mark.slow
@pytest.mark.usefixtures("spanish")
def test_a_long_text_needs_no_more_memory(tmp_path: Path) -> None:
    """What is left alone costs no time here, so that there can be much of it."""

    def peak(size: int) -> int:
        file = tmp_path / f"{size}.txt"
        file.write_text("boil it.\n\n" + "12 13 14 15\n\n" * (size // 13))
        ended = subprocess.Popen(
            [sys.executable, "-m", "kbjobs", "translate", str(file), *WAY], stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(ended.pid, 0)
        ended.returncode = os.waitstatus_to_exitcode(status)
        assert ended.returncode == 0
        return usage.ru_maxrss

    assert peak(5_000_000) < peak(10_000) + 10_000  # KiB


def test_a_missing_pack_is_told_with_its_command(kbjobs: Kbjobs) -> None:
    printed = kbjobs("translate", "x", *WAY, check=6).stderr
    assert printed.splitlines() == [
        "Error: no language pack here translates English to Spanish",
        "kbjobs run language-download es --from en",
        "More: kbjobs help a-language-pack-is-missing",
    ]


def test_the_command_that_is_told_helps(home: Home, languages_server: LanguagesServer, kbjobs: Kbjobs) -> None:
    languages_server.offer("en", "es")
    command = kbjobs("translate", "boil it", *WAY, check=6).stderr.splitlines()[1].split()
    kbjobs(*command[1:], "--quiet")
    assert kbjobs("translate", "boil it", *WAY).stdout == "BOIL IT\n"


@pytest.mark.usefixtures("spanish")
def test_a_missing_extra_is_told(tmp_path: Path, kbjobs: Kbjobs) -> None:
    """A Python that does not find the package."""
    (tmp_path / "sitecustomize.py").write_text(
        "from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        "hide = lambda cls, name, *more: None if name == 'ctranslate2' else find(name, *more)\n"
        "PathFinder.find_spec = classmethod(hide)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    printed = kbjobs("translate", "x", *WAY, check=6, env=environment).stderr
    assert "ctranslate2" in printed and "pip install 'kbjobs[translate]'" in printed
    doctor = kbjobs("doctor", check=None, env=environment).stdout
    assert any(line.startswith("problem\tlanguages") for line in doctor.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("x", "--from", "Englsh", "--to", "es"), 4, "Did you mean English (en)?"),
        (("x", "--from", "es", "--to", "Spanish"), 2, "to itself"),
        (("", *WAY), 2, "nothing to translate"),
        (("missing.md", *WAY), 4, "there is no file missing.md"),
        (("x", "--to", "es"), 2, "--from"),
    ],
)
@pytest.mark.usefixtures("spanish")
def test_what_cannot_be_translated(kbjobs: Kbjobs, arguments: tuple[str, ...], code: int, message: str) -> None:
    assert message in kbjobs("translate", *arguments, check=code).stderr


@pytest.mark.usefixtures("spanish")
def test_doctor_counts_the_packs(home: Home, kbjobs: Kbjobs) -> None:
    assert "ok\tlanguages\t1 language pack can be used" in kbjobs("doctor", check=None).stdout
    next(home.languages.glob("en_es.*/model/model.bin")).unlink()
    found = next(line for line in kbjobs("doctor", check=1).stdout.splitlines() if "\tlanguages\t" in line)
    assert found.startswith("problem") and "kbjobs run language-download es --from en --force" in found
