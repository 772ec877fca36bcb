"""URLs, their hosts, and what of them is not shown."""

from __future__ import annotations

import pytest

from kbjobs.scraping.web_urls import host_of, is_web_url, without_password


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://Example.org/a", "example.org"), ("http://example.org:80/", "example.org"),
        ("https://example.org:443/", "example.org"), ("https://example.org:80/", "example.org:80"),
        ("http://user:secret@example.org:8000/", "example.org:8000"), ("http://[::1]:8000/", "[::1]:8000"),
    ],
)  # fmt: skip
def test_the_host_of_a_url(url: str, host: str) -> None:
    assert host_of(url) == host
    assert is_web_url(url)


@pytest.mark.parametrize(
    "url",
    ["", "/a", "//example.org/", "example.org", "http:", "http:///a", "ftp://example.org/", "http://[::1", "http://a:99999/",
     "http://a:b/", "mailto:a@example.org", "javascript:alert(1)", "http://[x]/"],
)  # fmt: skip
def test_no_web_url(url: str) -> None:
    assert not is_web_url(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:p@ss@example.org/a@b", "http://example.org/a@b"), ("http://example.org/a@b", "http://example.org/a@b"),
        ("https://user@[::1]:80?x@y", "https://[::1]:80?x@y"), ("file:///etc/passwd", "file:///etc/passwd"), ("", ""),
        ("http://[::1", "http://[::1"),
    ],
)  # fmt: skip
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown
