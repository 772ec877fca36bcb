"""Write and read the lines of a batch's files: one request per passage, and its outcome.

Each passage has a request of its own, named by the hash of its text: whatever the order of the answers, and whichever
fail, expire or are missing, each one can be matched, stored, repeated or given up alone. Several passages in a request
would save a few bytes of input but no money, and would fail together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum, auto
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kbjobs.embedding.openai_batches import ENDPOINT
from kbjobs.embedding.openai_client import BadAnswerError, is_out_of_money
from kbjobs.embedding.openai_embedder import read_vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNDONE = frozenset({"batch_expired", "batch_cancelled"})
"""Codes of requests that were never tried; from the API's guide to batches."""


class Outcome(Enum):
    """The outcome of a request."""

    VECTOR = auto()
    REFUSED = auto()  # and would be refused again
    PASSING = auto()  # a transient error
    UNDONE = auto()  # the batch ended first
    NO_MONEY = auto()
    NO_ACCESS = auto()


@dataclass(frozen=True, slots=True)
class BatchLine:
    """A line of a result file: the text's hash and its outcome; ``tokens`` were paid for, None if unknown."""

    text_hash: str
    outcome: Outcome
    vector: NDArray[np.float32] | None = None
    tokens: int | None = None
    says: str = ""


def write_request(text_hash: str, text: str, model: str) -> bytes:
    """Write the line of a batch file that requests a text's vector.

    Args:
        text_hash: the hash of the text, which identifies its answer.
        text: the passage.
        model: the API's name of the model.

    Returns:
        One line of JSON with its line feed.
    """
    body = {"model": model, "input": [text], "encoding_format": "base64"}
    request = {"custom_id": text_hash, "method": "POST", "url": ENDPOINT, "body": body}
    # Escaped to ASCII, so that no character of a text can be mistaken for a line end.
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"


def read_line(line: bytes, dimension: int) -> BatchLine:
    """Read a line of an output or error file, whatever the server wrote. Raises ValueError if it is not such a line."""
    try:
        values = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    text_hash = values.get("custom_id") if isinstance(values, dict) else None
    if not isinstance(text_hash, str):
        raise ValueError("it has no custom_id")
    response = values.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    status = response.get("status_code") if isinstance(response, dict) else None
    error = values.get("error") or (body.get("error") if isinstance(body, dict) else None)
    if error or status != 200:
        return _read_error(text_hash, status, error if isinstance(error, dict) else {})
    return _read_answer(text_hash, body, dimension)


def _read_answer(text_hash: str, body: Any, dimension: int) -> BatchLine:
    usage = body.get("usage") if isinstance(body, dict) else None
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    tokens = tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and 0 <= tokens < 10**6 else None
    data = body.get("data") if isinstance(body, dict) else None
    entries = [SimpleNamespace(**one) for one in data if isinstance(one, dict)] if isinstance(data, list) else None
    try:
        vectors, unusable = read_vectors(SimpleNamespace(data=entries), 1, dimension)
    except BadAnswerError as error:
        return BatchLine(text_hash, Outcome.REFUSED, None, tokens, error.message)
    if unusable:
        return BatchLine(
            text_hash, Outcome.REFUSED, None, tokens, "the API returned zeros or something other than numbers"
        )
    return BatchLine(text_hash, Outcome.VECTOR, vectors[0], tokens)


def _read_error(text_hash: str, status: object, error: dict[str, Any]) -> BatchLine:
    code, kind = error.get("code"), error.get("type")
    says = str(error.get("message") or code or f"status {status}")
    if isinstance(code, str) and code in UNDONE:
        outcome = Outcome.UNDONE
    elif is_out_of_money(code, kind):
        outcome = Outcome.NO_MONEY
    elif status in (401, 403):
        outcome = Outcome.NO_ACCESS
    elif isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 429):
        outcome = Outcome.REFUSED
    else:
        outcome = Outcome.PASSING
    return BatchLine(text_hash, outcome, says=says)
