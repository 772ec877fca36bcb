"""Inspect ZIM: what is in a ZIM file, what of it can be indexed, and how."""

from __future__ import annotations

from pydantic import Field

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.errors import KbjobsError, UsageError
from kbjobs.phases.base import JobType, Params, Plan
from kbjobs.phases.zim_files import CHECK_DOWNLOAD, check_zim, zims_of
from kbjobs.store.sources import SourceFolder


class ZimInspectParams(Params):
    """Parameters of zim_inspect."""

    path: str | None = Field(None, description="The ZIM file, or a part of it; default: that of the source.")
    scan_limit: int = Field(5000, ge=1, description="Look into at most N entries; of a larger file into a sample.")
    min_text_length: int = Field(100, ge=0, description="Characters of text with which a page is worth indexing.")


def plan(home: Home, settings: Settings, source: SourceFolder | None, params: ZimInspectParams) -> Plan:
    """Find the file."""
    if params.path is None:
        if source is None:
            raise UsageError("zim-inspect needs a file or a source", "kbjobs run zim-inspect FILE.zim")
        files = zims_of(source)
        if len(files) != 1:
            raise UsageError(
                f"source {source.id!r} has {len(files) or 'no'} ZIM file{'s' if len(files) > 1 else ''}",
                "Name the file: kbjobs run zim-inspect FILE.zim",
            )
        return Plan(params.model_copy(update={"path": str(check_zim(str(files[0])))}))
    return Plan(params.model_copy(update={"path": str(check_zim(params.path))}))


def run(context: Context, params: ZimInspectParams) -> PhaseResult:
    """Look into the file."""
    from kbjobs.content.zim import ZimError
    from kbjobs.content.zim_report import inspect_zim

    assert params.path is not None  # noqa: S101 — filled in by plan()
    context.progress(0, 0, "entries", f"reading {params.path}", eta_matters=False)
    try:
        report = inspect_zim(params.path, params.scan_limit, params.min_text_length)
    except ZimError as error:
        raise KbjobsError(str(error), CHECK_DOWNLOAD) from error
    sampled = f" (a sample of {report.entries:,})" if report.is_sampled else ""
    summary = (
        f"{report.header.title or params.path}: {report.content_type}, {report.indexable:,} of {report.articles:,}"
        f" pages can be indexed{sampled}; checksum {report.checksum}"
    )
    if report.damaged_count:
        summary += f"; {report.damaged_count:,} damaged entries"
    return PhaseResult(report.as_dict(), summary, report.damaged_count)


JOB_TYPE = JobType(
    name="zim_inspect",
    label="Inspect ZIM",
    description="What a ZIM file holds, what of it can be indexed, and the command that does.",
    category="content",
    operation="inspect",
    params=ZimInspectParams,
    plan=plan,
    run=run,
    weight=5.0,
    needs_source=False,
    takes_file=True,
)
