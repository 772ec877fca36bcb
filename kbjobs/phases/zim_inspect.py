"""Inspect ZIM: show what a ZIM file contains, and how much of it can be indexed."""

from __future__ import annotations

from pydantic import Field

from kbjobs.context import Context, PhaseResult
from kbjobs.errors import KbjobsError, UsageError
from kbjobs.phases.job_type import JobType, Params, PhaseRequest, Plan, Target, filled
from kbjobs.phases.zim_files import CHECK_DOWNLOAD, check_zim, zims_of


class ZimInspectParams(Params):
    """Parameters of zim_inspect."""

    path: str | None = Field(None, description="The ZIM file, or a part of it; default: that of the source.")
    scan_limit: int = Field(5000, ge=1, description="Read at most N entries; of a larger file, a sample.")
    min_text_length: int = Field(100, ge=0, description="Characters of text that make a page worth indexing.")


def plan(request: PhaseRequest[ZimInspectParams]) -> Plan[ZimInspectParams]:
    """Find the file."""
    params = request.params
    if params.path is not None:
        return Plan(params.model_copy(update={"path": str(check_zim(params.path))}))
    if request.is_general:
        return Plan(params)
    if request.folder is None:
        raise UsageError("zim-inspect needs a file or a source", "kbjobs run zim-inspect FILE.zim")
    files = zims_of(request.folder)
    if len(files) != 1:
        raise UsageError(
            f"source {request.folder.id!r} has {len(files) or 'no'} ZIM file{'s' if len(files) > 1 else ''}",
            "Name the file: kbjobs run zim-inspect FILE.zim",
        )
    return Plan(params.model_copy(update={"path": str(check_zim(str(files[0])))}))


def run(context: Context, params: ZimInspectParams) -> PhaseResult:
    """Inspect the file."""
    from kbjobs.content.zim import ZimError
    from kbjobs.content.zim_report import inspect_zim

    path = filled(params.path)
    context.progress(0, 0, "entries", f"reading {path}", eta_matters=False)
    try:
        report = inspect_zim(path, params.scan_limit, params.min_text_length)
    except ZimError as error:
        raise KbjobsError(str(error), CHECK_DOWNLOAD) from error
    sampled = f" (a sample of {report.entries:,})" if report.is_sampled else ""
    summary = (
        f"{report.header.title or path}: {report.content_type}, {report.indexable:,} of {report.articles:,}"
        f" pages can be indexed{sampled}; checksum {report.checksum}"
    )
    if report.damaged_count:
        summary += f"; {report.damaged_count:,} damaged entries"
    return PhaseResult(report.as_dict(), summary, report.damaged_count)


JOB_TYPE = JobType(
    name="zim_inspect",
    label="Inspect ZIM",
    description="Show what a ZIM file contains, how much of it can be indexed, and the command to do so.",
    category="content",
    operation="inspect",
    params=ZimInspectParams,
    plan=plan,
    run=run,
    weight=5.0,
    target=Target(needs_source=False, takes_file=True),
)
