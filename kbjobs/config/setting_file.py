"""Write settings to ``config.toml``; comments, order and all other settings of the file are kept."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from kbjobs.config.home import Home
from kbjobs.config.registry import SETTINGS, Setting
from kbjobs.config.toml_file import flatten, read_config
from kbjobs.errors import UsageError
from kbjobs.system.files import write_text

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

Value = str | int | float | tuple[str, ...]


def find_setting(name: str) -> Setting:
    """Find the setting of that name.

    Raises:
        UsageError: there is none; the hint names the nearest.
    """
    for setting in SETTINGS:
        if setting.name == name:
            return setting
    near = get_close_matches(name, [setting.name for setting in SETTINGS], 1)
    raise UsageError(
        f"unknown setting {name!r}", (f"Did you mean {near[0]}? " if near else "") + "kbjobs config show lists them."
    )


def write_setting(home: Home, name: str, words: Sequence[str]) -> Value:
    """Put a setting into the home's ``config.toml``, creating the file if it is missing.

    Args:
        home: the home.
        name: the setting, such as ``packs.to``.
        words: its value as typed: one word, or the program and its arguments if the setting is a command.

    Returns:
        The parsed value.

    Raises:
        UsageError: there is no such setting, the value is not valid for it, or the file is not valid TOML.
        OSError: the file cannot be written.
    """
    setting = find_setting(name)
    is_command = isinstance(setting.default, tuple)
    if not is_command and len(words) != 1:
        raise UsageError(f"{name} takes one value, and {len(words)} were given", f"kbjobs config set {name} VALUE")
    value = setting.parse(_read_command(words) if is_command else words[0], "kbjobs config set")
    _edit(home, name, list(value) if isinstance(value, tuple) else value)
    return value


def _read_command(words: Sequence[str]) -> object:
    """Parse the words of a command; a single word may be a JSON list of them, as in the file."""
    if len(words) == 1 and words[0].lstrip().startswith("["):
        try:
            return json.loads(words[0])
        except ValueError:
            return words[0]  # will be refused, with a hint at the right form
    return list(words)


def remove_setting(home: Home, name: str) -> bool:
    """Remove a setting from ``config.toml``, which restores its default.

    Args:
        home: the home.
        name: the setting.

    Returns:
        Whether it was in the file.

    Raises:
        UsageError: there is no such setting, or the file is not valid TOML.
        OSError: the file cannot be written.
    """
    find_setting(name)
    if name not in read_config(home.config_file):
        return False
    _edit(home, name, None)
    return True


def _edit(home: Home, name: str, value: str | int | float | list[str] | None) -> None:
    import tomlkit

    wanted = read_config(home.config_file)
    path = home.config_file.resolve()  # a symbolic link stays one: the file it leads to is written
    document = tomlkit.parse(path.read_text(encoding="utf-8") if path.exists() else "")
    _put(document, name.split("."), value)
    text = tomlkit.dumps(document)
    wanted.pop(name, None)
    if value is not None:
        wanted[name] = value
    if _read(text) != wanted:
        raise UsageError(
            f"{path}: {name} cannot be changed without changing other settings", "Edit the file with a text editor."
        )
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_text(path, text)


def _put(document: TOMLDocument, keys: Sequence[str], value: object) -> None:
    import tomlkit

    tables: list[Any] = [document]
    for key in keys[:-1]:
        if key not in tables[-1]:
            tables[-1].add(key, tomlkit.table())
        tables.append(tables[-1][key])
    if value is not None:
        tables[-1][keys[-1]] = value
        return
    del tables[-1][keys[-1]]
    for key, outer, inner in reversed(list(zip(keys, tables, tables[1:], strict=False))):
        if not inner:
            del outer[key]


def _read(text: str) -> dict[str, object] | None:
    try:
        return dict(flatten(tomllib.loads(text)))
    except tomllib.TOMLDecodeError:
        return None
