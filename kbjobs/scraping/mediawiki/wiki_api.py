"""Requests to a wiki's API, and its errors, which come as JSON and mostly with status 200."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from kbjobs.errors import KbjobsError
from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.page_fetch import Fetcher
from kbjobs.scraping.reply import Reply
from kbjobs.scraping.web_urls import host_of

MAX_LAG = 5
"""Seconds that the wiki's databases may lag; if they lag more, it is left alone for a while (API:Etiquette)."""

MAX_TRIES = 6
FIRST_WAIT = 2.0
"""Seconds before the second try of a request, doubled each time; a Retry-After is obeyed in addition."""

_PASSING = ("maxlag", "ratelimited", "readonly", "readonly-maintenance", "timeouterror", "toomanyvalues-backoff")
_CLOSED = ("readapidenied", "permissiondenied")
_MISSING = ("nosuchpageid", "missingtitle", "nosuchrevid", "missingcontent-pageid", "missingcontent-revid")


class WikiError(FetchError):
    """The wiki answered with an error.

    Args:
        url: the address of the API.
        code: the wiki's name for the error, such as ``missingtitle``.
        detail: the wiki's explanation.
    """

    def __init__(self, url: str, code: str, detail: str) -> None:
        is_temporary = code in _PASSING or code.startswith("internal_api_error")
        super().__init__(url, f"the wiki says {code}", detail, is_temporary=is_temporary)
        self.code = code

    @property
    def is_missing(self) -> bool:
        """Whether the page does not exist."""
        return self.code in _MISSING

    @property
    def is_closed(self) -> bool:
        """Whether only its users may read the wiki."""
        return self.code in _CLOSED


class WikiApi:
    """The API of one wiki.

    Args:
        fetcher: sends the requests.
        url: the address of its api.php.
        is_on_site: whether a redirect to a URL may be followed.
    """

    def __init__(self, fetcher: Fetcher, url: str, is_on_site: Callable[[str], bool]) -> None:
        self.url = url
        self._fetcher, self._is_on_site = fetcher, is_on_site

    async def ask(self, **parameters: Any) -> dict[str, Any]:
        """Send one request and return the answer.

        Raises:
            WikiError: the wiki answers with an error.
            FetchError: there is no answer, or it does not come from a MediaWiki's API.
        """
        query = urlencode({"format": "json", "formatversion": 2, "maxlag": MAX_LAG, **parameters})
        reply = await self._fetcher.get(f"{self.url}?{query}", is_allowed=self._is_on_site)
        answer = _read_json(reply)
        host, after = host_of(self.url), reply.headers.get("retry-after", "")
        if error := answer.get("error"):
            code, info = (str(error.get(name, ""))[:200] for name in ("code", "info"))
            failure = WikiError(self.url, code, info)
            if failure.is_temporary:
                self._fetcher.pace.slow_down(host, after)
            raise failure
        if reply.status in (429, 503):
            self._fetcher.pace.slow_down(host, after)
        if reply.status != 200 or not answer:
            cause = f"HTTP {reply.status}" if reply.status != 200 else "broken reply"
            raise FetchError(
                self.url, cause, "not an answer of a MediaWiki", is_temporary=reply.status == 429 or reply.status >= 500
            )
        self._fetcher.pace.recovered(host)
        return answer

    async def ask_patiently(self, **parameters: Any) -> dict[str, Any]:
        """As :meth:`ask`, for a run that cannot continue without the answer: retries transient errors.

        Raises:
            KbjobsError: a transient error persists, or only the wiki's users may read it.
            FetchError: as :meth:`ask`, for other errors.
        """
        for tries in range(MAX_TRIES):
            try:
                return await self.ask(**parameters)
            except FetchError as error:
                if isinstance(error, WikiError) and error.is_closed:
                    raise KbjobsError(
                        f"only its users may read the wiki of {self.url} ({error.code})", "Ask those who run the wiki."
                    ) from error
                if not error.is_temporary:
                    raise
                if tries == MAX_TRIES - 1:
                    raise KbjobsError(
                        f"the wiki no longer answers: {error.message}",
                        "Once it answers again, go on with kbjobs resume JOB, or run the same again.",
                    ) from error
            await asyncio.sleep(FIRST_WAIT * 2**tries)
        raise AssertionError("unreachable")


def _read_json(reply: Reply) -> dict[str, Any]:
    """The JSON object of a reply; an empty one if it has none."""
    try:
        answer = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(answer, dict) or not isinstance(answer.get("error", {}), dict):
        return {}
    return answer
