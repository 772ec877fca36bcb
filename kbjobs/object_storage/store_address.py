"""Opening a store by its address: a path, file://, s3://, gs://, az://, or http(s):// to read from.

Credentials come from the environment or the stored secrets, by the names that the stores' own tools use. Without any, a
store is read anonymously; instance metadata is requested only if ``cloud.instance_credentials`` is set.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from kbjobs.config.home import Home
from kbjobs.config.secrets import find_secret
from kbjobs.config.settings import Settings
from kbjobs.errors import UsageError
from kbjobs.net.addresses import is_loopback
from kbjobs.object_storage.bucket import Bucket
from kbjobs.object_storage.folder import FolderBucket
from kbjobs.object_storage.web_store import WebBucket

SCHEMES = ("file", "s3", "gs", "az", "https", "http")
RETRIES = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
TIMEOUT = "120s"

# For each kind of store, the names of its credentials, and obstore's names for them.
CREDENTIALS: dict[str, dict[str, str]] = {
    "s3": {
        "AWS_ACCESS_KEY_ID": "access_key_id",
        "AWS_SECRET_ACCESS_KEY": "secret_access_key",
        "AWS_SESSION_TOKEN": "session_token",
    },
    "gs": {"GOOGLE_SERVICE_ACCOUNT_KEY": "service_account_key", "GOOGLE_APPLICATION_CREDENTIALS": "service_account"},
    "az": {
        "AZURE_STORAGE_ACCOUNT_KEY": "account_key",
        "AZURE_STORAGE_SAS_KEY": "sas_key",
        "AZURE_STORAGE_TOKEN": "token",
    },
}
NEEDED = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
    "az": ("AZURE_STORAGE_ACCOUNT_KEY",),
}
"""The credentials that a writing job needs: the first choice of each kind of store."""


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A checked address: its scheme and URL, without credentials, which no address may contain."""

    scheme: str
    url: str
    path: Path | None = None

    @property
    def is_writable(self) -> bool:
        """Whether this kind of store can be written to."""
        return not self.scheme.startswith("http")


def read_address(where: str) -> StoreAddress:
    """Read and check an address. Raises UsageError that shows the valid forms."""
    if "://" not in where:
        if not where.strip() or "\0" in where:
            raise UsageError(f"{where!r} is not the address of a store", _forms())
        path = Path(where).expanduser().absolute()
        return StoreAddress("file", str(path), path)
    parts = _split(where)
    if parts is None or parts.scheme not in SCHEMES or parts.fragment or parts.query:
        raise UsageError(f"{_hide(where)!r} is not the address of a store", _forms())
    if parts.username or parts.password:
        raise UsageError(
            f"{_hide(where)!r} contains a name or password",
            "Remove it, and store the credentials with kbjobs config set-secret NAME.",
        )
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or "\0" in unquote(parts.path):
            raise UsageError(f"{where!r} is not a folder on this machine", _forms())
        path = Path(unquote(parts.path))
        return StoreAddress("file", str(path), path)
    if not parts.hostname:
        raise UsageError(f"{where!r} names no bucket", _forms())
    return StoreAddress(parts.scheme, where.rstrip("/"))


def open_bucket(home: Home, settings: Settings, address: StoreAddress) -> Bucket:
    """Open the store at an address, without sending a request yet.

    Args:
        home: the home whose secrets have the credentials.
        settings: the settings in force, with region and endpoint of S3.
        address: the address.

    Raises:
        UsageError: the endpoint is invalid, or would get credentials unencrypted.
    """
    if address.path is not None:
        return FolderBucket(address.path)
    if not address.is_writable:
        return WebBucket(address.url)
    from obstore.store import from_url

    from kbjobs.object_storage.remote import RemoteBucket

    config = _credentials(home, address.scheme)
    secret = list(config.values())
    client: dict[str, Any] = {"timeout": TIMEOUT, "connect_timeout": "10s", "user_agent": "kbjobs"}
    is_anonymous = not secret and not settings.integer("cloud.instance_credentials")
    if address.scheme == "s3":
        config |= _place_of_s3(home, settings)
    if is_anonymous:
        config["skip_signature"] = "true"
    endpoint = urlsplit(config.get("endpoint") or address.url)
    if endpoint.scheme == "http":
        if secret and not is_loopback(endpoint.hostname or ""):
            raise UsageError(
                f"credentials are set and {endpoint.geturl()} is not encrypted: others could read what is sent",
                "Give an address that begins with https:.",
            )
        client["allow_http"] = True
    options: dict[str, Any] = {"client_options": client, "retry_config": RETRIES, "config": config}
    store = from_url(address.url, **options)
    return RemoteBucket(address.url, store, secret, format_credentials(address.scheme))


def missing_credentials(address: StoreAddress, settings: Settings) -> tuple[str, ...]:
    """The names of the secrets that a job needs to write to the store."""
    if settings.integer("cloud.instance_credentials"):
        return ()
    return NEEDED.get(address.scheme, ())


def format_credentials(scheme: str) -> str:
    """The commands that set a store's credentials, for hints."""
    names = NEEDED.get(scheme, ())
    return "; ".join(f"kbjobs config set-secret {name}" for name in names)


def _credentials(home: Home, scheme: str) -> dict[str, str]:
    found = {option: find_secret(home, name) for name, option in CREDENTIALS.get(scheme, {}).items()}
    return {option: value for option, value in found.items() if value}


def _place_of_s3(home: Home, settings: Settings) -> dict[str, str]:
    endpoint = settings.text("s3.endpoint") or find_secret(home, "AWS_ENDPOINT_URL") or ""
    region = settings.text("s3.region") or find_secret(home, "AWS_REGION") or find_secret(home, "AWS_DEFAULT_REGION")
    parts = _split(endpoint)
    if endpoint and (parts is None or parts.scheme not in ("http", "https") or not parts.hostname):
        raise UsageError(f"s3.endpoint = {_hide(endpoint)!r} is no address", "Give one like https://HOST.")
    return {name: value for name, value in (("endpoint", endpoint), ("region", region)) if value}


def _split(where: str) -> SplitResult | None:
    try:
        parts = urlsplit(where)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _hide(where: str) -> str:
    """An address without the part before an @, which may contain a password."""
    scheme, _, rest = where.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if rest else where


def _forms() -> str:
    return "Give a folder, s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH, or https://HOST/PATH to read from."
