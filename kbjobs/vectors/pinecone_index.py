"""A Pinecone index: its host is looked up once by its name, and then gets the requests.

Facts about pinecone 10.2: requests are JSON over HTTP/1.1, any number of threads may use a client, ``list`` returns
at most 100 ids per page, and nothing checks the size of a request before it is sent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from kbjobs.errors import UnavailableError, UsageError
from kbjobs.system.crashpoints import crash_point
from kbjobs.system.files import read_json, write_json
from kbjobs.vectors.pinecone_records import PineconeRecord, write_units
from kbjobs.vectors.pinecone_requests import (
    PineconeAwayError,
    PineconeRefusedError,
    PineconeRequests,
    TooLargeError,
    UnknownIndexError,
)
from kbjobs.vectors.pinecone_target import METRIC, PineconeTarget, check_host, check_pinecone_key, controller_url
from kbjobs.vectors.pinecone_throttle import WriteThrottle

TIMEOUT = 60.0  # seconds for one reply
AT_ONCE = 16
"""Most simultaneous requests; their number grows with each reply and shrinks with each refusal."""
MAX_IDS = 1000  # ids per delete
PAGE_OF_IDS = 100  # ids per page of a list
DEFAULT_NAMESPACE = "__default__"

# Limits per second for a namespace or index, from the page "Database limits" of Pinecone's documentation, 2026, minus a
# tenth: requests may bunch up on their way, and a refusal costs all of them a second.
UPSERTS, UPSERTED_BYTES, DELETES, DELETED_RECORDS, LISTS = 90, 45_000_000, 90, 4500, 180

Found = TypeVar("Found")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IndexDescription:
    """The service's description of an index. ``dimension`` is None unless it has exactly one dense vector field."""

    host: str
    dimension: int | None
    metric: str
    is_ready: bool
    state: str


@dataclass(frozen=True, slots=True)
class PineconeMatch:
    """A record found by a query."""

    name: str
    score: float
    metadata: dict[str, Any]


