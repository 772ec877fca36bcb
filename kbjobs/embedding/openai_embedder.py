"""text-embedding-3-small and its like, by the OpenAI API and its own library.

The limits of a request are those of the API's reference: 2,048 inputs, 8,192 tokens an input, 300,000 tokens in all, no
empty string. What goes out here stays far below: the answer to a request is paid for and lost if the process
is killed before it is in the ledger, and a smaller request loses less.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kbjobs.embedding.base import EmbeddingError
from kbjobs.embedding.online_models import OPENAI_KEY, SET_KEY, OnlineModel, check_base_url, check_key
from kbjobs.embedding.openai_tokens import Cl100kTokens
from kbjobs.errors import KbjobsError, MissingRequirementError, TransientError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_URL = "https://api.openai.com/v1"
MAX_INPUT_TOKENS = 8192
PASSAGE_TOKENS = 800  # a good size for a search: a section, not a page
TIMEOUT_SECONDS = 120.0
RETRIES = 5  # by the library: half a second, doubled up to 8, or what the server asks for, up to two minutes
REFUSED_IN_A_ROW = 25  # single texts refused, with none accepted, after which it is not the texts' fault

# Codes and types of errors that no waiting mends; they come with 429 (or 400, billing_hard_limit_reached) like a rate
# limit. From the API's guide to error codes and the list that OpenAI's own clients use.
OUT_OF_MONEY = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
    }
)
ADD_MONEY = (
    "Add credit or raise the limit in the billing settings of the account, then run the same again:"
    " what was bought is kept and not bought twice."
)


class BadAnswerError(KbjobsError):
    """The API answered with something that is not the vectors asked for; nothing of it is kept."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the embedding API's answer cannot be used: {what}",
            "Nothing of it was kept. If OPENAI_BASE_URL is set, check that the server there speaks OpenAI's API"
            " and has this model.",
        )


