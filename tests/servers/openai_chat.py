"""The chat completions of the loopback server: structured outputs by a model that only looks for words.

Sources of the facts: OpenAI's guide to structured outputs (what a strict schema may hold, refusals, answers that are
cut) and its API reference; the texts of the errors are quoted in public issue threads.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CHAT_MODEL = "gpt-4o-mini"
OLD_MODEL = "gpt-3.5-turbo"  # knows no structured outputs
CONTEXT_TOKENS = 128_000
MAX_PROPERTIES, MAX_NESTING, MAX_ENUM = 5_000, 10, 1_000
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
KEYWORDS = {"type", "properties", "required", "additionalProperties", "items", "enum", "description"}


@dataclass(frozen=True)
class Completion:
    """What the model says; ``content`` None: what it finds in the documents itself."""

    content: str | None = None
    refusal: str | None = None
    finish_reason: str = "stop"


REFUSAL = Completion("", "I'm sorry, I can't help with that.")
CUT = Completion('{"tags": [{"tag": "wat', finish_reason="length")
FILTERED = Completion("", finish_reason="content_filter")
INVALID = Completion('{"tags": [}')


def says(value: Any) -> Completion:
    """An answer of that JSON value."""
    return Completion(json.dumps(value))


def find_schema_fault(schema: Any, path: tuple[str, ...] = ()) -> str | None:
    """Why a schema is none of the strict form, None where it is one."""
    where = f"In context={path!r}, "
    if not isinstance(schema, dict):
        return where + "it is not a schema"
    if len(path) > 2 * MAX_NESTING:
        return where + "it is nested too deeply"
    if not path and schema.get("type") != "object":
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."
    if fault := find_keyword_fault(schema):
        return where + fault
    match schema.get("type"):
        case "object":
            if fault := find_object_fault(schema):
                return where + fault
            inner = [((*path, "properties", name), one) for name, one in schema.get("properties", {}).items()]
        case "array":
            if "items" not in schema:
                return where + "array schema missing items."
            inner = [((*path, "items"), schema["items"])]
        case "string" | "integer" | "number" | "boolean" | "null":
            inner = []
        case other:
            return f"{where}{other!r} is no type."
    return next((fault for place, one in inner if (fault := find_schema_fault(one, place))), None)


def find_keyword_fault(schema: dict[str, Any]) -> str | None:
    """What of a schema's keywords is not permitted, None for nothing."""
    if unknown := sorted(schema.keys() - KEYWORDS):
        return f"'{unknown[0]}' is not permitted."
    return "too many enum values." if len(schema.get("enum", [])) > MAX_ENUM else None


def find_object_fault(schema: dict[str, Any]) -> str | None:
    """Why the schema of an object is not strict, None if it is."""
    if schema.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    if set(schema.get("required", [])) != set(schema.get("properties", {})):
        return "'required' is required to be supplied and to be an array including every key in properties."
    return None


def match_documents(body: dict[str, Any]) -> dict[str, Any]:
    """An honest answer: each tag of the schema with the documents in which a word of it stands; nothing novel."""
    lines = body["messages"][-1]["content"].splitlines()
    documents = [json.loads(line) for line in lines if line.startswith("{")]
    schema = body["response_format"]["json_schema"]["schema"]
    tags = schema["properties"]["tags"]["items"]["properties"]["tag"]["enum"]
    found = []
    for tag in tags:
        words = [word for word in tag.split() if len(word) > 3] or [tag]
        numbers = [one["number"] for one in documents if any(word in one["text"].lower() for word in words)]
        if numbers:
            found.append({"tag": tag, "documents": numbers})
    return {"tags": found, "novel": []}


class Chat:
    """The model behind the endpoint: what it was asked and is to answer."""

    def __init__(self, count_tokens: Callable[[str], int]) -> None:
        self._count = count_tokens
        self.sold: list[dict[str, Any]] = []
        """The requests that were answered, each time they were: what the account pays for."""
        self.sent = self.answered = 0
        """Tokens that were paid for."""
        self.script: list[Completion] = []
        """What to say to the next requests, one each."""
        self.always = Completion()
        """What to say where the script has nothing."""

    def check(self, body: dict[str, Any], request: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """The status and the error for a request that is refused; counts its tokens."""
        if body.get("model") not in (CHAT_MODEL, OLD_MODEL):
            return 404, _error(
                f"The model `{body.get('model')}` does not exist or you do not have access to it.", "model_not_found"
            )
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            return 400, _error("Missing required parameter: 'messages'.", "missing_required_parameter")
        texts = [message.get("content") for message in messages]
        if not all(isinstance(text, str) for text in texts) or any("role" not in message for message in messages):
            return 400, _error("Invalid value: 'messages'.", "invalid_value")
        request["inputs"] = len(messages)
        request["prompt"] = sum(map(self._count, texts)) + 4 * len(texts) + 3
        request["tokens"] = request["prompt"] + (body.get("max_completion_tokens") or 0)
        if request["tokens"] > CONTEXT_TOKENS:
            return 400, _error(
                f"This model's maximum context length is {CONTEXT_TOKENS} tokens.", "context_length_exceeded"
            )
        form = body.get("response_format")
        if not isinstance(form, dict) or form.get("type") != "json_schema":
            return 400, _error("Invalid value: 'response_format'.", "invalid_value")
        if body["model"] == OLD_MODEL:
            return 400, _error(
                "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.", None
            )
        named = form.get("json_schema", {})
        if not NAME.fullmatch(str(named.get("name", ""))) or named.get("strict") is not True:
            return 400, _error("Invalid value: 'response_format.json_schema'.", "invalid_value")
        if fault := find_schema_fault(named.get("schema")):
            return 400, _error(f"Invalid schema for response_format '{named['name']}': {fault}", "invalid_json_schema")
        return None

    def sell(self, body: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
        """The answer, which is paid for."""
        completion = self.script.pop(0) if self.script else self.always
        content = json.dumps(match_documents(body)) if completion.content is None else completion.content
        answered = self._count(content + (completion.refusal or ""))
        self.sold.append(body)
        self.sent += request["prompt"]
        self.answered += answered
        message = {"role": "assistant", "content": content or None, "refusal": completion.refusal}
        return {
            "id": f"chatcmpl-{len(self.sold)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": completion.finish_reason, "logprobs": None}],
            "usage": {
                "prompt_tokens": request["prompt"],
                "completion_tokens": answered,
                "total_tokens": request["prompt"] + answered,
            },
        }


def _error(message: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
