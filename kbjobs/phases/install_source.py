"""Install: make a source from a pack in a store. Nothing is embedded: the pack contains the vectors.

Parts are first downloaded into the home and checked; after a kill, at most the parts in flight are downloaded again.
The new source is then built next to an existing one, and replaces it in one step.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, create_model

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.errors import ConflictError
from kbjobs.object_storage.store_address import StoreAddress, open_bucket, read_address
from kbjobs.phases.job_type import JobType, Params, PhaseRequest, Plan, Target
from kbjobs.phases.source_checks import check_store


class _Params(Params):
    """All parameters except ``from``, which is a Python keyword."""

    version: str | None = Field(None, description="The version, or its first characters (default: the newest).")
    include_backup: bool = Field(False, description="Install the source's files too, if the pack has them.")
    mode: Literal["update", "replace"] | None = Field(
        None,
        description="Of a source that is there: update keeps its files, tags and what the pack does not have; replace"
        " keeps nothing. Default: update where it came from a pack, else the job is refused.",
    )

    @property
    def origin(self) -> str | None:
        """The value of the parameter ``from``."""
        given: str | None = getattr(self, "from", None)
        return given


_FROM: dict[str, Any] = {
    "from": (
        str | None,
        Field(
            None,
            description="Where from: a folder, s3://BUCKET/PATH, gs://, az:// or https://; default: the setting"
            " 'packs.from', 'packs.to', else packs/ in the home.",
        ),
    )
}
InstallSourceParams: type[_Params] = create_model(
    "InstallSourceParams", __base__=_Params, __doc__="Parameters of install_source.", **_FROM
)


def plan(request: PhaseRequest[_Params]) -> Plan[_Params]:
    """Check the address, and whether an existing source may be changed; fill in the store."""
    params = request.params
    if not request.is_general:
        source = request.source
        if source.manifest.exists() and params.mode is None and not source.read_pack():
            raise ConflictError(
                f"there is a source {source.id!r} already, which was not installed from a pack",
                "--mode update adds the pack to it, --mode replace replaces it and deletes its files.",
            )
    address = find_origin(request.home, request.settings, params.origin)
    check_store(request.home, request.settings)
    return Plan(params.model_copy(update={"from": address.url}))


def find_origin(home: Home, settings: Settings, where: str | None) -> StoreAddress:
    """Find the store that sources are installed from.

    Args:
        home: the home, whose own store is used if no other is named.
        settings: the settings in force.
        where: the address that the job names, None for the setting's.
    """
    return read_address(where or settings.text("packs.from") or settings.text("packs.to") or str(home.packs))


def run(context: Context, params: _Params) -> PhaseResult:
    """Fetch the pack, and install it."""
    from contextlib import closing

    from kbjobs.packs.receiving import receive, receive_file

    address = find_origin(context.home, context.settings, params.origin)
    if address.path is not None and address.path.is_file():
        return receive_file(context, address.path, params.include_backup, params.mode)
    with closing(open_bucket(context.home, context.settings, address)) as bucket:
        return receive(context, bucket, params.version, params.include_backup, params.mode)


JOB_TYPE: JobType[_Params] = JobType(
    name="install_source",
    label="Install",
    description="Install a source from a pack: documents, metadata, passages and vectors. Nothing is embedded.",
    category="cloud",
    operation="install",
    params=InstallSourceParams,
    plan=plan,
    run=run,
    weight=40.0,
    target=Target(makes_source=True),
    before=("metadata", "index_online", "index_offline"),
    examples=(
        "kbjobs run install-source wiki --from s3://their-bucket/packs",
        "kbjobs run install-source wiki --from /media/stick/wiki.kbpack",
    ),
)
