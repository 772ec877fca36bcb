"""The JSON Schema says what the model says."""

from __future__ import annotations

import copy
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

from kbjobs.chains.diagnostics import Diagnostic
from kbjobs.chains.file.chain_building import build, job_spellings
from kbjobs.chains.file.schema import chain_schema
from kbjobs.chains.library import TEMPLATES
from kbjobs.phases.registry import job_types
from tests.conftest import FACTOR

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
    r"needs the parameter|is an old name for two job types",  # which a default may give, or tell apart
    r"the file's name",
    r"is not a finite number|64 bits|NUL character|date or time|nested too deeply",  # what JSON does not have
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
        patch.syspath_prepend(str(Path(__file__).parents[2] / "job_types"))
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
    assert offered == [*(spelling for kind in job_types() for spelling in job_spellings(kind)), "index"]


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
        "job_is_ambiguous",
        "order_conflict",
        "params_required",
        "params_together",
        "phase_names_twice",
    }


# -- documents at random --------------------------------------------------------------------------

switches = st.booleans()
windows = st.fixed_dictionaries({"first": st.integers(0, 23)}, optional={"last": st.integers(0, 23)})
limits = st.integers(1, 5)
# Right values of parameters, by the job.
PARAMS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "index-offline": {
        "model": st.just("all-MiniLM-L6-v2"),
        "dimension": st.sampled_from([384, 768, 1024]),
        "force": switches,
        "limit": limits,
        "allow_delete": switches,
    },
    "index_online": {"force": switches, "dry_run": switches, "limit": limits, "allow_delete": switches},
    "metadata": {"force": switches, "language_filter": st.just("en")},
    "clear-vectors": {"dimension": st.sampled_from([384, 768, 1024, 1536])},
    "steps": {"count": st.integers(0, 3), "seconds": st.sampled_from([0, 0.5]), "misbehave": st.just("no")},
    "gather": {
        "where": st.sampled_from(["here", "x" * 20]),
        "code": st.just("de"),
        "size": st.sampled_from([1, "one"]),
        "mode": st.sampled_from(["slow", "fast"]),
        "share": st.sampled_from([0.1, 0.9]),
        "numbers": st.lists(st.integers(0, 9), max_size=3),
        "pair": st.just([1, "one"]),
        "window": windows,
        "windows": st.lists(windows, max_size=2),
        "extra": st.dictionaries(st.sampled_from("abc"), st.sampled_from([1, "x", [True]])),
    },
    "sweep-it-all": {},
}
# Values that are right in one place and wrong in another, and some that are right nowhere.
WRONG: list[Any] = [
    None, -1, 0, 1, 1.0, 2, 0.5, 24, 101, 384, 500, 1e6, 1_000_001, 2**63, float("nan"), float("inf"), True, False, "",
    "x", "de", "DE", "x\n", "nul\0", "x" * 21, "x" * 65, "x" * 501, "here", "nowhere", "index", "index-offline",
    "metadata", "sweep_it-all", "python_function", "generate-source", "wiki", "../x", "con", "con.x", "nul", "W", "a b",
    "wiki\n", "stop", "fast", [], [1], ["x"], [1, "x"], [1, 2, 3, 4], ["wiki", "wiki"], [[]], {}, {"first": 1},
    {"first": 24}, {"other": 1}, [{"first": 1}, {}], {"job": "steps"}, [{"job": "steps"}], {"force": True},
    {"limit": 0},
]  # fmt: skip


@st.composite
def good_phases(draw: Any) -> dict[str, Any]:
    job = draw(st.sampled_from(sorted(PARAMS)))
    phase = {"job": draw(st.sampled_from([job, job.replace("-", "_"), job.replace("_", "-")]))}
    given_params = draw(st.fixed_dictionaries({}, optional=PARAMS[job]))
    if job == "gather":
        given_params.setdefault("where", "here")
    if given_params or draw(st.booleans()):
        phase["params"] = given_params
    optional = {
        "weight": st.sampled_from([0, 1, 2.5, 1e6]),
        "on_error": st.sampled_from(["stop", "continue"]),
        "retries": st.integers(0, 100),
    }
    return phase | draw(st.fixed_dictionaries({}, optional=optional))


@st.composite
def documents(draw: Any) -> dict[str, Any]:
    """A good document with none, one or two changes."""
    optional = {
        "name": st.sampled_from(["a", "a-b", "x" * 64]),
        "description": st.text(max_size=5).filter(lambda text: "\0" not in text),
        "resumable": st.booleans(),
    }
    document: dict[str, Any] = draw(st.fixed_dictionaries({}, optional=optional))
    document["phase"] = draw(st.lists(good_phases(), min_size=1, max_size=3))
    document |= draw(
        st.sampled_from([{}, {"source": "wiki"}, {"sources": ["a.b"]}, {"sources": ["wiki", "x" * 63, "con-x"]}])
    )
    job = document["phase"][0]["job"].replace("_", "-")
    known = next(params for name, params in PARAMS.items() if name.replace("_", "-") == job)
    document |= draw(st.sampled_from([{}, {"defaults": draw(st.fixed_dictionaries({}, optional=known))}]))
    document = copy.deepcopy(document)  # strategies give the same lists again and again
    for _ in range(draw(st.integers(0, 2))):
        change(draw, document)
    return document


def change(draw: Any, document: dict[str, Any]) -> None:
    """Put another value somewhere, take one away, or add one."""
    places = list(containers(document))
    holder = draw(st.sampled_from(places))
    names = ["name", "source", "sources", "defaults", "weight", "retries", "force", "limit", "window", "last", "other"]
    wrong = draw(st.sampled_from(WRONG))
    if isinstance(holder, list):
        position = draw(st.integers(0, len(holder)))
        if position < len(holder) and wrong is None:
            del holder[position]
        else:
            holder[position : position + 1] = [{} if wrong is None else copy.deepcopy(wrong)]
        return
    key = draw(st.sampled_from([*holder, *names]))
    if wrong is None:  # which TOML does not have
        holder.pop(key, None)
    else:
        holder[key] = copy.deepcopy(wrong)


def containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for inside in value.values() if isinstance(value, dict) else value:
            yield from containers(inside)


@pytest.mark.slow
@pytest.mark.long
@settings(max_examples=150 * FACTOR, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=documents())
def test_schema_and_model_agree_on_any_document(schema: dict[str, Any], document: dict[str, Any]) -> None:
    compare(schema, document)
