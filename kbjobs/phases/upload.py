"""Upload: send the pack of a source to a store, for others or for another machine.

Parts are named by their content: parts in the store are not sent again, and after a kill at most those in flight are.
The manifest and the catalogue follow last, so that nobody sees half a pack.
"""

from __future__ import annotations

from pydantic import Field

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.errors import MissingRequirementError, UsageError
from kbjobs.object_storage.store_address import StoreAddress, missing_credentials, open_bucket, read_address
from kbjobs.phases.job_type import JobType, Params, PhaseRequest, Plan


class UploadParams(Params):
    """Parameters of upload."""

    to: str | None = Field(
        None,
        description="The store: a folder, s3://BUCKET/PATH, gs:// or az:// (default: the setting packs.to, else"
        " packs/ in the home).",
    )
    include_backup: bool = Field(False, description="Include the source's files: pages, PDFs, ZIM files.")
    keep: int | None = Field(
        None, ge=1, le=1000, description="How many versions to keep in the store (default: the setting packs.keep)."
    )
    dry_run: bool = Field(False, description="Count what would be sent; send nothing.")


def plan(request: PhaseRequest[UploadParams]) -> Plan[UploadParams]:
    """Check that there is something to pack, fill in the store, and list the credentials that it needs."""
    home, settings, params = request.home, request.settings, request.params
    request.check_source()
    if not request.is_general and not request.source.ledger.exists():
        name = request.source.id
        raise MissingRequirementError(
            f"source {name!r} was never read: there is nothing to pack", f"kbjobs run index-offline {name}"
        )
    address = find_target(home, settings, params.to)
    keep = params.keep or settings.integer("packs.keep")
    planned = params.model_copy(update={"to": address.url, "keep": keep})
    return Plan(planned, secrets=missing_credentials(address, settings))


def find_target(home: Home, settings: Settings, to: str | None) -> StoreAddress:
    """Find the store that packs are uploaded to.

    Args:
        home: the home, whose own store is used if no other is named.
        settings: the settings in force.
        to: the address that the job names, None for the setting's.

    Raises:
        UsageError: the store can only be read.
    """
    address = read_address(to or settings.text("packs.to") or str(home.packs))
    if not address.is_writable:
        raise UsageError(f"{address.url} is read-only", "Give a folder, s3://, gs:// or az://.")
    return address


def run(context: Context, params: UploadParams) -> PhaseResult:
    """Send the pack."""
    from contextlib import closing

    from kbjobs.packs.uploading import upload

    address = find_target(context.home, context.settings, params.to)
    with closing(open_bucket(context.home, context.settings, address)) as bucket:
        keep = params.keep or context.settings.integer("packs.keep")
        return upload(context, bucket, params.include_backup, keep, params.dry_run)


JOB_TYPE = JobType(
    name="upload",
    label="Upload",
    description="Send a source to a store as a pack: documents, metadata, passages, vectors and, on request, files.",
    category="cloud",
    operation="upload",
    params=UploadParams,
    plan=plan,
    run=run,
    weight=30.0,
    after=("metadata", "index_online", "index_offline"),
    examples=("kbjobs run upload wiki --to s3://my-bucket/packs --include-backup",),
)
