"""Language Download: fetch the packs with which ``kbjobs translate`` translates.

A kill fetches again at most what was on its way; a pack is renamed into its place when it is whole.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.phases.base import JobType, Params, Plan
from kbjobs.store.sources import SourceFolder


class _Params(Params):
    """All but ``from``, which is a word of Python's own."""

    code: str = Field(
        min_length=1, description="The language: its code or English name, as es, Spanish, zh-Hant, Haitian."
    )
    force: bool = Field(
        False, description="Fetch again what is here, and take a pack whose bytes were changed under its version."
    )

    @property
    def source(self) -> str | None:
        """What ``from`` says."""
        given: str | None = getattr(self, "from", None)
        return given


_FROM: dict[str, Any] = {
    "from": (
        str | None,
        Field(
            None,
            description="Only the pack from this language to it; where there is none, one to English and one from"
            " English. Default: from English to it, and from it to English.",
        ),
    )
}
LanguageDownloadParams = create_model(
    "LanguageDownloadParams", __base__=_Params, __doc__="Parameters of language_download.", **_FROM
)


def fill(home: Home, settings: Settings, params: _Params) -> Plan:
    """Find the codes of the languages. Nothing is asked of the network."""
    from kbjobs.languages.language_names import check_direction, find_code

    code = find_code(params.code)
    source = None if params.source is None else find_code(params.source)
    check_direction(code, source)
    return Plan(params.model_copy(update={"code": code, "from": source}))


def plan(home: Home, settings: Settings, source: SourceFolder | None, params: _Params) -> Plan:
    """As :func:`fill`: a source has no part in it."""
    return fill(home, settings, params)


def run(context: Context, params: _Params) -> PhaseResult:
    """Fetch them."""
    from kbjobs.downloads.language_download import download_languages

    return download_languages(context, params.code, params.source, params.force)


JOB_TYPE = JobType(
    name="language_download",
    label="Language Download",
    description="Fetch the language packs that kbjobs translate needs: from English to a language, and back.",
    category="maintenance",
    operation="download",
    params=LanguageDownloadParams,
    fill=fill,
    plan=plan,
    run=run,
    weight=10.0,
    needs_source=False,
    named_by="code",
    examples=(
        "kbjobs run language-download es",
        "kbjobs run language-download English --from Spanish",
        'kbjobs run language-download "Chinese (traditional)" --detach',
    ),
)
