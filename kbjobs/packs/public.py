"""The public form of a source's texts and addresses, without anything meant for the owner alone."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from kbjobs.content.document import clean_title

MAX_URL = 8_192
"""Longest address, in characters."""

_SECRET = re.compile(
    r"(?:^|[_.-])(?:access|api|auth\w*|bearer|credentials?|jwt|key|pass(?:wd|word|code|phrase)?|pwd|secret|session\w*|sid"
    r"|sig|signature|sso|token)(?:$|[_.-])|(?:token|apikey|secret|password|sessid|session_?id)$",
    re.IGNORECASE,
)
"""Names of query parameters that may grant access."""
_SESSION = re.compile(r";jsessionid=[^/;]*", re.IGNORECASE)
_UNQUOTED = re.compile(r"[\x00-\x20\x7f-\x9f\"<>\\^`{|}]")


def public_url(url: str) -> str | None:
    """Strip an address of user, password, fragment, and parameters with names of secrets.

    Returns None if the address is not on the web, such as the path of a file, or is too long.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return None
    except ValueError:
        return None
    kept = [pair for pair in parts.query.split("&") if not _SECRET.search(unquote(pair.partition("=")[0]))]
    found = parts._replace(
        netloc=parts.netloc.rpartition("@")[2], path=_SESSION.sub("", parts.path), query="&".join(kept), fragment=""
    ).geturl()
    found = _UNQUOTED.sub(lambda character: quote(character[0]), found)
    return found if len(found) <= MAX_URL else None


def public_base(url: str) -> str | None:
    """Strip a base URL of user, password, query and fragment."""
    found = public_url(url)
    return None if found is None else urlsplit(found)._replace(query="").geturl()


def public_text(text: str) -> str:
    """Put a name or licence on one line, without control characters."""
    return clean_title(text)


def public_model(name: str) -> str:
    """The public name of a model: the last component if the model was given by a path."""
    return name.rstrip("/").rpartition("/")[2] if name.startswith(("/", "~", ".")) else name
