"""The JSON Schema of chain files, for editors: generated from the model and the parameters of the job types.

It keeps to draft 7, the version that TOML editors support (taplo.tamasfe.dev, "Schemas").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kbjobs.chains.file.chain_building import job_spellings
from kbjobs.chains.file.model import ChainTable
from kbjobs.embedding.online_models import TEXT_EMBEDDING_3_SMALL
from kbjobs.phases.job_type import JobType
from kbjobs.phases.names import INTERNAL, LEGACY
from kbjobs.phases.registry import job_types

DRAFT = "http://json-schema.org/draft-07/schema#"
# The keywords that pydantic writes and draft 7 has; the others (discriminator, deprecated …) only describe.
KEYWORDS = frozenset(
    {"type", "enum", "const", "title", "description", "default", "examples", "format", "pattern"}
    | {"properties", "required", "additionalProperties", "patternProperties", "propertyNames"}
    | {"items", "additionalItems", "contains", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"}
    | {"minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"allOf", "anyOf", "oneOf", "not"}
)
# What these keywords hold: schemas by name (the value is draft 7's keyword); a list of schemas; plain values.
_OF_NAMES = {"properties": "properties", "patternProperties": "patternProperties", "$defs": "definitions"}
_OF_CHOICES = frozenset({"allOf", "anyOf", "oneOf"})
_OF_VALUES = frozenset({"enum", "examples", "required", "type", "const", "default"})


def chain_schema() -> dict[str, Any]:
    """Make a JSON Schema (draft 7) that accepts what :func:`kbjobs.chains.file.chain_reading.read_chain` accepts.

    It cannot express that names of phases and ids of sources must differ, that some phase must take each default, where
    a required parameter (or the dimension of a legacy name) must be given, which orders conflict, and that the file's
    name must be valid for a chain.
    """
    kinds = job_types()
    schema: dict[str, Any] = {"$schema": DRAFT, **_to_draft_7(ChainTable.model_json_schema())}
    phase = schema["definitions"]["PhaseTable"]
    former = _legacy_names(kinds)
    spellings = [spelling for kind in kinds for spelling in job_spellings(kind)]
    phase["properties"]["job"]["enum"] = [*spellings, *former]
    phase["allOf"] = []
    schema["allOf"] = [{"not": {"required": ["source", "sources"]}}]
    schema["properties"]["name"]["not"] = {"pattern": _taken(kinds)}
    suggestions: dict[str, Any] = {}
    for kind in kinds:
        params = _params(kind)
        for name, definition in params.pop("definitions", {}).items():
            schema["definitions"][f"{kind.name}.{name}"] = definition
        # A default may supply a required parameter.
        params.pop("required", None)
        schema["definitions"][kind.name] = params
        named = {"properties": {"job": {"enum": list(job_spellings(kind))}}, "required": ["job"]}
        phase["allOf"].append({"if": named, "then": {"properties": {"params": {"$ref": f"#/definitions/{kind.name}"}}}})
        given = {"properties": {"phase": {"contains": named}}, "required": ["phase"]}
        defaults = {"properties": params.get("properties", {})}
        schema["allOf"].append({"if": given, "then": {"properties": {"defaults": defaults}}})
        for name, parameter in params.get("properties", {}).items():
            suggestions.setdefault(name, {"description": parameter.get("description", "")})
    for name, (local, online) in former.items():
        of_online = schema["definitions"][online]
        dimension = {"dimension": {"const": TEXT_EMBEDDING_3_SMALL.dimension}}
        with_dimension = {**of_online, "properties": {**of_online.get("properties", {}), **dimension}}
        params = {"anyOf": [{"$ref": f"#/definitions/{local}"}, with_dimension]}
        named = {"properties": {"job": {"enum": [name]}}, "required": ["job"]}
        phase["allOf"].append({"if": named, "then": {"properties": {"params": params}}})
    schema["properties"]["defaults"].update(properties=suggestions, additionalProperties=False)
    schema["title"] = "A chain of kbjobs"
    return schema


def _legacy_names(kinds: Sequence[JobType[Any]]) -> dict[str, tuple[str, ...]]:
    """Legacy names that the dimension resolves, with the types they may stand for."""
    known = {kind.name for kind in kinds}
    return {name: names for name, names in LEGACY.items() if len(names) > 1 and set(names) <= known}


def _taken(kinds: Sequence[JobType[Any]]) -> str:
    names = sorted({*(kind.name for kind in kinds), *INTERNAL, *LEGACY})
    return f"^({'|'.join(name.replace('_', '[_-]') for name in names)})$"


def _params(kind: JobType[Any]) -> dict[str, Any]:
    schema: dict[str, Any] = _to_draft_7(kind.params.model_json_schema(), prefix=f"{kind.name}.")
    schema["title"] = kind.label
    schema["description"] = kind.description
    return schema


def _to_draft_7(schema: Any, prefix: str = "") -> Any:
    """Translate a schema of pydantic (draft 2020-12) to draft 7, without null, which TOML does not have.

    Args:
        schema: the schema, or a part of one.
        prefix: put before the names of its definitions.
    """
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:  # draft 7 ignores everything next to a $ref
        return {"$ref": f"#/definitions/{prefix}{schema['$ref'].rpartition('/')[2]}"}
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "prefixItems":
            found["items"] = [_to_draft_7(part, prefix) for part in value]
            found["additionalItems"] = _to_draft_7(schema.get("items", True), prefix)
        elif (key == "items" and "prefixItems" in schema) or (key, value) == ("default", None):
            continue
        elif key in _OF_NAMES:
            found[_OF_NAMES[key]] = {name: _to_draft_7(part, prefix) for name, part in value.items()}
        elif key in _OF_CHOICES:
            found[key] = [_to_draft_7(part, prefix) for part in value if part.get("type") != "null"]
        elif key in _OF_VALUES:
            found[key] = value
        elif key in KEYWORDS:
            found[key] = _to_draft_7(value, prefix)
    return _flat(found)


def _flat(schema: dict[str, Any]) -> dict[str, Any]:
    """Replace a choice with a single option by that option."""
    choice = schema.get("anyOf")
    if choice is not None and len(choice) == 1 and "$ref" not in choice[0]:
        schema = {**choice[0], **{key: value for key, value in schema.items() if key != "anyOf"}}
    return schema
