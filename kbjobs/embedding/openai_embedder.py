"""Embed with text-embedding-3-small and similar models, through the OpenAI API.

The limits of a request are from the API's reference: 2,048 inputs, 8,192 tokens per input, 300,000 tokens in all, no
empty string. Requests stay far below these if possible: if the process is killed before an answer is in the ledger, the
answer is paid for and lost, and a smaller request loses less.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kbjobs.embedding.embedder import EmbeddingError
from kbjobs.embedding.online_models import OnlineModel
from kbjobs.embedding.openai_client import (
    AT_ONCE,
    TIMEOUT_SECONDS,
    BadAnswerError,
    OpenAIClient,
    RefusedRequestError,
)
from kbjobs.embedding.openai_tokens import Cl100kTokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kbjobs.embedding.spending import SpendingWatch

MAX_INPUTS = 2048
MAX_INPUT_TOKENS = 8192
MAX_REQUEST_TOKENS = 280_000  # of 300,000: the API may count slightly differently
PASSAGE_TOKENS = 800  # a good size for search: a section, not a page
REQUEST_TEXTS = 128
"""The most passages of a request: a hundred thousand tokens, a fifth of a cent."""
REQUEST_TOKENS = REQUEST_TEXTS * PASSAGE_TOKENS
REFUSED_IN_A_ROW = 25  # refused single texts without an accepted one, after which the texts are not to blame


class OpenAIEmbedder:
    """An :class:`~kbjobs.embedding.embedder.Embedder` for the OpenAI API, or the server at ``OPENAI_BASE_URL``."""

    engine = "openai"
    max_tokens = PASSAGE_TOKENS
    pads = False
    is_free = False

    def __init__(
        self,
        model: OnlineModel,
        key: str | None,
        retries: int | None = None,
        timeout: float = TIMEOUT_SECONDS,
        at_once: int = AT_ONCE,
        spending: SpendingWatch | None = None,
    ) -> None:
        """Set up the client; nothing is sent.

        Args:
            model: the online model.
            key: the API key; it is sent only to the API.
            retries: how often a request is repeated after a transient error; a few times if not given.
            timeout: seconds to wait for an answer.
            at_once: the most requests at the same time; the server's limits decide how many there are.
            spending: records each request before it is sent, and refuses what exceeds a limit; by default nothing does.

        Raises:
            MissingRequirementError: the key is missing or malformed.
            UsageError: ``OPENAI_BASE_URL`` is not a URL.
        """
        self.name = model.name
        self.model_key = model.key
        self.dimension = model.dimension
        self.tokens_bought = 0
        self.in_flight = at_once
        self._spending = spending
        self._lock = threading.Lock()
        self._refused = 0
        self._client = OpenAIClient(model.name, key, retries=retries, timeout=timeout, at_once=at_once)

    @property
    def commit_tokens(self) -> int:
        """The most tokens of the next request, by the server's limits of tokens and of requests per minute."""
        budgets = self._client.limits
        if budgets.tokens.limit is None:
            return REQUEST_TOKENS
        if budgets.requests.limit is None or not budgets.requests.rate:
            wanted = float(REQUEST_TOKENS)
        else:
            wanted = max(float(REQUEST_TOKENS), budgets.tokens.rate / budgets.requests.rate)
        return int(max(1, min(wanted, budgets.tokens.limit / 4, MAX_REQUEST_TOKENS)))

    @property
    def commit_texts(self) -> int:
        """The most texts of the next request."""
        return min(MAX_INPUTS, REQUEST_TEXTS * max(1, self.commit_tokens // REQUEST_TOKENS))

    @property
    def tokenizer(self) -> Cl100kTokens:
        """A tokenizer that counts like the API."""
        return Cl100kTokens()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed passages with one request; see :meth:`kbjobs.embedding.embedder.Embedder.embed`.

        Raises:
            EmbeddingError: the API refuses a text, or gave it no usable vector.
            MissingRequirementError: the key is refused, or the account is out of money.
            TransientError: no answer, or one that says to try again, after all repetitions.
            BadAnswerError: the answer does not fit the request.
            SpendingLimitError: the request would exceed a limit on spending.
        """
        for index, text in enumerate(texts):
            if not text.strip():
                raise EmbeddingError(index, "it is empty")
        tokens = sum(self.tokenizer.count(texts))
        if self._spending is None:
            answer = self._request(list(texts), tokens)
            self._count(answer, tokens)
        else:
            with self._spending.buying(tokens) as purchase:
                try:
                    answer = self._request(list(texts), tokens)
                except EmbeddingError:  # a refusal
                    purchase.finalize(0)
                    raise
                purchase.finalize(self._count(answer, tokens))
        vectors, unusable = read_vectors(answer, len(texts), self.dimension)
        if unusable:
            raise EmbeddingError(
                unusable[0], "the API returned zeros or something other than numbers", vectors, unusable
            )
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed a search query, without a prompt; see :meth:`kbjobs.embedding.embedder.Embedder.embed_query`."""
        row: NDArray[np.float32] = self.embed([self.tokenizer.cut(text, MAX_INPUT_TOKENS)])[0]
        return row

    def leaves_time(self) -> bool:
        """See :meth:`kbjobs.embedding.embedder.Embedder.leaves_time`; True while the API's limits impose a wait."""
        return self._client.limits.is_throttled

    def interrupt(self) -> None:
        """See :meth:`kbjobs.embedding.embedder.Embedder.interrupt`."""
        self._client.interrupt()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _request(self, texts: list[str], tokens: int) -> Any:
        def send(sdk: Any, headers: dict[str, str]) -> Any:
            # A vector in base64 is a fifth of its size in digits; if base64 is requested explicitly, the library does
            # not decode it.
            return sdk.embeddings.create(model=self.name, input=texts, encoding_format="base64", extra_headers=headers)

        try:
            answer = self._client.ask(tokens, send)
        except RefusedRequestError as error:
            if len(texts) == 1:
                self._refused += 1
                if self._refused >= REFUSED_IN_A_ROW:
                    raise BadAnswerError(f"it refused {self._refused} passages in a row{error.says}") from None
            raise EmbeddingError(0, error.message) from None
        self._refused = 0
        return answer

    def _count(self, answer: Any, counted: int) -> int:
        """Add the tokens bought, as the API reports them, or else as counted here; returns them."""
        sent = getattr(getattr(answer, "usage", None), "prompt_tokens", None)
        tokens = sent if isinstance(sent, int) and sent >= 0 else counted
        with self._lock:
            self.tokens_bought += tokens
        return tokens


def read_vectors(answer: Any, count: int, dimension: int) -> tuple[NDArray[np.float32], list[int]]:
    """Read the vectors of an answer, in the order of the texts.

    Args:
        answer: what the library returned.
        count: how many texts were sent.
        dimension: the length of a vector.

    Returns:
        float32 of shape (count, dimension), rows of length 1; and the indexes of the rows without a usable vector.

    Raises:
        BadAnswerError: the number or the length of the vectors is wrong, or they do not belong to one text each.
    """
    import numpy as np

    data = getattr(answer, "data", None)
    if not isinstance(data, list):
        raise BadAnswerError("it holds no vectors")
    if len(data) != count:
        raise BadAnswerError(f"it holds {len(data)} vectors for {count} texts")
    matrix = np.zeros((count, dimension), dtype=np.float64)
    seen: set[int] = set()
    for entry in data:
        index = getattr(entry, "index", None)
        if not isinstance(index, int) or not 0 <= index < count or index in seen:
            raise BadAnswerError("its vectors do not say which texts they belong to")
        seen.add(index)
        vector = _decode(getattr(entry, "embedding", None))
        if vector.shape != (dimension,):
            raise BadAnswerError(f"it holds a vector of {vector.size} dimensions instead of {dimension}")
        matrix[index] = vector
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(matrix, axis=1)
    usable = np.isfinite(lengths) & (lengths > 1e-6)
    matrix[usable] /= lengths[usable, None]
    matrix[~usable] = 0.0
    return matrix.astype(np.float32), np.flatnonzero(~usable).tolist()


def _decode(embedding: object) -> NDArray[np.floating[Any]]:
    """Decode a vector from base64, or from the list of numbers that servers without base64 send."""
    import numpy as np

    try:
        if isinstance(embedding, str):
            return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
        return np.asarray(embedding, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, binascii.Error):
        raise BadAnswerError("a vector in it cannot be read") from None
