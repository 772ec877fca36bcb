"""OpenAI's Batch API for embeddings: upload files, create and find batches, download results.

Nothing that costs money is repeated blindly: if it is unknown whether a batch was created, its key is searched in the
server's list. The limits are from the API's reference, as in the library's own docstrings (``batches.create``,
``files.create``; openai-python 3.57): 50,000 requests and 200 MB per file, and 50,000 inputs per batch of embeddings.
OpenAI's "Batch API FAQ" (help centre, article 9197833) has the rest: at most a million pending embedding requests, a
token limit per tier, and that the completed part of an expired batch is returned and charged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbjobs.embedding.online_models import OnlineModel
from kbjobs.embedding.openai_client import BadAnswerError, OpenAIClient
from kbjobs.errors import KbjobsError, MissingRequirementError

ENDPOINT = "/v1/embeddings"
KEY_NAME = "kbjobs"
"""The name in a batch's metadata that holds its key."""

MAX_REQUESTS = 50_000
MAX_BYTES = 190_000_000  # of 200 MB, in case the server counts otherwise
MAX_ENQUEUED = 1_000_000
LINE_BYTES = 65_536
"""The most bytes of an answer's line: a vector takes 8 kB in base64, 35 kB in digits."""

CHUNK_BYTES = 1 << 16
MAX_PAGES = 1_000  # of a list
MAX_TEXT = 1_000  # of an id or a message
ENDED = ("failed", "completed", "expired", "cancelled")
SLACK_SECONDS = 86_400.0
"""How much this machine's clock may differ from the server's when its list is searched back to a moment."""


