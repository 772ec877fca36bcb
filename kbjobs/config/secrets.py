"""Names and places of secrets. A value is never shown, logged or put into the state."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping

from kbjobs.config.home import Home
from kbjobs.errors import UnavailableError, UsageError
from kbjobs.system.files import write_text

SECRET_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}|scrape\.[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
# The daemon reports only the names of its variables that end like the names of credentials.
_LOOKS_SECRET = re.compile(r"[A-Z][A-Z0-9_]*_(KEY|KEY_ID|TOKEN|SECRET|PASSWORD|CREDENTIALS)")
MAX_BYTES = 64 * 1024


def names_in_environment(environ: Mapping[str, str] = os.environ) -> list[str]:
    """List variables that look like credentials and are not empty."""
    return sorted(name for name, value in environ.items() if value and _LOOKS_SECRET.fullmatch(name))


def stored_secrets(home: Home) -> dict[str, str]:
    """Read ``secrets.toml``. Raises UnavailableError, also if other users may read the file."""
    path = home.secrets_file
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise UnavailableError(f"{path} can be read by others", f"chmod 600 {path}, and replace its secrets.")
            values = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror}", "Check its permissions.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # The error's own text may quote the line, including the secret.
        raise UnavailableError(f"{path} is not valid TOML", 'Each line reads NAME = "value".') from None
    wrong = [name for name, value in values.items() if not isinstance(value, str)]
    if wrong:
        raise UnavailableError(f"{path}: {wrong[0]} is not a text", 'Each line reads NAME = "value".')
    return {name: str(value) for name, value in values.items()}


def set_secret(home: Home, name: str, value: str) -> None:
    """Store a secret. The file is replaced as a whole or not at all.

    Args:
        home: where to store it.
        name: written like OPENAI_API_KEY, or ``scrape.SOURCE`` for the login of a source's site.
        value: one line of text.

    Raises:
        UsageError: the name or the value cannot be used.
        UnavailableError: the file of secrets cannot be read, or others may read it.
    """
    if not SECRET_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not the name of a secret",
            "It is written like OPENAI_API_KEY: A–Z, 0–9 and underscores; or scrape.SOURCE.",
        )
    value = value.strip()
    if not value or len(value) > MAX_BYTES or not value.isprintable():
        raise UsageError(f"the value of {name} is empty, too long or not one line of text", "It is read from stdin.")
    values = {**stored_secrets(home), name: value}
    _write(home, values)


def remove_secret(home: Home, name: str) -> None:
    """Remove a secret from ``secrets.toml``; does nothing if it is not there. Raises UnavailableError."""
    values = stored_secrets(home)
    if values.pop(name, None) is not None:
        _write(home, values)


def _write(home: Home, values: Mapping[str, str]) -> None:
    home.prepare()
    # A JSON string without escapes beyond \" and \\ is a TOML string, also as a key.
    lines = [f"{json.dumps(key)} = {json.dumps(text, ensure_ascii=False)}\n" for key, text in sorted(values.items())]
    write_text(home.secrets_file, "".join(lines))


def find_secret(home: Home, name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Find a secret as a worker does: in the environment, then in ``secrets.toml``.

    Args:
        home: where secrets are stored.
        name: the secret's name.
        environ: variables of the environment; a worker has the daemon's.

    Returns:
        The secret; None if it is in neither.

    Raises:
        UnavailableError: the file of secrets cannot be read, or others may read it.
    """
    return environ.get(name) or stored_secrets(home).get(name)
