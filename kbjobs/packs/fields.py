"""The types of values in a manifest and in records, and how strictly they are read.

A reader of minor version N refuses unknown fields in a pack of minor N or less, and ignores them in a newer one.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, ValidationError

from kbjobs.content.document import is_clean

MINOR = 0
"""Minor version of the format: a newer one only adds fields that an older reader can ignore."""
MAX_NUMBER = 2**53
"""Larger JSON numbers are not exact in every language (RFC 8259, 6)."""

_WEB = re.compile(r"https?://[^\x00-\x20\x7f-\x9f\"<>\\^`{|}]+")
_UNSAFE_IN_PATH = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def _check_clean(text: str) -> str:
    if not is_clean(text):
        raise ValueError("it has control characters")
    return text


def _check_web(url: str) -> str:
    parts = urlsplit(url)
    if not _WEB.fullmatch(url) or not parts.hostname or "@" in parts.netloc:
        raise ValueError("it is not a plain http or https URL")
    return url


def _check_path(path: str) -> str:
    if _UNSAFE_IN_PATH.search(path):
        raise ValueError("it has control characters")
    return path


Hex32 = Annotated[str, Field(pattern=r"\A[0-9a-f]{32}\z")]
Hex64 = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
Number = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Line = Annotated[str, Field(max_length=2_000), AfterValidator(_check_clean)]
Text = Annotated[str, Field(max_length=2_000_000), AfterValidator(_check_clean)]
Key = Annotated[str, Field(min_length=1, max_length=16_384), AfterValidator(_check_path)]
Web = Annotated[str, Field(max_length=8_192), AfterValidator(_check_web)]
Tag = Annotated[str, Field(pattern=r"\A[A-Za-z0-9]{1,8}(-[A-Za-z0-9]{1,8}){0,7}\z")]
"""A language tag (RFC 5646)."""
Slug = Annotated[str, Field(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,199}\z")]
"""A text that can be the name of a folder."""

First = FailFast()
"""Reports only the first mistake in a list: a million of them would fill the memory."""


class Strict(BaseModel):
    """A model that never converts values and refuses unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Model = TypeVar("Model", bound=Strict)


def parse(kind: type[Model], value: Any, minor: int) -> Model:
    """Check a JSON value against a model, and return an instance of it.

    Args:
        kind: the model.
        value: the parsed JSON.
        minor: the pack's minor version.

    Raises:
        ValueError: the value does not fit; the message is for people.
    """
    try:
        return kind.model_validate(value, extra="forbid" if minor <= MINOR else "ignore")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(step)[:100] for step in first["loc"])
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from None
