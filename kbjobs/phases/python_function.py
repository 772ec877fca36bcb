"""A Python function as a phase: named so that a worker can import it, and called with the callbacks it accepts.

It is not in the list of job types: :meth:`kbjobs.services.jobs.JobManager.submit` queues it if given a function.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from pydantic import Field

from kbjobs.context import Context, PhaseResult
from kbjobs.errors import JobCancelled, MissingRequirementError, UsageError
from kbjobs.phases.job_type import NO_SOURCE, JobType, Params

PERCENT_STEPS = 1000  # the number of units that a percentage is converted to
MESSAGE_LIMIT = 500  # most characters of a message that are kept


class FunctionParams(Params):
    """The name of a function, and its arguments."""

    function: str = Field(description="module:name, as in an entry point.")
    args: list[Any] = Field(default=[], description="Positional arguments: JSON values.")
    kwargs: dict[str, Any] = Field(default={}, description="Named arguments: JSON values.")
    sys_path: list[str] = Field(default=[], description="Folders in which the caller looks for modules.")


def describe_function(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> FunctionParams:
    """Describe a call of a function so that a worker can repeat it.

    Args:
        func: a function at the top level of a module.
        args: positional arguments, JSON values.
        kwargs: keyword arguments, JSON values.

    Raises:
        UsageError: a worker could not import the function, or an argument is not a JSON value.
    """
    name = getattr(func, "__qualname__", "")
    module = getattr(func, "__module__", "") or ""
    shown = f"{module}.{name}" if name else repr(func)
    if "<" in name or not name or not module:
        raise UsageError(
            f"{shown} is a lambda, a local function or no function: a worker cannot import it",
            "Define it with def at the top level of a module, and pass that.",
        )
    if module == "__main__":
        raise UsageError(
            f"{name} is defined in the program that was started: a worker cannot import it",
            "Move it into its own module and import it from there.",
        )
    params = FunctionParams(
        function=f"{module}:{name}",
        args=list(args),
        kwargs=dict(kwargs),
        sys_path=[folder for entry in sys.path if os.path.exists(folder := os.path.abspath(entry or "."))],  # noqa: PTH100, PTH110
    )
    if find_function(params) is not func:
        raise UsageError(
            f"{shown} is not the function that a worker would import under that name", "Pass the function itself."
        )
    try:
        json.dumps([params.args, params.kwargs], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the arguments of {shown} are not JSON values: {error}", "Pass texts, numbers, lists."
        ) from None
    return params


def find_function(params: FunctionParams) -> Callable[..., Any]:
    """Import the function. Raises MissingRequirementError if that fails."""
    for folder in params.sys_path:
        if folder not in sys.path:
            sys.path.append(folder)  # at the end, so that it shadows no module
    module, _, name = params.function.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise MissingRequirementError(
            f"{params.function} cannot be imported: {error}",
            "Check that its module still is where it was when the job was submitted.",
        ) from error
    if not callable(found):
        raise MissingRequirementError(f"{params.function} is not a function", "Submit the job again.")
    return found  # type: ignore[no-any-return]


class FunctionCall:
    """One call of a function, with ``progress_callback`` and ``cancel_checker`` if it accepts them."""

    def __init__(self, context: Context, func: Callable[..., Any]) -> None:
        self._context = context
        self._func = func
        self._was_stopped = False
        names = _accepted_names(func)
        self._extra: dict[str, Callable[..., Any]] = {}
        if names is None or "progress_callback" in names:
            self._extra["progress_callback"] = self.progress_callback
        self._checks = names is None or "cancel_checker" in names
        if self._checks:
            self._extra["cancel_checker"] = self.cancel_checker

    def run(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Call the function; returns its result as JSON. Raises JobCancelled if it was told to stop."""
        result = self._func(*args, **{**self._extra, **kwargs})
        if self._was_stopped:
            raise JobCancelled("stopped at a checkpoint")
        return as_result(result)

    def cancel_checker(self) -> bool:
        """Whether the function should stop."""
        stopping = self._context.is_stopping()
        self._was_stopped = self._was_stopped or stopping
        return stopping

    def progress_callback(self, *reported: Any, **named: Any) -> None:
        """Take ``(percent)``, ``(percent, message)`` or ``(current, total, message)``, by position or by name.

        If the function does not accept ``cancel_checker``, this raises JobCancelled to stop it.
        """
        message = ""
        numbers = [*reported, *(named[name] for name in ("percent", "current", "total", "message") if name in named)]
        if numbers and isinstance(numbers[-1], str):
            message = numbers.pop()[:MESSAGE_LIMIT]
        if len(numbers) >= 2:
            current, total = _as_number(numbers[0]), _as_number(numbers[1])
        else:
            current = _as_number(numbers[0]) * PERCENT_STEPS / 100 if numbers else 0.0
            total = PERCENT_STEPS
        self._context.reporter.report(int(current), int(total), "", message, (0.0, 1.0), True)
        if not self._checks:
            self._context.check()


def _as_number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return max(0.0, min(number, 1e15)) if math.isfinite(number) else 0.0


def _accepted_names(func: Callable[..., Any]) -> set[str] | None:
    """The names of a function's parameters; None if it accepts any name."""
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):  # a C function without a signature
        return set()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {
        parameter.name
        for parameter in parameters
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }


def as_result(value: Any) -> dict[str, Any]:
    """Turn a function's result (a dict, a dataclass, an object with ``to_dict()``, or any JSON value) into JSON."""
    if hasattr(value, "to_dict") and not isinstance(value, type):
        value = value.to_dict()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    result = value if isinstance(value, dict) else {} if value is None else {"value": value}
    try:
        found: dict[str, Any] = json.loads(json.dumps(result, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the function returned something that is not JSON: {error}", "Return a dict of texts, numbers and lists."
        ) from None
    return found


def run(context: Context, params: FunctionParams) -> PhaseResult:
    """Call the function."""
    result = FunctionCall(context, find_function(params)).run(params.args, params.kwargs)
    return PhaseResult(result, f"{params.function} is done")


JOB_TYPE = JobType(
    name="python_function",
    label="Python function",
    description="A function of a module that a worker can import.",
    category="functions",
    operation="call",
    params=FunctionParams,
    run=run,
    target=NO_SOURCE,
)
