"""Call the OpenAI API, or the server that ``OPENAI_BASE_URL`` names, through its own library, within its limits.

The library itself repeats nothing, since a repetition has to wait for its turn like every other request.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

from kbjobs.embedding.online_models import OPENAI_KEY, SET_KEY, check_base_url, check_key
from kbjobs.embedding.paced_requests import PacedRequests, RequestFailure, WindowTooSmallError
from kbjobs.embedding.rate_limits import read_wait
from kbjobs.errors import KbjobsError, MissingRequirementError, TransientError
from kbjobs.net.messages import clean_message

DEFAULT_URL = "https://api.openai.com/v1"
TIMEOUT_SECONDS = 120.0
RETRIES = 5
AT_ONCE = 16
"""The most requests at the same time, unless a setting says otherwise."""

FIRST_WAIT, MAX_WAIT = 0.5, 60.0
"""Seconds before the first repetition if the server names none, doubled each time, and the maximum."""

# Error codes and types that waiting does not cure; they come with 429 (or 400, billing_hard_limit_reached) like a rate
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


Answer = TypeVar("Answer")


class RefusedRequestError(KbjobsError):
    """The API refuses the request, and would refuse it again."""

    def __init__(self, status: int, says: str) -> None:
        super().__init__(f"the OpenAI API refuses the request (status {status}){says}")
        self.status = status
        self.says = says


class BadAnswerError(KbjobsError):
    """The API's answer does not fit the request; nothing of it is kept."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the OpenAI API's answer cannot be used: {what}",
            "Nothing of it was kept. If OPENAI_BASE_URL is set, check that the server there speaks OpenAI's API"
            " and has this model.",
        )


