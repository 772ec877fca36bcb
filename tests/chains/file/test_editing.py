"""A chain file that is changed by a form: it says what the form says, and what was not touched keeps its lines."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.chains.file.chain_saving import delete_chain, save_chain, version_of
from kbjobs.chains.file.editing import edit_text, read_document
from kbjobs.chains.library import TEMPLATES
from kbjobs.config.home import Home
from kbjobs.errors import ConflictError, NotFoundError, UsageError
from tests.conftest import ROOT

EXAMPLES = sorted((ROOT / "examples" / "chains").glob("*.toml"))
TEXT = """\
#:schema ./chain.schema.json
# What runs each night.

name = "nightly" # also that of the file
source = "wiki"

# First what is there,
# in English alone.
[[phase]]
job = "metadata" # titles, languages
weight = 20
params = { language_filter = "en", force = false } # nothing is deleted

# Then the slow one.
[[phase]]
job = "index_offline"
weight = 80
# no limit
"""


def change(text: str, **changes: Any) -> dict[str, Any]:
    return {**read_document(text), **changes}


def test_what_is_not_changed_is_not_touched() -> None:
    assert edit_text(TEXT, read_document(TEXT), [0, 1]) == TEXT


def test_a_value_is_changed_in_its_line() -> None:
    document = read_document(TEXT)
    document["phase"][0]["params"]["language_filter"] = "be"
    document["phase"][1]["weight"] = 60
    document["description"] = "All of it"
    edited = edit_text(TEXT, document, [0, 1])
    assert tomllib.loads(edited) == document
    assert 'params = { language_filter = "be", force = false } # nothing is deleted' in edited
    assert "weight = 60\n# no limit\n" in edited
    assert edited.startswith(TEXT.partition("source")[0])


def test_a_phase_takes_its_comments_along() -> None:
    document = read_document(TEXT)
    document["phase"].reverse()
    edited = edit_text(TEXT, document, [1, 0])
    assert tomllib.loads(edited) == document
    assert edited.index("# Then the slow one.") < edited.index("# First what is there,\n# in English alone.\n[[phase]]")
    back = edit_text(edited, read_document(TEXT), [1, 0])
    assert back == TEXT


def test_phases_are_added_copied_and_removed() -> None:
    document = read_document(TEXT)
    first, second = document["phase"]
    new = {"job": "suggest_tags", "params": {"provider": "local"}, "weight": None}
    document["phase"] = [first, dict(first), new]
    edited = edit_text(TEXT, document, [0, 0, None])
    del new["weight"]
    assert tomllib.loads(edited)["phase"] == [first, first, new]
    assert edited.count("# in English alone.") == 2 and "slow one" not in edited
    assert '[[phase]]\njob = "suggest_tags"\nparams = {provider = "local"}\n' in edited
    assert second["job"] not in edited


def test_a_source_becomes_several_and_none() -> None:
    several = edit_text(TEXT, {**change(TEXT, sources=["a", "b"]), "source": None}, [0, 1])
    assert tomllib.loads(several)["sources"] == ["a", "b"] and "\nsource =" not in several
    none = edit_text(several, change(several, sources=None), [0, 1])
    assert "source" not in tomllib.loads(none) and "# What runs each night." in none


def test_another_form_is_written_anew_below_its_comments() -> None:
    text = '# mine\n\nphase = [{ job = "metadata" }, { job = "index_offline" }] # two\n'
    document = change(text, name="mine")
    document["phase"][1]["weight"] = 3
    edited = edit_text(text, document, [0, 1])
    assert tomllib.loads(edited) == document and edited.startswith("# mine\n")


def test_defaults_below_the_phases_are_kept() -> None:
    text = TEXT + "\n[defaults]\nforce = true # all\n"
    document = change(text, description="x")
    assert tomllib.loads(edit_text(text, document, [0, 1])) == document


def test_what_is_no_toml_is_refused_with_its_place() -> None:
    with pytest.raises(UsageError, match="line 2"):
        edit_text('name = "a"\nphase = = 1\n', {"name": "b"})
    with pytest.raises(UsageError, match="larger"):
        read_document("#" * 2_000_000)


VALUES = st.one_of(st.booleans(), st.integers(-5, 5), st.sampled_from(["", "en", 'a"b', "a\nb", "# no", "[[phase]]"]))
PHASES = st.lists(
    st.fixed_dictionaries(
        {"job": st.sampled_from(["metadata", "index_offline", "x y"])},
        optional={
            "weight": st.floats(0, 100) | st.integers(0, 100),
            "name": st.sampled_from(["a", "b"]),
            "params": st.dictionaries(st.sampled_from(["force", "limit", "a b"]), VALUES, max_size=3),
            "on_error": st.sampled_from(["stop", "continue"]),
        },
    ),
    max_size=4,
)
DOCUMENTS = st.fixed_dictionaries(
    {"phase": PHASES},
    optional={
        "name": st.sampled_from(["a", "nightly"]),
        "description": VALUES,
        "sources": st.lists(st.sampled_from(["a", "b"]), max_size=2),
        "defaults": st.dictionaries(st.sampled_from(["force"]), VALUES, max_size=1),
    },
)


@given(DOCUMENTS, st.sampled_from([TEXT, "", *(path.read_text() for path in EXAMPLES)]), st.data())
def test_whatever_the_form_says_the_text_says(document: dict[str, Any], text: str, data: st.DataObject) -> None:
    if not document["phase"]:
        document = {**document, "phase": []}
        document.pop("phase")
    origins = data.draw(st.lists(st.none() | st.integers(-1, 6), max_size=5))
    edited = edit_text(text, document, origins)
    assert tomllib.loads(edited) == document
    assert edit_text(edited, document) == edited


def test_saving_does_not_overwrite_what_somebody_else_has_changed(home: Home) -> None:
    path = save_chain(home, "nightly", TEXT, None)
    assert path.read_text() == TEXT and path.parent == home.chains
    with pytest.raises(ConflictError, match="changed by someone else"):
        save_chain(home, "nightly", TEXT, None)
    changed = TEXT.replace("80", "70")
    save_chain(home, "nightly", changed, version_of(TEXT))
    with pytest.raises(ConflictError):
        save_chain(home, "nightly", TEXT, version_of(TEXT))
    assert path.read_text() == changed
    delete_chain(home, "nightly")
    with pytest.raises(ConflictError, match="no longer exists"):
        save_chain(home, "nightly", TEXT, version_of(changed))
    with pytest.raises(NotFoundError):
        delete_chain(home, "nightly")
    assert not list(home.chains.glob("*"))


@pytest.mark.parametrize("name", ["../nightly", "a/b", "", "Nightly", "a.toml", "metadata", ".hidden", "a" * 65])
def test_a_name_cannot_leave_the_folder(home: Home, name: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*.toml"))
    with pytest.raises(UsageError):
        save_chain(home, name, TEXT.replace('"nightly"', f'"{name}"'), None)
    with pytest.raises((UsageError, NotFoundError)):
        delete_chain(home, name)
    assert sorted(tmp_path.rglob("*.toml")) == before


def test_a_chain_is_saved_under_its_own_name_and_only_if_it_is_one(home: Home) -> None:
    with pytest.raises(UsageError, match="calls the chain 'nightly'"):
        save_chain(home, "other", TEXT, None)
    with pytest.raises(UsageError):
        save_chain(home, "nightly", TEXT.replace('job = "metadata"', 'job = "nonsense"'), None)
    for template in TEMPLATES.glob("*.toml"):  # a copy takes the place of the built-in one
        save_chain(home, template.stem, template.read_text(), None)
