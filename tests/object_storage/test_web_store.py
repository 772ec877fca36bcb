"""A store on a web server."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import KbjobsError, MissingRequirementError, TransientError, UnavailableError
from kbjobs.object_storage import web_store
from kbjobs.object_storage.bucket import Bucket
from kbjobs.object_storage.store_address import open_bucket, read_address
from kbjobs.object_storage.web_store import WebBucket
from tests.servers.site_server import Page, SiteServer


def open_at(home: Home, url: str) -> Bucket:
    bucket = open_bucket(home, Settings(home), read_address(f"{url}/store/"))
    assert isinstance(bucket, WebBucket)
    return bucket


def test_objects_are_read(home: Home, tmp_path: Path) -> None:
    pages = {"/store/a/c%20d%20%C3%BC": Page(b"x" * 5000, headers={"ETag": '"1"'})}
    with SiteServer(pages) as server:
        bucket = open_at(home, server.url)
        found = bucket.find("a/c d ü")
        assert found is not None and (found.name, found.size) == ("a/c d ü", 5000)
        content = bucket.read("a/c d ü", 100)
        assert content is not None and (len(content.data), content.tag) == (101, '"1"')
        assert bucket.save("a/c d ü", tmp_path / "x", 5000)
        assert (tmp_path / "x").read_bytes() == b"x" * 5000
        assert bucket.find("a/b") is None and bucket.read("a/b", 10) is None
        assert not bucket.save("a/b", tmp_path / "y", 10)
        with pytest.raises(UnavailableError, match="has more than 4,999 bytes"):
            bucket.save("a/c d ü", tmp_path / "z", 4999)
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["x"]


def test_it_is_not_written_to(home: Home) -> None:
    bucket = open_at(home, "http://127.0.0.1:9")
    for act in (
        lambda: bucket.put("a", b""), lambda: bucket.put_new("a", b""), lambda: bucket.put_over("a", b"", None),
        lambda: bucket.delete(["a"]), lambda: bucket.list("a/"),
    ):  # fmt: skip
        with pytest.raises(UnavailableError, match="is a web server, which does not let kbjobs"):
            act()


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        (Page("", 403), MissingRequirementError),
        (Page("", 500), TransientError),
        (Page(b"x" * 9, reset_after=3), TransientError),
        (Page(location="http://169.254.169.254/x"), UnavailableError),
    ],
)
def test_what_stands_in_the_way_is_told(
    home: Home, monkeypatch: pytest.MonkeyPatch, page: Page, kind: type[KbjobsError]
) -> None:
    monkeypatch.setattr(web_store, "GIVE_UP_SECONDS", 0.0)
    with SiteServer({"/store/a": page}) as server, pytest.raises(kind):
        open_at(home, server.url).read("a", 100)
