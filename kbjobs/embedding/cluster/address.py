"""Decide which Ray cluster a job embeds on.

A submit decides, since the worker's environment may differ; so this is cheap to import.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from kbjobs.config.settings import Settings
from kbjobs.errors import UsageError

RAY_ADDRESS = "RAY_ADDRESS"
LOCAL = "local"
"""Stands for a cluster on this machine, started for the job."""

RAY_AUTH_TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 — the name of a secret

_FORM = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(?P<port>[0-9]{1,5})")


def find_address(given: str | None, settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Find the cluster's address: the given one, or else from the settings, the environment, or ``local``.

    Args:
        given: the job's own address, None if it has none.
        settings: the settings in force.
        environ: variables of the environment.

    Raises:
        UsageError: a job cannot use the address.
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
    """Return the address. Raises UsageError if it is malformed; only the job sees whether a cluster is there."""
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
    """Split into host and port; None if the address has another form."""
    found = _FORM.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        return None
    return found["host"].strip("[]"), int(found["port"])
