"""Messages without secrets and without the places of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.assistant.redaction import Redaction, public_address
from kbjobs.config.home import Home
from kbjobs.config.secrets import set_secret
from kbjobs.services.sources import register
from tests.conftest import write_pages


@pytest.fixture
def redaction(home: Home) -> Redaction:
    return Redaction(home)


def test_folders_of_the_home_and_of_sources(home: Home, tmp_path: Path, redaction: Redaction) -> None:
    pages = write_pages(tmp_path / "my own pages", 1)
    register(home, "wiki", [pages])
    message = f"{home.path}/sources/wiki/words.db and {pages}/page0.html in {pages} cannot be read"
    assert redaction.hide_paths(message) == "sources/wiki/words.db and page0.html in my own pages cannot be read"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot read /srv/data/big.zim: no such file", "cannot read big.zim: no such file"),
        ("'/srv/a b'", "'a b'"),
        ("file:///srv/data/a%20page.html", "a page.html"),
        ("see https://example.org/a/b and //host/c", "see https://example.org/a/b and //host/c"),
        ("1/2 of and/or", "1/2 of and/or"),
        ("(/etc/passwd)", "(passwd)"),
        ("path=/etc/passwd", "path=passwd"),
    ],
)
def test_other_paths_become_names(redaction: Redaction, text: str, shown: str) -> None:
    assert redaction.hide_paths(text) == shown


def test_json_values(redaction: Redaction) -> None:
    value = {"number": 1, "nothing": None, "list": ["/srv/x", True], "deep": {"text": "/srv/y"}}
    assert redaction.hide_paths(value) == {"number": 1, "nothing": None, "list": ["x", True], "deep": {"text": "y"}}


def test_secrets_of_the_environment_and_of_the_file(
    home: Home, redaction: Redaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    monkeypatch.setenv("SHORT_TOKEN", "1")
    set_secret(home, "PINECONE_API_KEY", "sk-stored")
    assert redaction.hide_secrets({"a": ["sk-environment1", "sk-stored"]}) == {"a": ["…1", "…"]}


def test_a_file_of_secrets_that_others_may_read_stops_nothing(home: Home, redaction: Redaction) -> None:
    set_secret(home, "PINECONE_API_KEY", "sk-stored")
    home.secrets_file.chmod(0o644)
    assert redaction.hide_secrets("text") == "text"


def test_a_damaged_source_hides_no_other_folder(home: Home, tmp_path: Path, redaction: Redaction) -> None:
    pages = write_pages(tmp_path / "pages with space", 1)
    for source_id in ("good", "damaged"):
        register(home, source_id, [pages])
    (home.sources / "damaged" / "manifest.json").write_text("{")
    assert redaction.hide_paths(f"{pages}/page0.html") == "page0.html"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://ada:secret@example.org/page?a=1", "https://example.org/page?a=1"),
        ("http://example.org/", "http://example.org/"),
        ("file:///home/ada/pages/a.html", "a.html"),
        ("javascript:alert(1)", "a.html"),
        ("", "a.html"),
    ],
)
def test_address_of_a_document(url: str, address: str) -> None:
    assert public_address(url, "a.html") == address
