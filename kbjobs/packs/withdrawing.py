"""Removing a source from a store: first its entry in the catalogue, then its manifests. Pruning removes its parts."""

from __future__ import annotations

from kbjobs.context import Context
from kbjobs.object_storage.bucket import Bucket
from kbjobs.packs.pack_catalogue import (
    Catalogue,
    change_catalogue,
    change_without_conditions,
    list_manifests,
    read_catalogue,
)
from kbjobs.system.crashpoints import crash_point


def withdraw(context: Context, bucket: Bucket) -> None:
    """Remove the context's source from a store; does nothing if the store does not have it."""
    source_id = context.source.id

    def change(catalogue: Catalogue) -> Catalogue:
        left = [pack for pack in catalogue.packs if pack.source != source_id]
        return catalogue.model_copy(update={"packs": left})

    catalogue, _ = read_catalogue(bucket)
    if catalogue is not None and catalogue.find(source_id) is not None:
        if bucket.keeps_conditions():
            change_catalogue(bucket, change, context.check)
        else:
            change_without_conditions(bucket, change, lambda now: now.find(source_id) is None)
    crash_point("withdraw.catalogue")
    bucket.delete([name for name in list_manifests(bucket) if name.split("/")[1] == source_id])
    crash_point("withdraw.manifests")
