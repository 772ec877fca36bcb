"""Which cluster a job embeds on is decided at its submit."""

from __future__ import annotations

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.embedding.cluster.address import LOCAL, check_address, find_address, split_address
from kbjobs.errors import UsageError


def test_the_nearest_word_counts(home: Home) -> None:
    assert find_address(None, Settings(home, {}), {}) == LOCAL
    assert find_address(None, Settings(home, {}), {"RAY_ADDRESS": "10.0.0.1:6379"}) == "10.0.0.1:6379"
    settings = Settings(home, {"KBJOBS_RAY_ADDRESS": "head:6379"})
    assert find_address(None, settings, {"RAY_ADDRESS": "10.0.0.1:6379"}) == "head:6379"
    assert find_address("local", settings, {"RAY_ADDRESS": "10.0.0.1:6379"}) == LOCAL
    assert find_address("[fd00::1]:6379", settings, {}) == "[fd00::1]:6379"


@pytest.mark.parametrize("address", ["head", "head:", "head:0", "head:70000", "http://head:6379", "a b:1", "auto"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a Ray cluster") as caught:
        check_address(address, "RAY_ADDRESS")
    assert "RAY_ADDRESS" in caught.value.message


def test_a_ray_client_server_is_refused_with_the_other_way() -> None:
    with pytest.raises(UsageError, match="Ray Client") as caught:
        check_address("ray://head:10001", "--ray-address")
    assert "ray start --address=" in caught.value.hint


def test_an_address_is_split() -> None:
    assert split_address("head.lan:6379") == ("head.lan", 6379)
    assert split_address("[fd00::1]:6379") == ("fd00::1", 6379)
