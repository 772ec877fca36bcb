"""The settings in force for a home.

Precedence: flag (applied by the command) > environment (``KBJOBS_<NAME>``) > ``config.toml`` in the
home > default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from kbjobs.config.home import Home
from kbjobs.config.registry import SETTINGS, Setting
from kbjobs.config.toml_file import read_config
from kbjobs.errors import UsageError


@dataclass(frozen=True, slots=True)
class SettingValue:
    """A setting in force and where it came from."""

    setting: Setting
    value: str | int | float | tuple[str, ...]
    origin: str


class Settings:
    """The settings in force for one home."""

    def __init__(self, home: Home, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        configured = read_config(home.config_file)
        known = {setting.name for setting in SETTINGS}
        for name in configured:
            if name not in known:
                from difflib import get_close_matches

                near = get_close_matches(name, known, 1)
                hint = f"Did you mean {near[0]}? " if near else ""
                raise UsageError(f"{home.config_file}: unknown setting {name!r}", hint + "See kbjobs config show.")
        self.values: dict[str, SettingValue] = {}
        for setting in SETTINGS:
            if setting.variable in environ and isinstance(setting.default, tuple):
                raise UsageError(
                    f"{setting.variable} is set, but {setting.name} is read from {home.config_file} alone",
                    f"Write it there, and unset {setting.variable}.",
                )
            if setting.variable in environ:
                raw: object = environ[setting.variable]
                origin = f"environment {setting.variable}"
            elif setting.name in configured:
                raw, origin = configured[setting.name], str(home.config_file)
            else:
                raw, origin = setting.default, "default"
            self.values[setting.name] = SettingValue(setting, setting.parse(raw, origin), origin)

    def text(self, name: str) -> str:
        """The value of a text setting."""
        return str(self.values[name].value)

    def integer(self, name: str) -> int:
        """The value of a whole-number setting."""
        return int(self.text(name))

    def number(self, name: str) -> float:
        """The value of a numeric setting."""
        return float(self.text(name))

    def words(self, name: str) -> tuple[str, ...]:
        """The words of a setting that is a command."""
        value = self.values[name].value
        assert isinstance(value, tuple)  # noqa: S101
        return value
