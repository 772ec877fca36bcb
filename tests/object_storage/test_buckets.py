"""Every kind of store behind the one interface: a folder, and real servers that speak S3."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import ExitCode, KbjobsError, MissingRequirementError, NotFoundError, TransientError, UsageError
from kbjobs.object_storage.bucket import Bucket
from kbjobs.object_storage.folder import FolderBucket
from kbjobs.object_storage.store_address import open_bucket, read_address
from tests.servers.chroma_process import Proxy, free_port
from tests.servers.s3_servers import BUCKET, READER_KEY, READER_SECRET, STORES, S3Server, use


def open_at(home: Home, where: str) -> Bucket:
    return open_bucket(home, Settings(home), read_address(where))


@pytest.fixture(params=STORES)
def bucket(
    request: pytest.FixtureRequest, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    s3_servers: dict[str, S3Server],
) -> Bucket:  # fmt: skip
    if request.param == "folder":
        return open_at(home, f"file://{tmp_path}/store")
    use(s3_servers[request.param], monkeypatch)
    return open_at(home, f"s3://{BUCKET}/{tmp_path.name}")


def is_bare(bucket: Bucket) -> bool:
    return not isinstance(bucket, FolderBucket) and not bucket.keeps_conditions()


def test_objects_are_written_read_listed_and_deleted(bucket: Bucket) -> None:
    assert bucket.find("a/b") is None and bucket.read("a/b", 10) is None
    bucket.put("a/b", b"one")
    bucket.put("a/b", b"two!")
    bucket.put("a/c d ü", b"x" * 6_000_000)
    found = bucket.find("a/b")
    assert found is not None and (found.name, found.size) == ("a/b", 4)
    content = bucket.read("a/b", 10)
    assert content is not None and content.data == b"two!"
    large = bucket.read("a/c d ü", 1000)
    assert large is not None and len(large.data) == 1001
    assert {one.name: one.size for one in bucket.list("a/")} == {"a/b": 4, "a/c d ü": 6_000_000}
    assert list(bucket.list("z/")) == []
    bucket.delete(["a/b", "a/none"])
    assert [one.name for one in bucket.list("a/")] == ["a/c d ü"]


def test_a_store_without_conditions_is_noticed(request: pytest.FixtureRequest, bucket: Bucket) -> None:
    name = request.node.callspec.params["bucket"]
    assert bucket.keeps_conditions() == (name != "rclone")
    assert list(bucket.list("probes/")) == []


def test_writes_ask_for_what_is_there(bucket: Bucket) -> None:
    if is_bare(bucket):
        return
    with bucket.locked("c"):
        assert bucket.put_new("c", b"1")
        assert not bucket.put_new("c", b"2")
        there = bucket.read("c", 10)
        assert there is not None and there.data == b"1"
        assert bucket.put_over("c", b"3", there.tag)
        assert not bucket.put_over("c", b"4", there.tag)
    there = bucket.read("c", 10)
    assert there is not None and there.data == b"3"


def test_eight_writers_lose_nothing(home: Home, bucket: Bucket) -> None:
    if is_bare(bucket):
        return

    def add(number: int) -> None:
        while True:
            with bucket.locked("list"):
                there = bucket.read("list", 1000)
                new = (there.data if there else b"") + bytes([number])
                if bucket.put_over("list", new, there.tag) if there else bucket.put_new("list", new):
                    return

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there = bucket.read("list", 1000)
    assert there is not None and sorted(there.data) == list(range(8))


def test_a_folder_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    store = FolderBucket(tmp_path / "store")
    store.put("a", b"1")
    (store.root / "b").symlink_to(tmp_path / "secret")
    assert store.find("b") is None
    with pytest.raises(KbjobsError):
        store.read("b", 100)


def test_what_refuses_is_named(home: Home, monkeypatch: pytest.MonkeyPatch, s3_servers: dict[str, S3Server]) -> None:
    use(s3_servers["weed"], monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    with pytest.raises(MissingRequirementError, match="refuses the credentials") as raised:
        open_at(home, f"s3://{BUCKET}").put("a", b"1")
    assert "set-secret AWS_ACCESS_KEY_ID" in raised.value.hint and "wrong-secret" not in str(raised.value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody-knows-it")
    with pytest.raises(MissingRequirementError, match="refuses the credentials"):
        open_at(home, f"s3://{BUCKET}").put("a", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)
    with pytest.raises(MissingRequirementError, match=r"does not allow kbjobs to write|refuses"):
        open_at(home, f"s3://{BUCKET}").put("a", b"1")
    assert open_at(home, f"s3://{BUCKET}").find("a") is None


@pytest.mark.full
def test_a_bucket_that_is_not_there_is_named(
    home: Home, monkeypatch: pytest.MonkeyPatch, s3_servers: dict[str, S3Server]
) -> None:
    use(s3_servers["moto"], monkeypatch)
    with pytest.raises(NotFoundError, match="there is no s3://nowhere"):
        open_at(home, "s3://nowhere").put("a", b"1")


ANSWERS = {
    "RequestTimeTooSkewed": (403, "clock is wrong", ExitCode.UNAVAILABLE),
    "PermanentRedirect": (301, "another region", ExitCode.MISSING_REQUIREMENT),
    "AuthorizationHeaderMalformed": (400, "another region, which is eu-west-1", ExitCode.MISSING_REQUIREMENT),
    "ExpiredToken": (400, "refuses the credentials", ExitCode.MISSING_REQUIREMENT),
    "NoSuchBucket": (404, f"there is no s3://{BUCKET}", ExitCode.NOT_FOUND),
    "AccessDenied": (403, "does not allow kbjobs to write", ExitCode.MISSING_REQUIREMENT),
    "InsufficientStorage": (507, "is full", ExitCode.UNAVAILABLE),
}


@pytest.mark.parametrize("code", ANSWERS)
def test_errors_of_s3_are_told(
    home: Home, monkeypatch: pytest.MonkeyPatch, s3_servers: dict[str, S3Server], code: str
) -> None:
    server = s3_servers["weed"]
    use(server, monkeypatch)
    status, told, exit_code = ANSWERS[code]
    monkeypatch.setattr("kbjobs.object_storage.store_address.RETRIES", {"max_retries": 0})
    with Proxy(server.endpoint) as proxy:
        region = "<Region>eu-west-1</Region>" if code == "AuthorizationHeaderMalformed" else ""
        proxy.fault = lambda method, path: (
            status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message>{region}</Error>"
        )  # fmt: skip
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        with pytest.raises(KbjobsError, match=told) as raised:
            open_at(home, f"s3://{BUCKET}").put("a", b"1")
        assert raised.value.exit_code is exit_code


def test_a_store_that_is_away_is_transient(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kbjobs.object_storage.store_address.RETRIES", {"max_retries": 0})
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(TransientError, match="does not answer"):
        open_at(home, f"s3://{BUCKET}").put("a", b"1")


def test_without_credentials_the_metadata_address_is_not_asked(
    home: Home, monkeypatch: pytest.MonkeyPatch, s3_servers: dict[str, S3Server]
) -> None:
    server = s3_servers["weed"]
    with Proxy(server.endpoint) as proxy, Proxy(server.endpoint) as metadata:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", metadata.url)
        with pytest.raises(MissingRequirementError):
            open_at(home, f"s3://{BUCKET}").find("a")
        assert proxy.seen and not metadata.seen


@pytest.mark.full
def test_where_a_setting_says_so_the_metadata_address_is_asked(
    home: Home, monkeypatch: pytest.MonkeyPatch, s3_servers: dict[str, S3Server]
) -> None:
    server = s3_servers["moto"]
    with Proxy(server.endpoint) as proxy, Proxy(server.endpoint) as metadata:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", metadata.url)
        assert open_at(home, f"s3://{BUCKET}").find("a") is None
        assert proxy.seen and not metadata.seen
        home.config_file.write_text("cloud.instance_credentials = 1\n")
        open_at(home, f"s3://{BUCKET}").find("a")  # moto gives some
        assert metadata.seen


def test_credentials_are_not_sent_in_the_clear(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    home.config_file.write_text('s3.endpoint = "http://s3.example"\n')
    with pytest.raises(UsageError, match="not encrypted"):
        open_at(home, f"s3://{BUCKET}")


@pytest.mark.parametrize(
    "where",
    ["", "s3://", "ftp://x/y", "s3://u:pw@x/y", "file://host/x", "s3://x/?a=1", "s3://x/#a", "http://x:99999999"],
)
def test_what_is_no_address_is_refused(where: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_address(where)
    assert "pw" not in raised.value.message
