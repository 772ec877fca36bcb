"""The document of the API: every operation is in it."""

from __future__ import annotations

from kbjobs.web.app import ENDPOINTS
from kbjobs.web.openapi import describe_api


def test_every_operation_is_described() -> None:
    document = describe_api(ENDPOINTS)
    described = {(method.upper(), path) for path, one in document["paths"].items() for method in one}
    assert len(described) == len(ENDPOINTS) + 1 >= 25  # and the events
    assert all(one["summary"] for methods in document["paths"].values() for one in methods.values())
