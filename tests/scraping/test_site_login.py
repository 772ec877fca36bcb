"""A site behind a login: what it is sent, what nobody else is sent, and what happens when the login ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.cookiejar import MozillaCookieJar
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.config.secrets import set_secret, stored_secrets
from kbjobs.daemon.launching import stop_daemon
from kbjobs.errors import ExitCode, JobInterrupted, UnavailableError, UsageError
from kbjobs.scraping.site_login import SiteLogin, asks_for_password, check_site, origin_of, read_header, read_login
from tests.conftest import Kbjobs
from tests.scraping.test_scrape import files_of, page, scrape_site
from tests.servers.site_server import Answer, Page, Request, SiteServer

TOKEN = "Bearer secret-hunter2"
FORM = Page("<title>Log in</title><p>Please log in.</p><form><input name=p type='password'></form>")


class Club:
    """A site whose pages are for those who are logged in, by a header or a cookie."""

    def __init__(self, refuse: Callable[[Request], Answer]) -> None:
        self.refuse, self.is_open, self.most = refuse, True, 1_000
        self.server = SiteServer({})
        for number in range(12):
            path = f"/p/{number}" if number else "/"
            links = [f"/p/{number + 1}"] if number < 11 else []
            self.server.pages[path] = self.guard(page(f"Page {number}", *links))
        self.server.pages["/login"] = FORM

    def guard(self, wanted: Page) -> Callable[[Request], Answer]:
        def answer(request: Request) -> Answer:
            knows = request.headers.get("authorization") == TOKEN or "sid=hunter2" in request.headers.get("cookie", "")
            self.most -= 1
            return wanted if knows and self.is_open and self.most >= 0 else self.refuse(request)

        return answer


REFUSALS: dict[str, Callable[[Request], Answer]] = {
    "status": lambda request: Page("no", 401),
    "forbidden": lambda request: Page("no", 403),
    "form": lambda request: FORM,
    "redirect": lambda request: Page(location=f"/login?next={request.path}"),
    "elsewhere": lambda request: Page(location="https://login.example.org/"),
}


@pytest.fixture(params=["status"])
def club(request: pytest.FixtureRequest) -> Iterator[Club]:
    found = Club(REFUSALS[request.param])
    yield found
    found.server.close()


def cookie_line(domain: str, name: str, value: str, expires: int = 4_000_000_000, sub: str = "FALSE") -> str:
    return "\t".join([domain, sub, "/", "FALSE", str(expires), name, value])


def cookie_file(path: Path, *lines: str) -> Path:
    path.write_text("# Netscape HTTP Cookie File\n" + "\n".join(lines) + "\n")
    return path


def assert_hidden(home: Home, *outputs: str) -> None:
    """The secret is in no file of the home but that of the secrets, and in no output."""
    for path in home.path.rglob("*"):
        if path.is_file() and path != home.secrets_file:
            assert b"hunter2" not in path.read_bytes(), path
    assert not [text for text in outputs if "hunter2" in text]


def test_a_header_is_kept_with_the_secrets_and_sent(home: Home, club: Club, kbjobs: Kbjobs) -> None:
    options = ("--url", club.server.url, "--request-delay", "0", "--max-depth", "20")
    ended = kbjobs("run", "scrape", "club", *options, "--header", f"Authorization: {TOKEN}")
    assert "12 pages: 12 saved" in ended.stdout
    assert stored_secrets(home) == {"scrape.club": f"Authorization: {TOKEN}"}
    texts = [kbjobs(*command).stdout for command in (("history", "--json"), ("logs", "1"), ("config", "show"))]
    assert_hidden(home, ended.stdout, ended.stderr, *texts)
    assert "12 pages" in kbjobs("run", "scrape", "club").stdout  # the next one needs no header
    kbjobs("sources", "delete", "club", "--confirm", "club")
    assert stored_secrets(home) == {}  # else another source of that name would send it elsewhere
    stop_daemon(home, now=True, seconds=20)


def test_cookies_of_a_file(home: Home, club: Club, tmp_path: Path) -> None:
    file = cookie_file(tmp_path / "cookies.txt", cookie_line("127.0.0.1", "sid", "hunter2"),
                       cookie_line("other.example.org", "sid", "other-hunter2"))  # fmt: skip
    assert scrape_site(home, club.server.url, max_depth=20, cookies=str(file)).counts["saved"] == 12
    assert all("other" not in request.headers.get("cookie", "") for request in club.server.requests)
    assert_hidden(home)


def test_nobody_else_is_sent_them(home: Home, club: Club, tmp_path: Path) -> None:
    """Neither another port of the host, nor the target of a redirect, nor a picture elsewhere."""
    with SiteServer({"*": page("Other")}) as other:
        club.server.pages["/p/3"] = Page(location=f"{other.url}/stolen")
        club.server.pages["/p/4"] = club.guard(page("Page 4", f"{other.url}/linked"))
        club.server.pages["/"] = club.guard(page("Start", "/p/1", "/p/3", "/p/4", f"{other.url}/x"))
        set_secret(home, "scrape.site", f"Authorization: {TOKEN}")
        file = cookie_file(tmp_path / "c", cookie_line("127.0.0.1", "sid", "hunter2"))
        scrape_site(home, club.server.url, max_depth=20, cookies=str(file), include_assets=True)
        for request in other.requests:
            assert "authorization" not in request.headers and "cookie" not in request.headers
    assert any("cookie" in request.headers for request in club.server.requests)


@pytest.mark.parametrize("club", sorted(REFUSALS), indirect=True)
def test_a_login_that_ends_interrupts_the_job_and_no_form_is_saved(home: Home, club: Club) -> None:
    set_secret(home, "scrape.site", f"Authorization: {TOKEN}")
    club.most = 5
    with pytest.raises(JobInterrupted, match="no longer accepts the login") as raised:
        scrape_site(home, club.server.url, max_depth=20, wiki=False)
    assert "kbjobs config set-secret scrape.site" in raised.value.hint
    saved = files_of(home)
    assert 0 < len(saved) < 12 and not any(b"Log in" in content for content in saved.values())
    club.most = 1_000
    assert scrape_site(home).counts["pages"] == 12
    assert not any(b"Log in" in content for content in files_of(home).values())


def test_a_job_that_is_interrupted_says_what_to_do(home: Home, club: Club, kbjobs: Kbjobs) -> None:
    club.is_open = False
    ended = kbjobs("run", "scrape", "club", "--url", club.server.url, "--request-delay", "0",
                   "--header", "bearer secret-hunter2", check=ExitCode.INTERRUPTED)  # fmt: skip
    assert "no longer accepts the login" in ended.stderr + ended.stdout
    assert "kbjobs resume 1" in ended.stderr + ended.stdout
    club.is_open = True
    kbjobs("resume", "1")
    assert_hidden(home, ended.stdout, ended.stderr)
    assert len(files_of(home, "club")) == 4  # the default depth
    stop_daemon(home, now=True, seconds=20)


def test_a_page_that_asks_members_for_their_password_is_left_out(home: Home, club: Club) -> None:
    """To change it, for example; the start page says that the login is valid."""
    club.server.pages["/p/2"] = club.guard(Page("<title>Change</title><input type=password>"))
    club.server.pages["/"] = club.guard(page("Start", "/p/1", "/p/2", "/p/3"))
    set_secret(home, "scrape.site", f"Authorization: {TOKEN}")
    result = scrape_site(home, club.server.url, max_depth=20, wiki=False)
    assert result.failed == 1 and "1 asks for a login" in result.summary and "p/2.html" not in files_of(home)


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("bearer abc", ("Authorization", "Bearer abc")),
        ("Basic ann:pass:word", ("Authorization", "Basic YW5uOnBhc3M6d29yZA==")),
        ("X-Key:  abc ", ("X-Key", "abc")),
        ("Authorization: Token abc", ("Authorization", "Token abc")),
    ],
)
def test_headers(text: str, header: tuple[str, str]) -> None:
    assert read_header(text) == header


@pytest.mark.parametrize(
    "text",
    ["hunter2", "", ": hunter2", "Bad Name: hunter2", "X-Key: ", "X: a\r\nHost: hunter2", "Host: hunter2",
     "Cookie: sid=hunter2", "Content-Length: 7", "Proxy-Authorization: hunter2", "X-Key: hunter2\x00", "basic hunter2",
     "X-Ключ: hunter2"],
)  # fmt: skip
def test_a_bad_header_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_header(text)
    assert "hunter2" not in raised.value.message + raised.value.hint


def test_nothing_is_sent_in_the_clear(home: Home, kbjobs: Kbjobs, tmp_path: Path) -> None:
    check_site("https://wiki.example.org/")
    check_site("http://127.0.0.1:8000/")
    for options in (("--header", "bearer hunter2"), ("--cookies", str(tmp_path / "c"))):
        ended = kbjobs("run", "scrape", "club", "--url", "http://wiki.example.org/", *options, check=2)
        assert "where others can read it" in ended.stderr
    assert not home.secrets_file.exists()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([cookie_line("other.org", "sid", "hunter2")], "no valid cookie of wiki.example.org"),
        ([cookie_line("wiki.example.org", "sid", "hunter2", expires=1)], "no valid cookie"),
        ([cookie_line("evilwiki.example.org", "sid", "hunter2")], "no valid cookie"),
        (["hunter2 hunter2"], "no file of cookies"),
    ],
)
def test_cookies_that_are_no_good(home: Home, tmp_path: Path, lines: list[str], reason: str) -> None:
    file = cookie_file(tmp_path / "c", *lines)
    with pytest.raises(UsageError, match=reason) as raised:
        read_login(home, "site", "https://wiki.example.org/", str(file))
    assert "hunter2" not in raised.value.message


def test_files_of_cookies_that_cannot_be_read(home: Home, tmp_path: Path) -> None:
    url = "https://wiki.example.org/"
    with pytest.raises(UnavailableError, match="cannot read"):
        read_login(home, "site", url, str(tmp_path / "nothing"))
    (tmp_path / "large").write_bytes(b"#" * (2 << 20))
    with pytest.raises(UsageError, match="larger than"):
        read_login(home, "site", url, str(tmp_path / "large"))
    (tmp_path / "other").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no file of cookies"):
        read_login(home, "site", url, str(tmp_path / "other"))


def test_cookies_are_bound_to_their_site(home: Home, tmp_path: Path) -> None:
    file = cookie_file(tmp_path / "c", cookie_line(".example.org", "sid", "hunter2", sub="TRUE"),
                       cookie_line("wiki.example.org", "own", "1"))  # fmt: skip
    login = read_login(home, "site", "https://wiki.example.org:8443/", str(file))
    assert login is not None and {cookie.name for cookie in login.cookies} == {"sid", "own"}
    jar = MozillaCookieJar()
    for cookie in login.cookies:
        jar.set_cookie(cookie)
        assert cookie.secure and cookie.port == "8443" and cookie.domain == "wiki.example.org"


@pytest.mark.parametrize(
    ("html", "asks"),
    [
        (b"<input type=password>", True),
        (b"<INPUT name='a' TYPE = 'Password' >", True),
        (b"<input type=text placeholder=password>", False),
        (b"<p>input type=password", False),
        (b"<input " + b"x" * 2_000_000, False),
        (b"<input " * 100_000, False),
    ],
    ids=range(6),
)  # fmt: skip
def test_a_field_for_a_password(html: bytes, asks: bool) -> None:
    assert asks_for_password(html) is asks


def test_a_header_goes_to_its_origin_alone() -> None:
    login = SiteLogin(origin_of("https://wiki.example.org/start"), (("X-Key", "1"),), ())
    for url, is_own in (
        ("https://wiki.example.org/page", True), ("https://WIKI.example.org:443/", True),
        ("http://wiki.example.org/", False), ("http://wiki.example.org:443/", False),
        ("https://wiki.example.org:8443/", False), ("https://example.org/", False),
        ("https://www.wiki.example.org/", False), ("https://wiki.example.org.evil.org/", False),
        ("https://wiki.example.org@evil.org/", False),
    ):  # fmt: skip
        assert bool(login.headers_for(url)) is is_own, url


def test_a_secret_of_another_kind_of_name(home: Home) -> None:
    for name in ("scrape.", "scrape.Wiki", "scrape.a b", "other.wiki", "scrape.-x"):
        with pytest.raises(UsageError, match="is not the name of a secret"):
            set_secret(home, name, "x")
