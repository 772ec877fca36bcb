"""The JSON Schema says what the model says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from kbjobs.chains.building import build, job_spellings
from kbjobs.chains.diagnostics import Diagnostic
from kbjobs.chains.library import TEMPLATES
from kbjobs.chains.schema import chain_schema
from kbjobs.phases.registry import job_types

MALFORMED = Path(__file__).with_name("malformed")
# The vocabulary of json-schema.org/draft-07/schema.
DRAFT_7 = {
    "$schema", "$id", "$ref", "$comment", "title", "description", "default", "readOnly", "examples", "multipleOf",
    "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern",
    "additionalItems", "items", "maxItems", "minItems", "uniqueItems", "contains", "maxProperties", "minProperties",
    "required", "additionalProperties", "definitions", "properties", "patternProperties", "dependencies",
    "propertyNames", "const", "enum", "type", "format", "contentMediaType", "contentEncoding", "if", "then", "else",
    "allOf", "anyOf", "oneOf", "not",
}  # fmt: skip
# What a schema cannot say; everything else it must say.
BEYOND_A_SCHEMA = [
    r"is called .* too",  # names of phases differ
    r"no phase has a parameter",  # a default that nobody takes
    r"needs the parameter",  # which a default may give
    r"the file's name",
    r"is no number to reckon with|64 bits|NUL character|date or time|nested too deeply",  # what JSON does not have
    r"is -?\d+\.0$",  # of a whole number only the value counts
    r"there is no such place|do not go together",  # a job type's own checks
]


def pattern(validator: Any, wanted: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """As ECMA 262 has it, which JSON Schema refers to: $ is the very end, for Python also before a last line feed."""
    if isinstance(instance, str) and not re.search(re.sub(r"(?<!\\)\$", r"\\Z", wanted), instance):
        yield ValidationError(f"{instance!r} does not match {wanted!r}")


Validator = extend(Draft7Validator, {"pattern": pattern})


@pytest.fixture(scope="module")
def types() -> Iterator[None]:
    """The job types of the example package, for a whole module: Hypothesis wants no fixture of a single test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "job_types"))
        yield


@pytest.fixture(scope="module")
def schema(types: None) -> dict[str, Any]:
    return chain_schema()