class OpenAIClient:
    """A client of the API, for any number of threads.

    Args:
        model: the model's name, for messages.
        key: the API key; it is sent only to the API.
        retries: how often a request is repeated after a transient error; RETRIES if not given.
        timeout: seconds to wait for an answer.
        at_once: the most requests at the same time.
    Raises:
        MissingRequirementError: the key is missing or malformed.
        UsageError: ``OPENAI_BASE_URL`` is not a URL.
    """

    def __init__(
        self,
        model: str,
        key: str | None,
        *,
        retries: int | None = None,
        timeout: float = TIMEOUT_SECONDS,
        at_once: int = AT_ONCE,
    ) -> None:
        self._requests = PacedRequests(at_once, RETRIES if retries is None else retries, (FIRST_WAIT, MAX_WAIT))
        self.limits = self._requests.limits
        self._model = model
        self._key = check_key(key)
        self._url = check_base_url(os.environ.get("OPENAI_BASE_URL"))
        self._timeout = timeout
        self._sdk = self._open()

    def _open(self) -> Any:
        import openai

        # These loggers report every request, httpx with the whole URL, which may hold a password.
        for name in ("httpx", "httpx2", "openai"):
            logging.getLogger(name).setLevel(logging.WARNING)
        http = openai.DefaultHttpxClient(event_hooks={"response": [lambda found: self.limits.read(found.headers)]})
        return openai.OpenAI(
            api_key=self._key,
            base_url=self._url or DEFAULT_URL,
            max_retries=0,
            timeout=self._timeout,
            http_client=http,
        )

    def ask(self, tokens: int, send: Callable[[Any, dict[str, str]], Answer], *, retries: int | None = None) -> Answer:
        """Get an answer of the API, repeating the request after transient errors as often as allowed.

        Args:
            tokens: the tokens that count towards the API's limit.
            send: sends the request with the library's client and these headers.
            retries: how often it is repeated after a transient error, if not as often as others; 0 for a request that
                must not be sent twice.
        Raises:
            RefusedRequestError: the API refuses the request.
            MissingRequirementError: the key is refused, or the account is out of money.
            TransientError: no answer, or one that says to try again, after all repetitions.
            BadAnswerError: the answer does not fit the request.
        """
        return self._requests.run(
            lambda tries: send(self._sdk, {"x-stainless-retry-count": str(tries)}),
            partial(self._judge, tokens),
            tokens,
            retries,
        )

    def _judge(self, tokens: int, error: Exception) -> RequestFailure:
        """Interpret an exception of the library. Raises it again if it is of another kind."""
        import openai

        if isinstance(error, WindowTooSmallError):
            message = f": its {tokens:,} tokens are more than a window of {error.args[0]:,.0f} holds"
            return RequestFailure(RefusedRequestError(429, message))
        if isinstance(error, openai.APIStatusError):
            failure = self._explain(error)
            remedy, asked = _find_remedy(error)
            return RequestFailure(failure, remedy, asked, concerns_all=isinstance(failure, MissingRequirementError))
        if isinstance(error, openai.APITimeoutError):
            message = f"the OpenAI API did not answer within {self._timeout:g} s"
            return RequestFailure(TransientError(message, self.where()), "retry")
        if isinstance(error, openai.APIConnectionError):
            message = "the OpenAI API cannot be reached, or broke off its answer"
            return RequestFailure(TransientError(message, self.where()), "retry")
        if isinstance(error, openai.OpenAIError | ValueError):
            return RequestFailure(BadAnswerError(f"it cannot be read ({type(error).__name__})"))
        raise error

    def interrupt(self) -> None:
        """Abandon requests that wait for their turn, or to be repeated."""
        self._requests.interrupt()

    def close(self) -> None:
        """Close the connections."""
        self._sdk.close()

    def _explain(self, error: Any) -> KbjobsError:
        status = int(error.status_code)
        names = tuple(name for name in (error.code, error.type) if isinstance(name, str))
        says = self._quote(error.body)
        if status in (400, 402, 403, 429) and is_out_of_money(*names):
            return MissingRequirementError(f"the OpenAI account has no money left{says}", ADD_MONEY)
        if status in (401, 403):
            # The server's message is left out, since it may repeat the key.
            code = f" ({names[0]})" if names and names[0].isidentifier() and names[0] not in self._key else ""
            return MissingRequirementError(
                f"the OpenAI API refuses {OPENAI_KEY} with status {status}{code}",
                f"Check that the key is right and may use {self._model}. {SET_KEY} What was bought is kept.",
            )
        if status == 404:
            return MissingRequirementError(
                f"the OpenAI API does not know {self._model}, or not at this address{says}", self.where()
            )
        if status in (400, 413, 422):
            return RefusedRequestError(status, says)
        if status in (408, 409, 429) or status >= 500:
            what = "is busy: the rate limit is reached" if status == 429 else "fails"
            return TransientError(
                f"the OpenAI API {what} (status {status}){says}",
                "What was bought is kept. Try again later, or use --retries.",
            )
        return BadAnswerError(f"status {status}{says}")

    def _quote(self, body: object) -> str:
        return self.quote(body.get("message") if isinstance(body, dict) else None)

    def quote(self, message: object) -> str:
        """Quote the server's message: on one line, short, and without the key."""
        if not isinstance(message, str) or not message.strip():
            return ""
        return f": {clean_message(message, [self._key])}"

    def where(self) -> str:
        """Say what to check if there is no answer."""
        if self._url:
            return "Check OPENAI_BASE_URL, which the daemon was started with, and the server there."
        return "Check the network of this machine."


def _find_remedy(error: Any) -> tuple[Literal["none", "retry", "throttle"], float | None]:
    """Decide whether another try helps after an error, and how many seconds the answer asks to wait."""
    status, headers = int(error.status_code), error.response.headers
    if is_out_of_money(error.code, error.type) or headers.get("x-should-retry") == "false":
        return "none", None
    if status == 429:
        return "throttle", read_wait(headers)
    return ("retry" if status in (408, 409) or status >= 500 else "none"), read_wait(headers)


def is_out_of_money(*names: object) -> bool:
    """Whether any of these error codes and types means that the account is out of money."""
    return any(name in OUT_OF_MONEY for name in names if isinstance(name, str))