class NoBatchApiError(MissingRequirementError):
    """The server has no Batch API."""

    def __init__(self) -> None:
        super().__init__(
            "the server at OPENAI_BASE_URL has no Batch API",
            "Run the same without --batch-api. Nothing was sent and nothing bought.",
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch as the server describes it. ``problems``: code and message of each error of the batch as a whole."""

    id: str
    status: str
    file: str
    key: str = ""
    output: str | None = None
    errors: str | None = None
    completed: int = 0
    problems: tuple[tuple[str, str], ...] = ()

    @property
    def is_under_way(self) -> bool:
        """Whether the batch is still in progress."""
        return self.status not in ENDED  # an unknown status counts too: the batch is waited for, not sent again

    @classmethod
    def read(cls, batch: Any) -> Sent:
        """Read the library's answer, whatever a server sent. Raises BadAnswerError."""
        name, status = _text(getattr(batch, "id", None)), _text(getattr(batch, "status", None))
        file = _text(getattr(batch, "input_file_id", None))
        if name is None or status is None or file is None:
            raise BadAnswerError("it is not a batch")
        metadata = getattr(batch, "metadata", None)
        key = metadata.get(KEY_NAME) if isinstance(metadata, dict) else None
        completed = getattr(getattr(batch, "request_counts", None), "completed", None)
        problems = getattr(getattr(batch, "errors", None), "data", None)
        return cls(
            name,
            status,
            file,
            key=key if isinstance(key, str) else "",
            output=_text(getattr(batch, "output_file_id", None)),
            errors=_text(getattr(batch, "error_file_id", None)),
            completed=min(max(0, completed), MAX_REQUESTS) if isinstance(completed, int) else 0,
            problems=tuple(
                (_text(getattr(one, "code", None)) or "", _text(getattr(one, "message", None)) or "")
                for one in (problems if isinstance(problems, list) else ())
            ),
        )


class BatchClient:
    """The Batch API and the Files API for one model and one thread; arguments and errors as in OpenAIClient."""

    def __init__(self, model: OnlineModel, key: str | None) -> None:
        self._client = OpenAIClient(model.name, key, at_once=1)

    def interrupt(self) -> None:
        """Abandon requests that wait to be repeated."""
        self._client.interrupt()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def quote(self, message: str) -> str:
        """Quote the server's message in a form fit to be shown."""
        return self._client.quote(message)

    # -- up ---------------------------------------------------------------------------------------

    def upload(self, path: Path, name: str) -> str:
        """Upload an input file under a name, and return the server's id of it.

        It is tried once, since the file may have been stored even after an error.

        Raises:
            NoBatchApiError: the server has no Batch API.
            TransientError: it is unknown whether the file was stored.
        """

        def send(sdk: Any, headers: dict[str, str]) -> Any:
            with path.open("rb") as file:
                return sdk.files.create(file=(name, file), purpose="batch", extra_headers=headers)

        found = self._ask(send, retries=0)
        if found is None:
            raise NoBatchApiError
        return _name_of(found)

    def find_file(self, name: str, size: int, since: float) -> str | None:
        """Find an input file at the server that was uploaded recently.

        Args:
            name: the file name that it was uploaded under.
            size: its bytes.
            since: seconds since 1970; older files are ignored.

        Returns:
            The server's id of the file, None if there is none.
        """
        for file in self._pages("files", since, purpose="batch", order="desc"):
            if getattr(file, "filename", None) == name and getattr(file, "bytes", None) == size:
                return _name_of(file)
        return None

    def create(self, file: str, key: str) -> Sent | None:
        """Create a batch from an input file; None if there is no such file or no Batch API. Tried once, like an upload.

        Raises:
            RefusedRequestError: the API refuses it.
            TransientError: it is unknown whether the batch was created.
        """

        def send(sdk: Any, headers: dict[str, str]) -> Any:
            return sdk.batches.create(
                input_file_id=file,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={KEY_NAME: key},
                extra_headers=headers,
            )

        made = self._ask(send, retries=0)
        return None if made is None else Sent.read(made)

    # -- looking ----------------------------------------------------------------------------------

    def retrieve(self, batch: str) -> Sent | None:
        """Fetch a batch's current state; None if the server does not know it."""
        found = self._ask(lambda sdk, headers: sdk.batches.retrieve(batch, extra_headers=headers))
        return None if found is None else Sent.read(found)

    def find(self, keys: Collection[str], since: float) -> dict[str, Sent]:
        """Find the batches with these keys that were created after a moment (seconds since 1970), in the server's list.

        Raises:
            NoBatchApiError: the server has no such list.
        """
        found: dict[str, Sent] = {}
        for batch in self._pages("batches", since):
            sent = Sent.read(batch)
            if sent.key in keys:
                found.setdefault(sent.key, sent)
                if len(found) == len(keys):
                    break
        return found

    def _pages(self, kind: str, since: float, **more: Any) -> Iterator[Any]:
        """Yield the entries of a list, the newest first, back to a moment."""
        after: dict[str, str] = {}
        for _ in range(MAX_PAGES):

            def send(sdk: Any, headers: dict[str, str], after: dict[str, str] = after) -> Any:
                return getattr(sdk, kind).list(limit=100, extra_headers=headers, **after, **more)

            page = self._ask(send)
            if page is None:
                raise NoBatchApiError
            rows = getattr(page, "data", None)
            if not isinstance(rows, list):
                raise BadAnswerError(f"it is not a list of {kind}")
            yield from rows
            made = getattr(rows[-1], "created_at", None) if rows else None
            is_back = isinstance(made, int | float) and made < since - SLACK_SECONDS
            last = {"after": _name_of(rows[-1])} if rows else after
            if is_back or last == after or not getattr(page, "has_more", False):
                return
            after = last
        raise BadAnswerError(f"its list of {kind} does not end")

    # -- down -------------------------------------------------------------------------------------

    def download(self, file: str, path: Path, max_bytes: int, check: Callable[[], None]) -> bool:
        """Download a file from the server in pieces.

        Args:
            file: the server's id of the file.
            path: the target; an existing file is overwritten.
            max_bytes: the most bytes that the file may have.
            check: called between two pieces; may raise to stop.

        Returns:
            Whether the server has the file.

        Raises:
            TransientError: it could not be read to its end, after all repetitions.
            BadAnswerError: it is larger than ``max_bytes``.
        """

        def send(sdk: Any, headers: dict[str, str]) -> bool:
            size = 0
            with _as_library_errors(), path.open("wb") as target:
                path.chmod(0o600)
                with sdk.files.with_streaming_response.content(file, extra_headers=headers) as answer:
                    for piece in answer.iter_bytes(CHUNK_BYTES):
                        check()
                        size += len(piece)
                        if size > max_bytes:
                            raise BadAnswerError(f"a file of results is larger than {max_bytes:,} bytes")
                        target.write(piece)
            return True

        return bool(self._ask(send))

    def delete(self, file: str, log: logging.Logger) -> None:
        """Delete a file from the server, to tidy up. A failure is only logged."""
        try:
            self._ask(lambda sdk, headers: sdk.files.delete(file, extra_headers=headers))
        except KbjobsError as error:
            log.warning("file %s could not be deleted and stays at the server: %s", file, error.message)

    def _ask(self, send: Callable[[Any, dict[str, str]], Any], retries: int | None = None) -> Any:
        """Return an answer; None if the server does not know the object (404) or the method (405, 501)."""
        import openai

        def guarded(sdk: Any, headers: dict[str, str]) -> Any:
            try:
                return send(sdk, headers)
            except openai.APIStatusError as error:
                if error.status_code in (404, 405, 501):
                    return None
                raise

        return self._client.ask(0, guarded, retries=retries)


@contextmanager
def _as_library_errors() -> Iterator[None]:
    """Turn an answer that breaks off into the library's own error for an unreachable server."""
    import httpx2
    import openai

    try:
        yield
    except httpx2.RequestError as error:
        raise openai.APIConnectionError(request=error.request) from None


def _name_of(thing: Any) -> str:
    name = _text(getattr(thing, "id", None))
    if name is None:
        raise BadAnswerError("it has no id")
    return name


def _text(value: object) -> str | None:
    return value[:MAX_TEXT] if isinstance(value, str) and value else None
