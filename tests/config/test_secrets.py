"""Secrets in their file."""

from __future__ import annotations

import pytest

from kbjobs.config.home import Home
from kbjobs.config.secrets import find_secret, names_in_environment, set_secret, stored_secrets
from kbjobs.errors import UnavailableError, UsageError


@pytest.mark.parametrize("value", ["sk-1", 'a"b', "back\\slash", "umläut", "emoji 🔑", "a = b # c", "'''"])
def test_a_value_comes_back(home: Home, value: str) -> None:
    set_secret(home, "A_KEY", value)
    set_secret(home, "B_KEY", "other")
    assert stored_secrets(home) == {"A_KEY": value, "B_KEY": "other"}
    assert find_secret(home, "A_KEY", {}) == value
    assert find_secret(home, "A_KEY", {"A_KEY": "of the environment"}) == "of the environment"
    assert find_secret(home, "A_KEY", {"A_KEY": ""}) == value
    assert find_secret(home, "C_KEY", {}) is None


@pytest.mark.parametrize("value", ["", "  \n", "two\nlines", "nul\0", "x" * 70_000])
def test_a_bad_value_is_refused_without_being_told(home: Home, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        set_secret(home, "A_KEY", value)
    assert not value.strip() or value not in caught.value.message
    assert stored_secrets(home) == {}


@pytest.mark.parametrize("text", ['A_KEY = "sk-hidden', "A_KEY = 3", "[A_KEY]\nx = 1", "sk-hidden"])
def test_a_damaged_file_is_told_without_its_content(home: Home, text: str) -> None:
    home.secrets_file.write_text(text)
    home.secrets_file.chmod(0o600)
    with pytest.raises(UnavailableError) as caught:
        stored_secrets(home)
    assert "hidden" not in str(caught.value) + caught.value.hint


def test_only_names_that_look_secret_are_told() -> None:
    environ = {"OPENAI_API_KEY": "x", "HF_TOKEN": "y", "EMPTY_KEY": "", "PATH": "/bin", "keyboard_key": "z"}
    assert names_in_environment(environ) == ["HF_TOKEN", "OPENAI_API_KEY"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_secrets_that_others_can_read_are_refused(home: Home, mode: int) -> None:
    set_secret(home, "OPENAI_API_KEY", "sk-stored")
    home.secrets_file.chmod(mode)
    with pytest.raises(UnavailableError, match="can be read by others"):
        stored_secrets(home)
