"""Find the chain for a name and parameters: a job type as a chain of one, or a chain file of that name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kbjobs.chains.chain import Chain, single
from kbjobs.chains.file.chain_reading import read_chain
from kbjobs.chains.library import find_chain_file, list_chain_files
from kbjobs.config.home import Home
from kbjobs.errors import UsageError
from kbjobs.phases.job_type import JobType, Params
from kbjobs.phases.names import resolve_name, stands_for_two
from kbjobs.phases.registry import is_taken, job_type


def find_chain(home: Home, name: str, params: dict[str, Any]) -> Chain:
    """Find a chain by its name, or make a chain of one phase from a job type.

    Args:
        home: the home, which holds the user's chains.
        name: the name of a chain or a job type, legacy names included.
        params: the parameters of the job type; a chain takes none, its file gives them.

    Raises:
        NotFoundError: neither a chain nor a job type has that name.
        UsageError: a parameter is wrong, or a chain was given parameters.
    """
    plain = resolve_name(name, params.get("dimension"))
    dimension = params.get("dimension") if stands_for_two(name) else None
    if not is_taken(plain) and any(listed.name == plain for listed in list_chain_files(home)):
        if set(params) - ({"dimension"} if stands_for_two(name) else set()):
            raise UsageError(f"the chain {name} takes no parameters", "They stand in its file: kbjobs chains show.")
        chain = read_chain(find_chain_file(home, plain))
        return chain if dimension is None else _with_dimension(chain, dimension)
    kind = job_type(plain if stands_for_two(name) else name)
    if dimension is not None and "dimension" not in kind.params.model_fields:
        params = {key: value for key, value in params.items() if key != "dimension"}
    checked = validated(kind, params)
    return single(kind, checked)


def _with_dimension(chain: Chain, dimension: int) -> Chain:
    """Set the dimension in each phase that takes one."""
    phases = [
        replace(phase, params=phase.params.model_copy(update={"dimension": dimension}))
        if "dimension" in phase.job_type.params.model_fields
        else phase
        for phase in chain.phases
    ]
    return replace(chain, phases=tuple(phases))


def validated(kind: JobType[Any], params: dict[str, Any]) -> Params:
    """Validate the parameters of a job type. Raises UsageError."""
    from pydantic import ValidationError

    try:
        checked: Params = kind.params.model_validate(params)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'parameters'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise UsageError(f"{kind.command}: {problems}", f"See kbjobs run {kind.command} --help.") from None
    return checked