def subschemas(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside a schema."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key, value in schema.items():
        if key in ("properties", "patternProperties", "definitions"):
            for part in value.values():
                yield from subschemas(part)
        elif key in ("allOf", "anyOf", "oneOf") or (key == "items" and isinstance(value, list)):
            for part in value:
                yield from subschemas(part)
        elif key in ("items", "additionalItems", "additionalProperties", "not", "if", "then", "else", "contains"):
            yield from subschemas(value)


def test_it_is_a_schema_of_draft_7(schema: dict[str, Any]) -> None:
    Draft7Validator.check_schema(schema)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_it_uses_nothing_later(schema: dict[str, Any]) -> None:
    parts = list(subschemas(schema))
    assert len(parts) > 50
    for part in parts:
        assert set(part) <= DRAFT_7, set(part) - DRAFT_7
        if "$ref" in part:
            assert set(part) == {"$ref"}  # whatever is beside it is ignored
            assert part["$ref"].removeprefix("#/definitions/") in schema["definitions"]
        assert part.get("type") != "null"


def test_every_key_is_explained_to_an_editor(schema: dict[str, Any]) -> None:
    for table in (schema, schema["definitions"]["PhaseTable"]):
        for key in table["properties"].values():
            assert key["description"]
    for kind in job_types():
        assert schema["definitions"][kind.name]["title"] == kind.label
        for key in schema["definitions"][kind.name]["properties"].values():
            assert key.get("description") or "$ref" in key or "anyOf" in key


def test_every_spelling_of_a_job_is_offered(schema: dict[str, Any]) -> None:
    offered = schema["definitions"]["PhaseTable"]["properties"]["job"]["enum"]
    assert {"index-offline", "index_offline", "gather"} <= set(offered)
    assert offered == [spelling for kind in job_types() for spelling in job_spellings(kind)]


def is_beyond(diagnostic: Diagnostic) -> bool:
    return diagnostic.kind == "order" or any(re.search(one, diagnostic.message) for one in BEYOND_A_SCHEMA)


def compare(schema: dict[str, Any], document: dict[str, Any]) -> None:
    """Both refuse it, or both accept it, or the model refuses it for what a schema cannot say."""
    accepts = Validator(schema).is_valid(document)
    found = build(document, "nightly", "nightly.toml").diagnostics
    if accepts:
        assert all(is_beyond(one) for one in found), found
    else:
        assert found, [error.message for error in Validator(schema).iter_errors(document)]
        assert not all(one.kind == "order" for one in found)


def read_toml(path: Path) -> dict[str, Any] | None:
    """The tables, None where it is not TOML, or a number that the schema's checker cannot print."""
    try:
        document = tomllib.loads(path.read_bytes().decode())
        repr(document)
    except (ValueError, RecursionError):
        return None
    return document


DOCUMENTS = {
    path.stem: document
    for path in [*sorted(MALFORMED.glob("*.toml")), *sorted(TEMPLATES.glob("*.toml"))]
    if (document := read_toml(path)) is not None
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schema_and_model_agree_on_a_file(name: str, schema: dict[str, Any]) -> None:
    compare(schema, DOCUMENTS[name])


def test_of_the_malformed_files_it_refuses_all_but_those_beyond_it(schema: dict[str, Any]) -> None:
    accepted = {
        name
        for name, document in DOCUMENTS.items()
        if (MALFORMED / f"{name}.toml").exists() and Validator(schema).is_valid(document)
    }
    assert accepted == {
        "Name Of A File",
        "defaults_of_another_job",
        "order_conflict",
        "params_required",
        "params_together",
        "phase_names_twice",
    }


# -- documents at random --------------------------------------------------------------------------

names = st.sampled_from(["nightly", "a-b", "index", "index-offline", "Bad", "", "x" * 65, "x\n", "steps", 3])
sources = st.sampled_from(["wiki", "a.b", "con", "con.x", "../x", "", "a" * 64, "wiki\n", "W", 1, "nul", "x-"])
numbers = st.one_of(
    st.integers(-2, 102),
    st.floats(-1, 2, allow_nan=False),
    st.sampled_from([1e6, 1_000_001, 1.0, float("nan"), float("inf"), 2**63, True, 384, 500]),
)
anything = st.recursive(
    st.one_of(numbers, st.booleans(), st.text("abé\n\0", max_size=3), st.just([]), st.just({})),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=4,
)
values = st.one_of(
    anything,
    st.sampled_from(["here", "nowhere", "de", "DE", "fast", "slow", "all-MiniLM-L6-v2", [1, "x"], [1], [1, 2, 3, 4]]),
    st.fixed_dictionaries({}, optional={"first": numbers, "last": numbers, "other": numbers}),
    st.lists(st.fixed_dictionaries({"first": numbers}, optional={"last": numbers}), max_size=3),
)
PARAMS = [
    "force", "limit", "model", "dimension", "allow_delete", "dry_run", "where", "code", "size", "mode", "share",
    "numbers", "pair", "window", "windows", "extra", "count", "unknown",
]  # fmt: skip
params = st.dictionaries(st.sampled_from(PARAMS), values, max_size=5)
JOBS = [
    "index-offline", "index_offline", "index_online", "index", "gather", "steps", "sweep-it-all", "sweep_it-all", "x",
    7,
]  # fmt: skip
jobs = st.sampled_from(JOBS)
phases = st.one_of(
    st.fixed_dictionaries({"job": jobs}, optional={"params": params}),
    st.fixed_dictionaries({"job": jobs, "weight": numbers}, optional={"retries": numbers}),
    st.fixed_dictionaries(
        {},
        optional={
            "job": st.one_of(jobs, anything),
            "name": st.one_of(names, anything),
            "weight": st.one_of(numbers, anything),
            "params": st.one_of(params, anything),
            "on_error": st.sampled_from(["stop", "continue", "go", True]),
            "retries": st.one_of(numbers, anything),
            "other": anything,
        },
    ),
)
documents = st.one_of(
    st.fixed_dictionaries(
        {"phase": st.lists(phases, min_size=1, max_size=3)},
        optional={"name": names, "source": sources, "defaults": params},
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.one_of(names, anything),
            "description": st.one_of(st.text(max_size=5), st.just("x" * 501), anything),
            "resumable": st.one_of(st.booleans(), anything),
            "source": st.one_of(sources, anything),
            "sources": st.one_of(st.lists(sources, max_size=4), anything),
            "defaults": st.one_of(params, anything),
            "phase": st.one_of(st.lists(phases, max_size=3), anything),
            "other": anything,
        },
    ),
)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=documents)
def test_schema_and_model_agree_on_any_document(schema: dict[str, Any], document: dict[str, Any]) -> None:
    compare(schema, document)
