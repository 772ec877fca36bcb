"""A tool as it is declared once: its name, its arguments, what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=200)]
SourceId = Annotated[str, Field(min_length=1, max_length=63, description="Id of a source; list_sources has them.")]
JobId = Annotated[int, Field(ge=1, le=2**53, description="Id of a job.")]


class ToolArguments(BaseModel):
    """Base of the arguments of tools; undeclared ones are refused."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class AssistantTool:
    """A tool.

    Args:
        name: its name in the protocol.
        title: its name for people.
        description: what the assistant is told of it.
        arguments: the model of its arguments.
        answer: does it, in a thread, and returns a JSON object.
        changes: whether it changes anything.
    """

    name: str
    title: str
    description: str
    arguments: type[ToolArguments]
    answer: Callable[[Any], dict[str, Any]]
    changes: bool = False
