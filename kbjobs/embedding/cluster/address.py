"""Which Ray cluster a job embeds on. Light: a submit decides it, since the worker may have another environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from kbjobs.config.settings import Settings
from kbjobs.errors import UsageError

RAY_ADDRESS = "RAY_ADDRESS"
LOCAL = "local"
"""In the place of an address: a cluster on this machine, started for the job."""

RAY_AUTH_TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 — the name of a secret

_FORM = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(?P<port>[0-9]{1,5})")


def find_address(given: str | None, settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Find the address of the cluster: the one given, else of the settings, else of the environment, else ``local``.

    Args:
        given: the job's own address, None if it has none.
        settings: the settings in force.
        environ: variables of the environment.

    Raises:
        UsageError: the address cannot be used by a job.
    """
    for address, origin in (
        (given, "--ray-address"),
        (settings.text("ray.address"), "the setting ray.address"),
        (environ.get(RAY_ADDRESS), RAY_ADDRESS),
    ):
        if address:
            return check_address(address.strip(), origin)
    return LOCAL


def check_address(address: str, origin: str) -> str:
    """The address. Raises UsageError if it cannot be one; whether a cluster is there is for the job to see."""
    if address.startswith("ray://"):
        raise UsageError(
            f"{origin} = {address!r}: kbjobs does not go through a Ray Client server",
            "Make this machine a node without workers, ray start --address=HOST:6379 --num-cpus=0, and give HOST:6379.",
        )
    if address != LOCAL and split_address(address) is None:
        raise UsageError(
            f"{origin} = {address!r} is not the address of a Ray cluster",
            "Give the one that ray start --head has printed, like 10.0.0.1:6379, or local.",
        )
    return address


def split_address(address: str) -> tuple[str, int] | None:
    """Host and port; None if it has not that form."""
    found = _FORM.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        return None
    return found["host"].strip("[]"), int(found["port"])
