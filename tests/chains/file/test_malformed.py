"""Every kind of malformed chain file, each with the whole text that is shown for it beside it.

NAME.expected is what a person sees for NAME.toml. After a change of wording read them again, then write them anew:

    python -m tests.chains.file.test_malformed
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from kbjobs.chains.diagnostics import MAX_KEPT
from kbjobs.chains.file.chain_reading import (
    MAX_BYTES,
    ChainFileError,
    examine_chain,
    examine_text,
    parse_chain,
    read_chain,
)
from kbjobs.errors import ExitCode, NotFoundError

FOLDER = Path(__file__).with_name("malformed")
FILES = sorted(FOLDER.glob("*.toml"))


def shown(path: Path) -> str:
    return examine_text(path.read_bytes(), path.name, path.stem).render() + "\n"


def test_there_are_many() -> None:
    assert len(FILES) >= 100
    assert {path.with_suffix(".expected") for path in FILES} == set(FOLDER.glob("*.expected"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_shown(path: Path, test_types: None) -> None:
    assert shown(path) == path.with_suffix(".expected").read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_is_refused_with_every_mistake_in_its_place(path: Path, test_types: None) -> None:
    with pytest.raises(ChainFileError) as caught:
        read_chain(path)
    error = caught.value
    assert error.exit_code is ExitCode.USAGE
    assert error.diagnostics and all(one.severity == "error" for one in error.diagnostics)
    assert all(one.message in str(error) for one in error.diagnostics if one.message.isprintable())
    places = [(one.line or 0, one.column or 0) for one in error.diagnostics]
    assert places == sorted(places)
    lines = error.text.split("\n")
    for one in error.diagnostics:
        if one.line is not None and one.column is not None:
            assert 1 <= one.column <= len(lines[one.line - 1]) + 1
    assert all(part.isprintable() for part in str(error).split("\n"))


# Each would take minutes or all memory if its size were not looked at: (text, a word of the answer).
HUGE = {
    "too_large": ("# " + "x" * MAX_BYTES, "larger than 256 KB"),
    "dotted_key": ("a" + ".a" * 120_000 + " = 1", "too many parts"),
    "dotted_table": ("[" + "a." * 120_000 + "a]", "too many parts"),
    "dotted_key_of_quotes": ("a" + " . 'b'" * 40_000 + " = 1", "too many parts"),
    "dotted_key_in_an_inline_table": ("x = { a" + ".a" * 120_000 + " = 1 }", "too many parts"),
    "dotted_key_after_nonsense": ("= = =\na" + ".a" * 120_000 + " = 1", "too many parts"),
    "arrays": ("a = " + "[" * 250_000, "nested too deeply"),
    "inline_tables": ("a = " + "{a=" * 80_000, "nested too deeply"),
    "digits": ("a = " + "9" * 250_000, "64 bits"),
    "hex_digits": ("a = 0x" + "f" * 250_000, "64 bits"),
    "phases": ("[[phase]]\n" * 25_000, "25,000 elements"),
    "keys": ("\n".join(f"k{number} = 1" for number in range(20_000)), "unknown key"),
    "defaults": (
        "[defaults]\n" + "\n".join(f"k{n} = 1" for n in range(20_000)) + "\n[[phase]]\njob = 'index-online'",
        "no phase has",
    ),
    "params": (
        "[[phase]]\njob = 'index-online'\n[phase.params]\n" + "\n".join(f"k{n} = 1" for n in range(20_000)),
        "no parameter",
    ),
    "sources": ("sources = [" + "'a'," * 60_000 + "]", "60,000 elements"),
    "dates_on_a_line": ("a = [" + "1979-01-01," * 22_000 + "]", "a date or time"),
    "same_key": ("a = 1\n" * 40_000, "appears twice"),
    "one_word": ("a" * 250_000, "no = after the key"),
    "quotes": ('"' * 250_000, "no = after the key"),
    "unclosed": ('a = """' + "x\n" * 120_000, "unterminated"),
    "a_long_name": ("name = '" + "a" * 250_000 + "'", "name is"),
    "a_long_job": ("[[phase]]\njob = '" + "index-" * 40_000 + "'", "unknown job"),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_file_is_answered_soon_and_shortly(name: str) -> None:
    text, word = HUGE[name]
    begin = time.process_time()
    found = examine_text(text, "huge.toml", "huge")
    answer = found.render()
    assert time.process_time() - begin < 10
    assert found.has_errors and word in answer
    assert len(found.diagnostics) <= MAX_KEPT and len(answer) < 100_000


def test_dots_in_a_text_are_no_key() -> None:
    description = "a." * 200
    text = f"description = '{description}' # {description}\n[[phase]]\njob = 'index-offline'\n"
    assert parse_chain(text, "x.toml", "x").description == description


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "unreadable", "below a file", "device", "NUL", "loop"])
def test_what_is_not_a_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "unreadable":
        path.touch(mode=0o000)
        if os.geteuid() == 0:
            pytest.skip("root reads everything")
    elif kind == "below a file":
        path.touch()
        path /= "x.toml"
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "NUL":
        path = tmp_path / "a\0b.toml"
    elif kind == "loop":
        path.symlink_to(path)
    if kind in ("missing", "below a file"):
        with pytest.raises(NotFoundError):
            examine_chain(path)
    else:
        found = examine_chain(path)
        assert found.has_errors and found.diagnostics[0].kind == "file"


if __name__ == "__main__":
    sys.path.insert(0, str(FOLDER.parents[2] / "job_types"))
    for file in FILES:
        file.with_suffix(".expected").write_text(shown(file))
