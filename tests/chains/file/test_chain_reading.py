"""What a good chain file means, and that no text at all leads to anything but a chain or a list of mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbjobs.chains.chain import Chain
from kbjobs.chains.diagnostics import Diagnostic
from kbjobs.chains.file.chain_reading import ChainFileError, examine_text, parse_chain, read_chain
from kbjobs.chains.library import TEMPLATES
from kbjobs.phases.index_offline import IndexOfflineParams
from tests.conftest import FACTOR

PHASE = '[[phase]]\njob = "index-offline"\n'


def parse(text: str, stem: str = "nightly") -> Chain:
    return parse_chain(text, f"{stem}.toml", stem)


def mistakes(text: str, stem: str = "nightly") -> list[Diagnostic]:
    with pytest.raises(ChainFileError) as caught:
        parse(text, stem)
    return caught.value.diagnostics


def test_every_key_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "my_file.toml"
    path.write_text(
        """
        name = "over-night"
        description = "At night."
        resumable = false
        sources = ["wiki", "manuals"]

        [defaults]
        allow_delete = true
        force = true
        dry_run = true

        [[phase]]
        job = "index_online"
        name = "buy-it"
        weight = 3
        params = { limit = 5 }
        on_error = "continue"
        retries = 4

        [[phase]]
        job = "index-offline"
        params = { force = false }
        """
    )
    chain = read_chain(path)
    assert (chain.name, chain.description, chain.resumable) == ("over_night", "At night.", False)
    assert chain.sources == ("wiki", "manuals") and chain.origin == str(path)
    first, second = chain.phases
    assert (first.name, first.job_type.name, first.weight) == ("buy_it", "index_online", 3.0)
    assert (first.on_error, first.retries) == ("continue", 4)
    assert first.params.model_dump() == {
        "recut": False,
        "force": True,
        "batch_api": False,
        "max_cost": None,
        "dry_run": True,
        "limit": 5,
        "allow_delete": True,
    }
    assert (second.name, second.weight) == ("index_offline", second.job_type.weight)
    assert (second.on_error, second.retries) == ("stop", None)
    assert isinstance(second.params, IndexOfflineParams)
    assert second.params.allow_delete and not second.params.force and second.params.limit is None


def test_what_is_left_out_has_a_meaning() -> None:
    chain = parse(PHASE, "my-chain")
    assert (chain.name, chain.resumable, chain.sources, chain.description) == ("my_chain", True, (), "")
    assert parse('source = "wiki"\n' + PHASE).sources == ("wiki",)


def test_phases_get_names_of_their_own() -> None:
    text = PHASE * 3 + PHASE + 'name = "index-offline-2"\n' + '[[phase]]\njob = "index-online"\n'
    names = [phase.name for phase in parse(text).phases]
    assert names == ["index_offline", "index_offline_3", "index_offline_4", "index_offline_2", "index_online"]


@pytest.mark.parametrize("weight", ["0", "0.0", "1_000_000", "1e6", "0.5", "1e-300"])
def test_weights_within_the_bounds_are_kept(weight: str) -> None:
    assert parse(PHASE + f"weight = {weight}\n").phases[0].weight == float(weight.replace("_", ""))


def test_a_hundred_phases_are_not_too_many() -> None:
    assert len(parse(PHASE * 100).phases) == 100


def test_line_ends_of_windows_are_ends_of_lines() -> None:
    text = 'description = """a\r\nb"""\r\n' + PHASE.replace("\n", "\r\n")
    assert parse(text).description == "a\nb"
    assert parse_chain(text.encode(), "x.toml", "x").description == "a\nb"


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    found = mistakes("nam = 1\n[defaults]\nfrce = 1\n" + PHASE + "weight = -1\nparams.limit = 0\nretries = 'x'\n")
    assert [(one.line, one.column) for one in found] == [(1, 1), (3, 1), (6, 10), (7, 16), (8, 11)]


@pytest.mark.parametrize("stem", ["index-offline", "index_offline", "index", "python_function"])
def test_the_name_of_a_job_type_is_no_name_for_a_chain(stem: str) -> None:
    assert "job type" in mistakes(PHASE, stem)[0].message
    assert "job type" in mistakes(f"name = '{stem}'\n" + PHASE)[0].message


def test_a_warning_stops_nothing(test_types: None) -> None:
    text = PHASE + "\n[[phase]]\njob = 'gather'\nparams.where = 'here'\n"
    assert len(parse(text).phases) == 2
    found = examine_text(text, "x.toml", "x")
    assert not found.has_errors
    (warning,) = found.diagnostics
    assert (warning.severity, warning.kind, warning.line) == ("warning", "order", 2)


def test_a_broken_type_of_another_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "broken-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: broken\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[kbjobs.job_types]\nbroken = no_such_module:JOB_TYPE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (found,) = mistakes("[[phase]]\njob = 'broken'\n")
    assert "cannot be loaded" in found.message and found.line == 2


def test_a_file_without_mistakes_needs_no_syntax_tree(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(PHASE)
    program = (
        "import sys; from pathlib import Path; from kbjobs.chains.file.chain_reading import read_chain;"
        f" read_chain(Path({str(path)!r})); print('tree_sitter' in sys.modules, 'numpy' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "False False\n"


# -- anything -------------------------------------------------------------------------------------


def check_anything(content: str | bytes) -> None:
    found = examine_text(content, "any.toml", "any")
    shown = found.render()
    assert all(line.isprintable() for line in shown.split("\n"))
    if found.chain is None:
        assert any(one.severity == "error" for one in found.diagnostics)
        with pytest.raises(ChainFileError):
            parse_chain(content, "any.toml", "any")
    else:
        assert not any(one.severity == "error" for one in found.diagnostics)
    lines = found.text.split("\n")
    for one in found.diagnostics:
        if one.line is not None and one.column is not None:
            assert 1 <= one.line <= len(lines)
            assert 1 <= one.column <= len(lines[one.line - 1]) + 1
            assert one.length >= 1


PIECES = [
    "[[phase]]", "[phase]", "[defaults]", "[", "]", "[[", "]]", "{", "}", "=", ",", ".", "#", "'", '"', '"""', "\n",
    "\n", "\n", "\r\n", "\r", " ", "\t", "name", "job", "params", "weight", "phase", "sources", "source", "retries",
    "on_error", "description", "resumable", "defaults", "'index-offline'", '"index_online"', '"stop"', "true", "false",
    "1", "-1", "0.5", "nan", "inf", "1979-05-27", "07:32:00", "99999999999999999999", "0x", "1e999", "\\u0000", "\\",
    "é", "日本", "🦊", "\ufeff", "\u202e", "\x00", "\x1b", "limit", "force", "job = 'index-offline'",
    "[[phase]]\njob = 'index-offline'\n",
]  # fmt: skip


@pytest.mark.long
@settings(max_examples=120 * FACTOR, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes(content: bytes) -> None:
    check_anything(content)


@pytest.mark.long
@settings(max_examples=120 * FACTOR, deadline=None)
@given(st.text(max_size=200))
def test_random_text(content: str) -> None:
    check_anything(content)


@pytest.mark.long
@settings(max_examples=200 * FACTOR, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_random_pieces_of_toml(content: str) -> None:
    check_anything(content)


GOOD = [path.read_text() for path in sorted(TEMPLATES.glob("*.toml"))] + [
    "sources = ['wiki', 'manuals']\n[defaults]\nforce = true\n" + PHASE + "params = { limit = 3 }\n"
]


@st.composite
def mutated(draw: Any) -> str:
    text = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 20)))
        piece = draw(st.one_of(st.just(""), st.sampled_from(PIECES), st.text(max_size=3)))
        text = text[:start] + piece + text[end:]
    return text


@pytest.mark.slow
@pytest.mark.long
@settings(max_examples=200 * FACTOR, deadline=None)
@given(mutated())
def test_good_files_with_a_few_changes(content: str) -> None:
    check_anything(content)
