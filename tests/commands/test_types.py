"""``kbjobs types``: every job type, single and combined."""

from __future__ import annotations

from kbjobs.chains.library import built_in_names
from kbjobs.config.home import Home
from kbjobs.phases.names import INTERNAL, NAMES
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, read_json


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "types")


def test_all_are_listed(home: Home, kbjobs: Kbjobs) -> None:
    shown = kbjobs("types")
    assert shown.stderr == ""
    rows = {row[0]: row[1:] for row in (line.split("\t") for line in shown.stdout.splitlines())}
    assert set(rows) == {name.replace("_", "-") for name in (*NAMES, *built_in_names())}
    assert not {name.replace("_", "-") for name in INTERNAL} & set(rows)
    label, category, options, description = rows["index-offline"]
    assert (label, category) == ("Index (Offline)", "indexing")
    assert "--model" in options.split() and "--allow-delete" in options.split() and description
    assert rows["reindex-online"][1:3] == ["combined", "clear-vectors → index-online"]
    assert not home.state_file.exists()


def test_json_has_parameters_and_rules(kbjobs: Kbjobs) -> None:
    types = {kind["name"]: kind for kind in read_json(kbjobs("types", "--json"))}
    assert set(types) == {*NAMES, *built_in_names()}
    assert types["index_offline"]["label"] == "Index (Offline)"
    assert {"model", "dimension", "engine", "force", "limit"} <= set(types["index_offline"]["parameters"])
    assert types["generate_source"]["category"] == "combined"


def test_a_type_of_another_package_is_listed(test_types: None, kbjobs: Kbjobs) -> None:
    assert "steps" in [kind["name"] for kind in read_json(kbjobs("types", "--json"))]
    assert "steps\tSteps\ttests\t" in kbjobs("types").stdout
