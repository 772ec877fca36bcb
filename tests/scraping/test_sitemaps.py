"""Sitemaps of all kinds, and what only looks like one."""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from collections.abc import Callable

import pytest

from kbjobs.scraping import site_files
from kbjobs.scraping.site_files import find_urls
from kbjobs.scraping.sitemaps import MAX_BYTES, MAX_URLS, Sitemap, read_sitemap
from tests.scraping.conftest import fetcher_for
from tests.servers.site_server import Page, SiteServer

NAMESPACE = "http://www.sitemaps.org/schemas/sitemap/0.9"
URLSET = f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- a comment --><?xml-stylesheet href="x.xsl"?>
<urlset xmlns="{NAMESPACE}" xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
  <url>
    <loc> http://example.org/a?b=1&amp;c=ü </loc><lastmod>2024-05-01</lastmod><priority>0.5</priority>
    <image:image><image:loc>http://example.org/a.png</image:loc></image:image>
  </url>
  <url><loc><![CDATA[https://example.org/b]]></loc></url>
  <url><loc>ftp://example.org/c</loc></url><url><loc>/relative</loc></url><url/><url><loc/></url>
</urlset>
"""
PAGES = [("http://example.org/a?b=1&c=ü", "2024-05-01"), ("https://example.org/b", "")]


def urlset(*urls: str) -> str:
    return f'<urlset xmlns="{NAMESPACE}">' + "".join(f"<url><loc>{url}</loc></url>" for url in urls) + "</urlset>"


def index(*urls: str) -> str:
    return f"<sitemapindex>{''.join(f'<sitemap><loc>{url}</loc></sitemap>' for url in urls)}</sitemapindex>"


@pytest.mark.parametrize(
    "body",
    [
        URLSET.encode(), gzip.compress(URLSET.encode()), b"\xef\xbb\xbf" + URLSET.encode(), b"\r\n  " + URLSET.encode(),
        URLSET.replace("UTF-8", "UTF-16").encode("utf-16"), URLSET.replace("UTF-8", "ISO-8859-1").encode("latin-1"),
        re.sub("<(/?)(url|loc)", r"<\1s:\2", URLSET).replace("xmlns=", "xmlns:s=").encode(),
        URLSET.replace(f' xmlns="{NAMESPACE}"', "").encode(),
        b"<!DOCTYPE urlset SYSTEM 'http://example.org/x.dtd'>" + URLSET.partition("?>")[2].encode(),
    ],
)  # fmt: skip
def test_a_sitemap(body: bytes) -> None:
    assert read_sitemap(body) == Sitemap(PAGES)


def test_an_index() -> None:
    body = index("http://example.org/1.xml", "http://example.org/2.xml.gz", "file:///etc/passwd")
    assert read_sitemap(body.encode()).sitemaps == ["http://example.org/1.xml", "http://example.org/2.xml.gz"]


def test_a_list_of_urls() -> None:
    body = b"\xef\xbb\xbfhttp://example.org/a\r\n\r\n https://example.org/b \n# no url\n"
    assert read_sitemap(body).urls == [("http://example.org/a", ""), ("https://example.org/b", "")]
    assert read_sitemap(b"") == read_sitemap(b" \n") == read_sitemap(b"<urlset/>") == Sitemap()


def test_rss() -> None:
    body = b"""<rss version="2.0"><channel><link>http://example.org/</link>
    <image><url>http://example.org/logo.png</url><link>http://example.org/</link></image>
    <item><title>A</title><link>http://example.org/a</link><pubDate>Wed, 21 Oct 2015 07:28:00 GMT</pubDate>
    <source url="http://example.net/"><url>x</url></source></item></channel></rss>"""
    assert read_sitemap(body).urls == [("http://example.org/a", "Wed, 21 Oct 2015 07:28:00 GMT")]


def test_rdf() -> None:
    body = b"""<rdf:RDF xmlns:rdf="r" xmlns="http://purl.org/rss/1.0/"
    xmlns:dc="d"><channel><link>http://x.org/</link></channel>
    <item><link>http://example.org/a</link><dc:date>2024-01-01</dc:date></item></rdf:RDF>"""
    assert read_sitemap(body).urls == [("http://example.org/a", "2024-01-01")]


def test_atom() -> None:
    body = b"""<feed xmlns="http://www.w3.org/2005/Atom"><link href="http://example.org/"/>
    <entry><link rel="edit" href="http://example.org/edit"/><link rel="alternate" href="http://example.org/a"/>
    <updated>2024-01-01T00:00:00Z</updated><source><link href="http://example.net/"/></source></entry>
    <entry><link href="http://example.org/b"/></entry></feed>"""
    assert read_sitemap(body).urls == [("http://example.org/a", "2024-01-01T00:00:00Z"), ("http://example.org/b", "")]


LAUGHS = "".join(f'<!ENTITY l{number} "{f"&l{number - 1};" * 10}">' for number in range(1, 10))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f'<!DOCTYPE u [<!ENTITY l0 "ha">{LAUGHS}]><urlset><url><loc>&l9;</loc></url></urlset>', "declares an entity"),
        ('<!DOCTYPE u [<!ENTITY x SYSTEM "file:///etc/passwd">]><urlset><url><loc>&x;</loc></url></urlset>', "entity"),
        ('<!DOCTYPE u [<!ENTITY % x SYSTEM "http://127.0.0.1/">%x;]><urlset/>', "declares an entity"),
        ("<!DOCTYPE html><html><head><title>Not found</title><body><p>x<br></html>", "begins with <html>"),
        ("<svg/>", "begins with <svg>"),
        (URLSET[:300], "not XML"),
        ("<urlset><url><loc>http://example.org/?a&b</loc></url></urlset>", "not XML"),
        ("<urlset>&unknown;</urlset>", "not XML"),
        ("<urlset>" + "<a>" * 1_000_000, "deep"),
        ('<?xml version="1.0" encoding="no-such"?><urlset/>', "not XML"),
        ("Page not found", "neither XML nor a list"),
    ],
)  # fmt: skip
def test_what_is_no_sitemap(body: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_sitemap(body.encode())


def test_damaged_and_hostile_gzip() -> None:
    with pytest.raises(ValueError, match="end is missing"):
        read_sitemap(gzip.compress(URLSET.encode())[:-10])
    with pytest.raises(ValueError, match="become more than"):
        read_sitemap(gzip.compress(b"<urlset>" + b" " * 2 * MAX_BYTES))


def test_more_urls_than_a_file_may_have() -> None:
    began = time.monotonic()
    sitemap = read_sitemap(urlset(*(f"http://example.org/{number}" for number in range(MAX_URLS + 5))).encode())
    assert (len(sitemap.urls), sitemap.is_cut) == (MAX_URLS, True)
    assert time.monotonic() - began < 10


def find(
    url: str, is_allowed: Callable[[str], bool] = lambda url: True, max_pages: int = 1000
) -> tuple[list[tuple[str, str]], list[str]]:
    async def ask() -> tuple[list[tuple[str, str]], list[str]]:
        async with fetcher_for() as fetcher:
            return await find_urls(fetcher, url, is_allowed, max_pages)

    return asyncio.run(ask())


def test_the_pages_of_an_index(site: SiteServer) -> None:
    site.pages |= {
        "/sitemap.xml": index(f"{site.url}/1.xml", f"{site.url}/2.gz", f"{site.url}/1.xml", f"{site.url}/sitemap.xml"),
        "/1.xml": Page(urlset("http://a.org/1", "http://a.org/2"), type="text/xml"),
        "/2.gz": Page(gzip.compress(urlset("http://a.org/2", "http://a.org/3").encode()), type="application/gzip"),
    }
    pages, problems = find(f"{site.url}/sitemap.xml")
    assert [page for page, _ in pages] == ["http://a.org/1", "http://a.org/2", "http://a.org/3"]
    assert not problems
    assert site.paths() == ["/sitemap.xml", "/1.xml", "/2.gz"]


def test_what_cannot_be_read_does_not_stop_the_rest(site: SiteServer) -> None:
    site.pages |= {
        "/sitemap.xml": index(*(f"{site.url}/{number}.xml" for number in range(1, 6))),
        "/1.xml": "<html>",
        "/2.xml": Page("x" * 100, declared_length=200),
        "/3.xml": index(f"{site.url}/6.xml"),
        "/5.xml": urlset("http://a.org/1"),
    }
    pages, problems = find(f"{site.url}/sitemap.xml")
    assert pages == [("http://a.org/1", "")]
    assert [problem.partition(": ")[0] for problem in problems] == [
        *["A sitemap cannot be read"] * 2, "An index inside an index is not followed", "A sitemap cannot be read",
    ]  # fmt: skip
    assert problems[3].endswith("/4.xml: the server answers 404")


def test_only_pages_that_are_wanted_and_not_too_many(site: SiteServer) -> None:
    site.pages |= {
        "/sitemap.xml": index(f"{site.url}/1.xml", f"{site.url}/2.xml"),
        "/1.xml": urlset(*(f"http://{name}.org/{number}" for number in range(5) for name in "ab")),
    }
    pages, _ = find(f"{site.url}/sitemap.xml", lambda url: "b.org" in url, max_pages=3)
    assert [page for page, _ in pages] == [f"http://b.org/{number}" for number in range(3)]
    assert site.paths() == ["/sitemap.xml", "/1.xml"]


def test_sitemaps_of_other_hosts_are_not_asked_for(site: SiteServer) -> None:
    site.pages |= {"/sitemap.xml": index("http://a.invalid/1.xml", "http://b.invalid/2.xml", f"{site.url}/3.xml")}
    site.pages |= {"/3.xml": Page(location="http://c.invalid/")}
    pages, problems = find(f"{site.url}/sitemap.xml", lambda url: False)
    assert not pages
    assert len(problems) == 2 and "another host" in problems[0] and "leaves the site" in problems[1]


def test_an_index_of_many_sitemaps(site: SiteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_files, "MAX_FILES", 3)
    site.pages["/sitemap.xml"] = index(*(f"{site.url}/{number}.xml" for number in range(10)))
    _, problems = find(f"{site.url}/sitemap.xml")
    assert len(site.requests) == 4
    assert "10 sitemaps, 3 of them" in problems[0]
