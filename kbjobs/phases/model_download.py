"""Model Download: download a local model from the hub, verify it, and prepare it for the fastest engine."""

from __future__ import annotations

from pydantic import Field

from kbjobs.context import Context, PhaseResult
from kbjobs.phases.job_type import JobType, Params, PhaseRequest, Plan, Target

FETCHING = 0.9  # the download's share of the phase; the rest is the preparation


class ModelDownloadParams(Params):
    """Parameters of model_download."""

    model: str = Field(min_length=1, description="A known model, or ORGANISATION/NAME on the hub.")
    revision: str | None = Field(
        None, description="Branch, tag or commit (default: the one that is here, else the branch main)."
    )
    force: bool = Field(False, description="Download it again, even if it is here.")


def plan(request: PhaseRequest[ModelDownloadParams]) -> Plan[ModelDownloadParams]:
    """Check the name and the revision, and fill in the known name, without the network."""
    from kbjobs.embedding.downloadable import check_downloadable, check_revision

    params = request.params
    name, dimension = check_downloadable(params.model)
    if params.revision is not None:
        check_revision(params.revision)
    return Plan(params.model_copy(update={"model": name}), dimension=dimension)


def run(context: Context, params: ModelDownloadParams) -> PhaseResult:
    """Download and prepare the model."""
    from kbjobs.downloads.model_download import ProgressSpan, download_model, result_of
    from kbjobs.embedding.choose import load_embedder

    folder, size = download_model(context, params.model, params.revision, params.force, ProgressSpan(0.0, FETCHING))
    context.progress(0, 0, "bytes", f"preparing {folder.name}", (FETCHING, FETCHING), eta_matters=False)
    embedder = load_embedder(folder.name, context.home.models, context.home.engines, context.settings.text("engine"))
    embedder.close()
    return result_of(folder, embedder.model_key, embedder.engine, size)


JOB_TYPE = JobType(
    name="model_download",
    label="Model Download",
    description="Download a local model from the hub, verify it and prepare it for this machine.",
    category="maintenance",
    operation="download",
    params=ModelDownloadParams,
    plan=plan,
    run=run,
    weight=20.0,
    before=("index_offline", "zim_index"),
    target=Target(needs_source=False, parameter="model"),
    examples=(
        "kbjobs run model-download all-mpnet-base-v2",
        "kbjobs run model-download BAAI/bge-small-en-v1.5 --revision main",
    ),
)
