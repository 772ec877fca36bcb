"""The manual page is that of the commands, and roff can read it."""

from __future__ import annotations

import re
import runpy

from kbjobs.errors import ExitCode
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "kbjobs.1").read_text()
MACROS = {".TH", ".SH", ".SS", ".TP", ".PP", ".RS", ".RE", ".B"}


def test_the_page_is_that_of_the_commands() -> None:
    assert runpy.run_path(str(ROOT / "docs" / "man_page.py"))["make_page"]() == PAGE, "make docs writes it again"


def test_every_line_is_a_known_macro_or_text() -> None:
    requests = {line.partition(" ")[0] for line in PAGE.splitlines() if line.startswith((".", "'"))}
    assert requests <= MACROS
    assert not re.search(r"\\(?![&e(f\-])", PAGE) and "…" not in PAGE


def test_commands_options_settings_and_exit_codes_are_in_it() -> None:
    for text in (r"kbjobs run index\-offline [SOURCE]", r"\-\-not\-before TIME", "KBJOBS_WORKERS", "OPTIONS OF EVERY"):
        assert text in PAGE
    codes = PAGE.partition(".SH EXIT STATUS")[2].partition(".SH ")[0]
    assert [int(code) for code in re.findall(r"\\fB(\d+)\\fR", codes)] == sorted(map(int, ExitCode))