class OpenAIEmbedder:
    """An :class:`~kbjobs.embedding.base.Embedder` that asks the OpenAI API, or what ``OPENAI_BASE_URL`` names."""

    engine = "openai"
    max_tokens = PASSAGE_TOKENS
    # 4 requests of 128 passages: a kill loses at most 512, some 400,000 tokens, less than a cent. Several
    # at a time hide most of the wait for an answer, which is what larger requests would save.
    commit_texts = 128
    commit_tokens = 128 * PASSAGE_TOKENS
    in_flight = 4

    def __init__(
        self, model: OnlineModel, key: str | None, retries: int = RETRIES, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        """Make ready; nothing is sent.

        Args:
            model: the model to ask for.
            key: the API key; it is sent to the API and goes nowhere else.
            retries: how often the library repeats a request after a passing error.
            timeout: seconds to wait for an answer.

        Raises:
            MissingRequirementError: there is no key, or it cannot be one.
            UsageError: ``OPENAI_BASE_URL`` is not a URL.
        """
        self.name = model.name
        self.model_key = model.key
        self.dimension = model.dimension
        self.tokens_bought = 0
        self._key = check_key(key)
        self._url = check_base_url(os.environ.get("OPENAI_BASE_URL"))
        self._retries, self._timeout = retries, timeout
        self._lock = threading.Lock()
        self._interrupted = threading.Event()
        self._refused = 0
        self._client = self._open()

    def _open(self) -> Any:
        import openai

        # They tell of every request, and httpx's of the whole URL, which may carry a password.
        for name in ("httpx", "httpx2", "openai"):
            logging.getLogger(name).setLevel(logging.WARNING)

        class Interrupted(openai.OpenAIError):  # type: ignore[misc]
            """Passed on by the library as it is, unlike other exceptions."""

        def before_request(request: Any) -> None:
            if self._interrupted.is_set():
                raise Interrupted("interrupted")

        def on_response(response: Any) -> None:
            # The library repeats whatever has status 429, unless the server says otherwise. OpenAI does not
            # where the money is used up, and every repetition would wait in vain.
            if response.status_code == 429:
                response.read()
                if _is_out_of_money(*_error_of(response)):
                    response.headers["x-should-retry"] = "false"
            if self._interrupted.is_set():
                response.headers["x-should-retry"] = "false"

        http = openai.DefaultHttpxClient(event_hooks={"request": [before_request], "response": [on_response]})
        return openai.OpenAI(
            api_key=self._key,
            base_url=self._url or DEFAULT_URL,
            max_retries=self._retries,
            timeout=self._timeout,
            http_client=http,
        )

    @property
    def tokenizer(self) -> Cl100kTokens:
        """Counts as the API does."""
        return Cl100kTokens()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As :meth:`kbjobs.embedding.base.Embedder.embed`, by one request.

        Raises:
            EmbeddingError: the API refuses a text, or gave it no usable vector.
            MissingRequirementError: the key is refused, or the account is out of money.
            TransientError: no answer, or one that says to try again, after all repetitions.
            BadAnswerError: the answer is not what was asked for.
        """
        for index, text in enumerate(texts):
            if not text.strip():
                raise EmbeddingError(index, "it is empty")
        answer = self._request(list(texts))
        self._count(answer, texts)
        vectors, unusable = read_vectors(answer, len(texts), self.dimension)
        if unusable:
            raise EmbeddingError(unusable[0], "the API returned zeros or no numbers", vectors, unusable)
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """As :meth:`kbjobs.embedding.base.Embedder.embed_query`; the model has no query prompt."""
        row: NDArray[np.float32] = self.embed([self.tokenizer.cut(text, MAX_INPUT_TOKENS)])[0]
        return row

    def interrupt(self) -> None:
        """As :meth:`kbjobs.embedding.base.Embedder.interrupt`."""
        self._interrupted.set()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _request(self, texts: list[str]) -> Any:
        import openai

        try:
            # In base64 a vector is a fifth of its size in digits; asked for by name, it is not decoded to a list.
            answer = self._client.embeddings.create(model=self.name, input=texts, encoding_format="base64")
        except openai.APIStatusError as error:
            failure = self._explain(error, len(texts))
        except openai.APITimeoutError:
            failure = TransientError(f"the embedding API did not answer within {self._timeout:g} s", self._where())
        except openai.APIConnectionError:
            failure = TransientError("the embedding API cannot be reached, or broke off its answer", self._where())
        except (openai.OpenAIError, ValueError) as error:
            if self._interrupted.is_set():
                failure = TransientError("the request was given up")
            else:
                failure = BadAnswerError(f"it cannot be read ({type(error).__name__})")
        else:
            self._refused = 0
            return answer
        # Raised here, outside of the handler: the library's exceptions quote the server, and that may quote the key.
        raise failure

    def _explain(self, error: Any, texts: int) -> KbjobsError:
        status = int(error.status_code)
        names = tuple(name for name in (error.code, error.type) if isinstance(name, str))
        says = self._quote(error.body)
        if status in (400, 402, 403, 429) and _is_out_of_money(*names):
            return MissingRequirementError(f"the account of the embedding API is out of money{says}", ADD_MONEY)
        if status in (401, 403):
            # Not what the server says: it may repeat the key.
            code = f" ({names[0]})" if names and names[0].isidentifier() and names[0] not in self._key else ""
            return MissingRequirementError(
                f"the embedding API refuses {OPENAI_KEY} with status {status}{code}",
                f"Check that the key is right and may use {self.name}. {SET_KEY} What was bought is kept.",
            )
        if status == 404:
            return MissingRequirementError(
                f"the embedding API does not know {self.name}, or not at this address{says}", self._where()
            )
        if status in (400, 413, 422):
            return self._refusal(status, texts, says)
        if status in (408, 409, 429) or status >= 500:
            what = "is busy: the rate limit is reached" if status == 429 else "fails"
            return TransientError(
                f"the embedding API {what} (status {status}){says}",
                "What was bought is kept. Run the same again later, or let --retries do so.",
            )
        return BadAnswerError(f"status {status}{says}")

    def _refusal(self, status: int, texts: int, says: str) -> KbjobsError:
        if texts == 1:
            self._refused += 1
            if self._refused >= REFUSED_IN_A_ROW:
                return BadAnswerError(f"it refused {self._refused} passages one after the other{says}")
        return EmbeddingError(0, f"the API refuses the request (status {status}){says}")

    def _quote(self, body: object) -> str:
        """What the server says, on one line, short, and without the key should it be there."""
        message = body.get("message") if isinstance(body, dict) else None
        if not isinstance(message, str) or not message.strip():
            return ""
        line = " ".join("".join(char if char.isprintable() else " " for char in message).split())
        return f": {line.replace(self._key, '…')[:300]}"

    def _where(self) -> str:
        if self._url:
            return "Check OPENAI_BASE_URL, which the daemon was started with, and the server there."
        return "Check the network of this machine."

    def _count(self, answer: Any, texts: Sequence[str]) -> None:
        """Add up what was bought, as the API tells it; where it does not, as it is counted here."""
        told = getattr(getattr(answer, "usage", None), "prompt_tokens", None)
        tokens = told if isinstance(told, int) and told >= 0 else sum(self.tokenizer.count(texts))
        with self._lock:
            self.tokens_bought += tokens


def read_vectors(answer: Any, count: int, dimension: int) -> tuple[NDArray[np.float32], list[int]]:
    """The vectors of an answer in the order of the texts, of length 1, and the rows that are no vectors.

    Raises:
        BadAnswerError: it has another number of vectors, or of other length, or not one for each text.
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
    """A vector in base64, or as the list of numbers that servers send which do not know base64."""
    import numpy as np

    try:
        if isinstance(embedding, str):
            return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
        return np.asarray(embedding, dtype=np.float64)
    except (TypeError, ValueError, binascii.Error):
        raise BadAnswerError("a vector in it cannot be read") from None


def _is_out_of_money(*names: object) -> bool:
    return any(name in OUT_OF_MONEY for name in names if isinstance(name, str))


def _error_of(response: Any) -> tuple[object, object]:
    """Code and type of an error in the API's form."""
    try:
        error = response.json()["error"]
        return error.get("code"), error.get("type")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, None
