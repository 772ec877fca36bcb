"""The OpenAPI document (3.1), generated from the endpoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kbjobs.version import VERSION
from kbjobs.web.endpoint import Endpoint
from kbjobs.web.problems import ALWAYS, TYPE

BODY_ERRORS = (408, 413, 415)
"""Additional error statuses of operations with a body."""
_PLACE = re.compile(r"{(\w+)(?::(\w+))?}")


def describe_api(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Make the OpenAPI document of endpoints."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {
        "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string", "description": "What happened, and to what."},
                "hint": {"type": "string", "description": "What to do."},
                "exit_code": {"type": "integer", "description": "That of the command line."},
            },
        }
    }
    for one in endpoints:
        path = _PLACE.sub(r"{\1}", one.path)
        paths.setdefault(path, {})[one.method.lower()] = _describe(one, schemas)
    problem = {TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    paths["/api/events"] = {
        "get": {
            "operationId": "get_api_events",
            "summary": "What happens to the jobs, as server-sent events",
            "description": "Events: job (a job began, ended or is at another phase), progress, daemon, hello, and reset"
            " (what came before is not known here: look anew). Data is JSON. It goes on after Last-Event-ID.",
            "parameters": [{"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}}],
            "responses": {
                "200": {"description": "The stream", "content": {"text/event-stream": {}}},
                **{str(status): {"description": "Refused", "content": problem} for status in (401, 421)},
            },
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kbjobs",
            "version": VERSION,
            "description": "Jobs, chains and sources of one home. Send the token that is printed at the start as"
            " Authorization: Bearer TOKEN; a request that writes needs nothing else.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe(one: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    plain = _PLACE.sub(r"\1", one.path).strip("/")
    name = f"{one.method.lower()}_{re.sub(r'[^a-z]', '_', plain)}"
    found: dict[str, Any] = {"operationId": name, "summary": one.summary}
    parameters = [_path_parameter(place, kind) for place, kind in _PLACE.findall(one.path)]
    parameters += _query_parameters(one, schemas)
    if parameters:
        found["parameters"] = parameters
    errors = {*ALWAYS, *one.errors}
    if one.body is not None:
        schema = one.body.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[one.body.__name__] = schema
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{one.body.__name__}"}}}
        found["requestBody"] = {"required": True, "content": content}
        errors |= {*BODY_ERRORS}
    if "{" in one.path:
        errors.add(404)
    answer = {"application/json": {"schema": {"type": "object"}}}
    problem = {TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    found["responses"] = {
        str(one.status): {"description": one.summary, "content": answer},
        **{str(status): {"description": "Refused", "content": problem} for status in sorted(errors)},
    }
    return found


def _path_parameter(name: str, kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[A-Za-z0-9._-]+$"}
    if kind == "int":
        schema = {"type": "integer", "minimum": 1, "maximum": 2**53}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(one: Endpoint, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    schema = one.query.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    required = schema.get("required", [])
    found = []
    for name, declared in schema.get("properties", {}).items():
        # An optional parameter is null in the model, and simply missing in an address.
        choices = [part for part in declared.get("anyOf", []) if part.get("type") != "null"]
        described = {**declared, **choices[0]} if choices else dict(declared)
        described.pop("anyOf", None)
        if described.get("default", 0) is None:
            described.pop("default")
        found.append({"name": name, "in": "query", "required": name in required, "schema": described})
    return found
