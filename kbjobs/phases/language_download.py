"""Language Download: fetch the language packs for ``kbjobs translate``.

After a kill, at most the data in flight is fetched again; a pack is renamed into place when it is complete.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model

from kbjobs.context import Context, PhaseResult
from kbjobs.phases.job_type import JobType, Params, PhaseRequest, Plan, Target


class _Params(Params):
    """All parameters except ``from``, which is a Python keyword."""

    code: str = Field(
        min_length=1, description="The language: its code or English name, such as es, Spanish, zh-Hant, Haitian."
    )
    force: bool = Field(
        False, description="Download installed packs again, and accept a pack that changed without a new version."
    )

    @property
    def source(self) -> str | None:
        """The value of the parameter ``from``."""
        given: str | None = getattr(self, "from", None)
        return given


_FROM: dict[str, Any] = {
    "from": (
        str | None,
        Field(
            None,
            description="Only the pack from this language; if there is none, one to English and one from English"
            " (default: both directions from and to English).",
        ),
    )
}
LanguageDownloadParams: type[_Params] = create_model(
    "LanguageDownloadParams", __base__=_Params, __doc__="Parameters of language_download.", **_FROM
)


def plan(request: PhaseRequest[_Params]) -> Plan[_Params]:
    """Find the codes of the languages, without the network."""
    from kbjobs.languages.language_names import check_direction, find_code

    params = request.params
    code = find_code(params.code)
    source = None if params.source is None else find_code(params.source)
    check_direction(code, source)
    return Plan(params.model_copy(update={"code": code, "from": source}))


def run(context: Context, params: _Params) -> PhaseResult:
    """Fetch the language packs."""
    from kbjobs.downloads.language_download import download_languages

    return download_languages(context, params.code, params.source, params.force)


JOB_TYPE: JobType[_Params] = JobType(
    name="language_download",
    label="Language Download",
    description="Download the language packs that kbjobs translate needs: from English to a language, and back.",
    category="maintenance",
    operation="download",
    params=LanguageDownloadParams,
    plan=plan,
    run=run,
    weight=10.0,
    target=Target(needs_source=False, parameter="code"),
    examples=(
        "kbjobs run language-download es",
        "kbjobs run language-download English --from Spanish",
        'kbjobs run language-download "Chinese (traditional)" --detach',
    ),
)
