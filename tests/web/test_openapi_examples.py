"""The API against its own document: whatever is sent, no answer is a fault of the server, and each is declared."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import hypothesis
import pytest

from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.web.app import ENDPOINTS
from kbjobs.web.openapi import describe_api
from tests.conftest import FACTOR, write_pages
from tests.web.conftest import Builder

pytestmark = pytest.mark.full

if find_spec("schemathesis") is None:

    def test_schemathesis_is_installed() -> None:
        pytest.fail("schemathesis is not installed: make install-all")

else:
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        negative_data_rejection,
        response_schema_conformance,
        status_code_conformance,
    )

    def refuses_what_is_wrong(context: Any, response: Any, case: Any) -> Any:
        """As schemathesis has it; what is too large is refused before it is looked at."""
        return None if response.status_code == 413 else negative_data_rejection(context, response, case)

    CHECKS = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
        refuses_what_is_wrong,
    ]
    schema = schemathesis.openapi.from_dict(describe_api(ENDPOINTS)).exclude(path="/api/events")  # it never ends

    @schema.parametrize()
    @hypothesis.settings(
        max_examples=15 * FACTOR,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    def test_the_api_keeps_to_its_document(case: Any, home: Home, builder: Builder, tmp_path: Any) -> None:
        if not home.sources.joinpath("wiki").exists():
            register(home, "wiki", [write_pages(tmp_path / "pages", 2)])
            JobManager(home).close()
        case.call_and_validate(
            base_url=builder.base, headers={"Authorization": f"Bearer {builder.token}"}, checks=CHECKS, timeout=30
        )