class PineconeIndex:
    """An index and a namespace in it.

    Args:
        target: the index and the namespace.
        key: the API key; it is sent to the service and nowhere else.
        hosts: the file that caches the hosts of indexes.
        dimension: the dimension that the vectors must have.
        retries: how often a request is repeated after a transient error; by default as usual.
        timeout: seconds to wait for a reply.
    Raises:
        MissingRequirementError: the key is missing or invalid.
    """

    def __init__(
        self,
        target: PineconeTarget,
        key: str | None,
        hosts: Path,
        dimension: int,
        *,
        retries: int | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self.target, self.dimension = target, dimension
        self._key, self._hosts, self._timeout = check_pinecone_key(key), hosts, timeout
        self._controller = controller_url()
        self._ask = PineconeRequests(
            self._key, target.index, AT_ONCE, **({} if retries is None else {"retries": retries})
        )
        self._client: Any = None
        self._index: Any = None
        self._may_be_stale = False
        self._lock = threading.Lock()
        self._upserts, self._upserted = WriteThrottle(UPSERTS), WriteThrottle(UPSERTED_BYTES)
        self._deletes, self._deleted, self._lists = (
            WriteThrottle(DELETES),
            WriteThrottle(DELETED_RECORDS),
            WriteThrottle(LISTS),
        )

    @property
    def retries(self) -> int:
        """The number of requests repeated so far."""
        return self._ask.retries

    def close(self) -> None:
        """Close the connections."""
        for opened in (self._index, self._client):
            if opened is not None:
                opened.close()
        self._index = self._client = None

    def interrupt(self) -> None:
        """Give up requests that wait for their turn or for a retry."""
        self._ask.interrupt()

    # -- the index itself -------------------------------------------------------------------------

    def describe(self) -> IndexDescription:
        """Ask the service for a description of the index. Raises UnknownIndexError."""
        found = self._ask(lambda: self._control().indexes.describe(self.target.index))
        fields = list(found.schema.fields.values())
        dense = [field for field in fields if getattr(field, "dimension", None) is not None]
        return IndexDescription(
            check_host(found.host, "Pinecone") if found.host else "",
            int(dense[0].dimension) if len(dense) == 1 else None,
            str(dense[0].metric) if len(dense) == 1 else "",
            bool(found.status.ready),
            str(found.status.state),
        )

    def create(self) -> None:
        """Create the index with the required dimension and metric; an index that exists already is no error."""
        from pinecone.errors.exceptions import ConflictError

        target = self.target

        def create() -> None:
            try:
                self._control().indexes.create(
                    name=target.index,
                    schema={
                        "fields": {
                            "_values": {"type": "dense_vector", "dimension": self.dimension, "metric": METRIC},
                        }
                    },
                    deployment={"deployment_type": "managed", "cloud": target.cloud, "region": target.region},
                    timeout=-1,  # do not wait: the caller waits, since it can be stopped
                )
            except ConflictError:  # or the reply of an earlier try was lost
                log.info("the index %s is there already", target.index)

        self._ask(create)
        crash_point("pinecone.created")

    def check(self, described: IndexDescription) -> None:
        """Raise UsageError if the index cannot hold the vectors, PineconeAwayError if it is not ready."""
        name = self.target.index
        if described.dimension != self.dimension or described.metric != METRIC:
            has = f"{described.dimension} and {described.metric}" if described.dimension else "no single dense vector"
            raise UsageError(
                f"the Pinecone index {name!r} has dimension and metric {has}, not {self.dimension} and {METRIC}",
                "It was not changed. Name another one in the setting pinecone.index; --create-index makes it.",
            )
        if not described.is_ready or not described.host:
            raise PineconeAwayError(
                f"the Pinecone index {name!r} is not ready ({described.state})", "Wait, then try again."
            )

    def open(self) -> None:
        """Connect to the index's host, from the cache or else looked up. Raises the error if that fails."""
        with self._lock:
            if self._index is not None:
                return
            known = (read_json(self._hosts) or {}).get(self._place())
            if isinstance(known, str):
                self._may_be_stale = True
                self._connect(check_host(known, str(self._hosts)))
                return
        described = self.describe()
        self.check(described)
        with self._lock:
            self._may_be_stale = False
            self._connect(described.host)
            write_json(self._hosts, (read_json(self._hosts) or {}) | {self._place(): described.host})

    def forget_host(self) -> None:
        """Forget the cached index host."""
        with self._lock:
            if self._index is not None:
                self._index.close()
                self._index = None
            hosts = read_json(self._hosts) or {}
            if hosts.pop(self._place(), None) is not None:
                write_json(self._hosts, hosts)

    def _place(self) -> str:
        return f"{self._controller} {self.target.index}"

    # -- its records ------------------------------------------------------------------------------

    def count(self) -> int:
        """The number of records in the namespace. Raises UsageError if the index has another dimension."""
        stats = self._ask_index(lambda index: index.describe_index_stats(), ())
        if stats.dimension is not None and stats.dimension != self.dimension:
            self.forget_host()
            self.check(replace(_NOTHING, dimension=int(stats.dimension), metric=METRIC))
        wanted = "" if self.target.namespace == DEFAULT_NAMESPACE else self.target.namespace
        found = stats.namespaces.get(wanted) or stats.namespaces.get(self.target.namespace)
        return 0 if found is None else int(found.vector_count)

    def list_ids(self, prefix: str, on_page: Callable[[int], None] = lambda count: None) -> set[str]:
        """The ids of the namespace's records that begin with ``prefix``."""
        found: set[str] = set()
        token: str | None = None
        while True:
            page = self._unless_empty(partial(self._list_page, prefix, token))
            if page is None:
                return found
            found.update(item.id for item in page.vectors)
            on_page(len(page.vectors))
            token = page.pagination.next if page.pagination is not None else None
            if not token:
                return found

    def _list_page(self, prefix: str, token: str | None) -> Any:
        return self._ask_index(
            lambda index: index.list_paginated(
                prefix=prefix, limit=PAGE_OF_IDS, pagination_token=token, namespace=self.target.namespace
            ),
            ((self._lists, 1),),
        )

    def _unless_empty(self, work: Callable[[], Found]) -> Found | None:
        """Do the work and return its result; None if the namespace does not exist yet."""
        try:
            return work()
        except UnknownIndexError:
            if self.count():  # raises the same error if the index itself is missing
                raise
            return None

    def upsert(self, records: Sequence[PineconeRecord]) -> int:
        """Write records, replacing those with the same id; returns the write units used.

        If the service refuses a request as too large, it is sent in two halves.
        """
        stored = sum(record.stored_bytes for record in records)
        vectors = [record.as_dict() for record in records]

        def send(index: Any) -> None:
            answer = index.upsert(vectors=vectors, namespace=self.target.namespace)
            if answer.upserted_count != len(vectors):
                raise PineconeAwayError(
                    f"Pinecone took {answer.upserted_count} of {len(vectors)} records", "Try again."
                )

        try:
            self._ask_index(send, ((self._upserts, 1), (self._upserted, stored)))
        except TooLargeError:
            if len(records) == 1:
                raise
            middle = len(records) // 2
            return self.upsert(records[:middle]) + self.upsert(records[middle:])
        return write_units(stored)

    def delete(self, names: Sequence[str]) -> None:
        """Delete at most ``MAX_IDS`` records; unknown ids are no error."""

        def send(index: Any) -> None:
            index.delete(ids=list(names), namespace=self.target.namespace)

        self._unless_empty(lambda: self._ask_index(send, ((self._deletes, 1), (self._deleted, len(names)))))

    def query(self, vector: list[float], count: int, which: dict[str, Any]) -> list[PineconeMatch]:
        """Find the records nearest to a vector.

        Args:
            vector: the vector's numbers.
            count: the number of records to find.
            which: a Pinecone filter on metadata.

        Returns:
            Matches, best first.
        """
        found = self._ask_index(
            lambda index: index.query(
                vector=vector,
                top_k=count,
                namespace=self.target.namespace,
                filter=which,
                include_metadata=True,
                include_values=False,
            ),
            (),
        )
        return [PineconeMatch(match.id, float(match.score), dict(match.metadata or {})) for match in found.matches]

    def _ask_index(self, work: Callable[[Any], Found], paces: Sequence[tuple[WriteThrottle, float]]) -> Found:
        """Send a request to the host; if a cached host fails, look the host up again and repeat the request."""
        self.open()
        was_stale = self._may_be_stale
        try:
            answer = self._ask(lambda: work(self._opened()), paces, retries=1 if was_stale else None)
        except (PineconeAwayError, UnknownIndexError, PineconeRefusedError, UnavailableError):
            if not was_stale:
                raise
            self._may_be_stale = False
            self.forget_host()
            self.open()
            return self._ask(lambda: work(self._opened()), paces)
        self._may_be_stale = False
        return answer

    def _opened(self) -> Any:
        if self._index is None:
            raise PineconeAwayError("the connection was closed")
        return self._index

    # -- the library ------------------------------------------------------------------------------

    def _control(self) -> Any:
        if self._client is None:
            from pinecone import Pinecone, RetryConfig

            _keep_quiet()
            self._client = Pinecone(
                self._key,
                host=self._controller,
                timeout=self._timeout,
                retry_config=RetryConfig(max_retries=0),
                source_tag="kbjobs",
            )
        return self._client

    def _connect(self, host: str) -> None:
        from pinecone import Index, RetryConfig
        from pinecone._internal.constants import DATA_PLANE_API_VERSION
        from pinecone._internal.http_client import HTTPClient

        _keep_quiet()
        index: Any = Index(
            host=host,
            api_key=self._key,
            timeout=self._timeout,
            connection_pool_maxsize=2 * AT_ONCE,
            source_tag="kbjobs",
        )
        # There is no setting to turn off an index's own retries, during which it sleeps.
        index._http.close()
        config = replace(index._config, retry_config=RetryConfig(max_retries=0))
        index._http = HTTPClient(config, DATA_PLANE_API_VERSION)
        self._index = index


_NOTHING = IndexDescription("-", None, "", True, "Ready")


def _keep_quiet() -> None:
    """Silence the libraries' logs of every request and its content."""
    for name in ("pinecone", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
