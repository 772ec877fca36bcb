"""Prices are settings with a date; what they come to can be read."""

from __future__ import annotations

import pytest

from kbjobs.config.home import Home
from kbjobs.config.prices import Price, format_dollars, usage_price
from kbjobs.config.settings import Settings
from kbjobs.errors import UsageError


@pytest.mark.parametrize(
    ("amount", "shown"), [(0, "0.00"), (0.00000421, "0.0000042"), (0.0142, "0.014"), (0.5, "0.5"), (12.3, "12.30")]
)
def test_amounts_are_readable(amount: float, shown: str) -> None:
    assert format_dollars(amount) == shown


def read(home: Home, value: str) -> Price:
    return Price.read(Settings(home, {"KBJOBS_ONLINE_PRICE": value}), "online_price")


def test_a_price_has_its_date(home: Home) -> None:
    price = Price.read(Settings(home, {}), "online_price")
    assert price.of(1_000_000) == 0.02
    assert price.describe(500_000) == "0.01 USD at the list price of July 2026 (0.02 USD per million tokens)"
    assert read(home, "0.13 2026-11-01") == Price(0.13, 0.0, "2026-11-01")
    assert read(home, "0.15 0.6 July 2026") == Price(0.15, 0.6, "July 2026")
    assert read(home, "0.02 2026") == Price(0.02, 0.0, "2026")
    assert read(home, "0.15 0.6 July 2026").of(1_000_000, 1_000_000) == pytest.approx(0.75)


def test_batches_cost_half(home: Home) -> None:
    price = read(home, "0.02 July 2026")
    text = price.in_batches().describe(1_000_000)
    assert text == "0.01 USD at the list price of July 2026, 50% of it by the Batch API (0.01 USD per million tokens)"
    assert usage_price(price, {"tokens": 3_000_000, "batch_tokens": 1_000_000}) == pytest.approx(0.05)


@pytest.mark.parametrize("value", ["", "0.02", "cheap", "-1 July", "nan July", "July 2026 0.02", "1e9 July"])
def test_what_is_no_price_is_refused_with_its_place(home: Home, value: str) -> None:
    with pytest.raises(UsageError, match=r"environment KBJOBS_ONLINE_PRICE: online_price = .* is not a price") as error:
        read(home, value)
    assert "0.02 July 2026" in error.value.hint
