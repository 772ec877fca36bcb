"""Ask the model hub about a model: commit, licence, files with their hashes. Explain its refusals.

The API is as in https://huggingface.co/docs/hub/api and the client huggingface_hub 2.4: ``/api/models/R/revision/X``
gives ``sha``; ``/api/models/R/tree/SHA`` lists files with ``size``, ``oid`` (git's hash) and for large ones ``lfs.oid``
(sha256), in pages linked by a Link header; ``/R/resolve/SHA/FILE`` is the file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote, urljoin

from kbjobs.config.home import Home
from kbjobs.config.secrets import find_secret
from kbjobs.config.settings import Settings
from kbjobs.downloads.file_download import WantedFile
from kbjobs.embedding.model_catalogue import KNOWN_MODELS
from kbjobs.errors import DownloadError, KbjobsError, MissingRequirementError, NotFoundError
from kbjobs.net.backoff import GIVE_UP_SECONDS, AwayError, Backoff
from kbjobs.net.requesting import RefusedError, get, is_same_origin, may_carry_token, read_all

ENDPOINT = "https://huggingface.co"
TOKEN = "HF_TOKEN"  # noqa: S105 — the name of the secret
SET_TOKEN = f"Store one with kbjobs config set-secret {TOKEN} (it is read from stdin)."
_MAX_ANSWER = 16 * 1024 * 1024  # bytes
_MAX_PAGES = 50
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NEXT = re.compile(r'<([^<>]+)>\s*;\s*rel="?next"?')
# A path that means the same on any file system.
_SAFE_PATH = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))(?!.*//)[A-Za-z0-9_.][A-Za-z0-9_./-]*(?<!/)")


@dataclass(frozen=True)
class HubModel:
    """A revision of a model."""

    hub_id: str
    revision: str
    commit: str
    """40 digits in hex."""
    licence: str
    """From its model card; empty if the card names none."""


@dataclass(frozen=True)
class HubFile:
    """A file of a revision: its path, bytes, and one of two hashes in hex."""

    path: str
    size: int
    sha256: str | None = None
    git_sha1: str | None = None


class Hub:
    """A model hub, accessed over the network.

    Args:
        endpoint: its address.
        token: the account's token; None for anonymous access.
        check: called several times a second; may raise.
        give_up_seconds: seconds after which a hub that does not answer is given up.
    """

    def __init__(
        self, endpoint: str, token: str | None, check: Callable[[], None], give_up_seconds: float = GIVE_UP_SECONDS
    ) -> None:
        self.endpoint, self.check, self.give_up_seconds = endpoint.rstrip("/"), check, give_up_seconds
        self.token = token if may_carry_token(self.endpoint) else None
        self.holds_back_token = token is not None and self.token is None
        """Whether the token is withheld because others could read it on its way."""

    @classmethod
    def of(cls, home: Home, settings: Settings, check: Callable[[], None]) -> Hub:
        """Make the hub that the settings or the environment name.

        Args:
            home: the home, which holds the token.
            settings: the settings in force.
            check: called several times a second; may raise.
        """
        endpoint = settings.text("hub.endpoint") or os.environ.get("HF_ENDPOINT") or ENDPOINT
        return cls(endpoint, find_secret(home, TOKEN), check)

    def find(self, hub_id: str, revision: str) -> HubModel:
        """Find a revision of a model.

        Args:
            hub_id: ``organisation/name``.
            revision: branch, tag or commit.
        Raises:
            NotFoundError: the hub does not have it.
            MissingRequirementError: the account has no access to it.
            TransientError, DownloadError: as :func:`kbjobs.downloads.file_download.fetch_file`.
        """
        content, _ = self._ask(hub_id, revision, f"/api/models/{quote(hub_id)}/revision/{quote(revision, safe='')}")
        commit = content.get("sha") if isinstance(content, dict) else None
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise self._broken(hub_id)
        return HubModel(hub_id, revision, commit, _find_licence(content))

    def list_files(self, model: HubModel) -> dict[str, HubFile]:
        """List the files of a revision by path, without those that have an unsafe path. Raises as :meth:`find` does."""
        path: str | None = f"/api/models/{quote(model.hub_id)}/tree/{model.commit}?recursive=true&expand=false"
        found: dict[str, HubFile] = {}
        for _ in range(_MAX_PAGES):
            if path is None:
                break
            content, link = self._ask(model.hub_id, model.revision, path)
            if not isinstance(content, list):
                raise self._broken(model.hub_id)
            found |= {file.path: file for file in map(_read_file, content) if file is not None}
            path = link
        return found

    def wanted(self, model: HubModel, file: HubFile) -> WantedFile:
        """Describe the download of a file."""
        url = f"{self.endpoint}/{quote(model.hub_id)}/resolve/{model.commit}/{quote(file.path)}"
        return WantedFile(url, file.size, file.sha256, file.git_sha1)

    def explain(self, error: RefusedError, hub_id: str, revision: str) -> KbjobsError:
        """Turn a refusal of the hub into an error that says what to do.

        Args:
            error: the refusal.
            hub_id: ``organisation/name`` of the model.
            revision: the branch, tag or commit that was asked for.
        """
        if not is_same_origin(error.url, self.endpoint):
            return DownloadError(
                f"the hub leads to {error.shown}, which answers with status {error.status}",
                "Try again: the hub gives a new address each time.",
            )
        code = error.headers.get("x-error-code", "")
        page = f"{self.endpoint}/{hub_id}"
        if error.status == 403 or code == "GatedRepo":
            also = f" {SET_TOKEN}" if self.token is None else ""
            return MissingRequirementError(
                f"{hub_id} is only available to accounts that have accepted its terms",
                f"Accept its licence at {page}, with the account of {TOKEN}, then try again.{also}",
            )
        if error.status == 401 and self.token is not None:
            return MissingRequirementError(f"{self.endpoint} refuses the token {TOKEN}", SET_TOKEN)
        if error.status in (401, 404):
            return self._not_found(hub_id, revision, code)
        return DownloadError(f"{page} answers with status {error.status}", "Try again later.")

    def _not_found(self, hub_id: str, revision: str, code: str) -> KbjobsError:
        if code == "RevisionNotFound":
            return NotFoundError(
                f"{hub_id} has no revision {revision!r}", f"Its branches and tags: {self.endpoint}/{hub_id}/tree/main"
            )
        if code == "EntryNotFound":
            return NotFoundError(
                f"{hub_id} no longer has one of its files", "Try again: the model may just have changed."
            )
        known = {model.hub_id.casefold(): model.name for model in KNOWN_MODELS}
        near = get_close_matches(hub_id.casefold(), known, 1, cutoff=0.7)
        told = f"; did you mean {known[near[0]]}?" if near else ""
        private = "" if self.token else f" For a private one a token is needed. {SET_TOKEN}"
        held = f" The token {TOKEN} was not sent: {self.endpoint} is not encrypted." if self.holds_back_token else ""
        return NotFoundError(
            f"{self.endpoint} has no model {hub_id!r}{told}",
            f"Check its name: kbjobs models list shows the known ones.{private}{held}",
        )

    def _ask(self, hub_id: str, revision: str, path: str) -> tuple[Any, str | None]:
        """Fetch the JSON at a path, and the path of its next page."""
        url = self.endpoint + path
        backoff = Backoff(url, self.give_up_seconds, self.check)
        while True:
            try:
                with get(url, token=self.token) as answer:
                    body = read_all(answer, _MAX_ANSWER, self.check)
                break
            except AwayError as error:
                backoff.pause(error)
            except RefusedError as error:
                raise self.explain(error, hub_id, revision) from error
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self._broken(hub_id) from error
        return content, self._next_page(url, answer.headers)

    def _next_page(self, url: str, headers: Mapping[str, str]) -> str | None:
        """The path of the next page; None if there is none, or if it is on another server."""
        named = _NEXT.search(headers.get("link", ""))
        following = urljoin(url, named[1]) if named else ""
        if not following or not is_same_origin(following, self.endpoint):
            return None
        return following.removeprefix(self.endpoint) if following.startswith(self.endpoint) else None

    def _broken(self, hub_id: str) -> DownloadError:
        return DownloadError(
            f"what {self.endpoint} answers about {hub_id} is not the answer of a model hub",
            "Check the setting hub.endpoint and the variable HF_ENDPOINT.",
        )


def _find_licence(content: Mapping[str, Any]) -> str:
    card = content.get("cardData")
    named = card.get("license") if isinstance(card, dict) else None
    if not isinstance(named, str):
        tags = content.get("tags")
        texts = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
        named = next((tag.partition(":")[2] for tag in texts if tag.startswith("license:")), "")
    return "".join(char for char in named if char.isprintable())[:100]


def _read_file(entry: Any) -> HubFile | None:
    """Read a file of a listing; None for a folder, and for anything that cannot be a model's file."""
    if not isinstance(entry, dict) or entry.get("type") != "file":
        return None
    path, size, lfs = entry.get("path"), entry.get("size"), entry.get("lfs")
    if not isinstance(path, str) or not _SAFE_PATH.fullmatch(path) or not isinstance(size, int) or size < 0:
        return None
    if isinstance(lfs, dict):
        sha256 = lfs.get("oid")
        is_hash = isinstance(sha256, str) and re.fullmatch(r"[0-9a-f]{64}", sha256) is not None
        return HubFile(path, size, sha256=sha256) if is_hash else None
    oid = entry.get("oid")
    is_hash = isinstance(oid, str) and _COMMIT.fullmatch(oid) is not None
    return HubFile(path, size, git_sha1=oid) if is_hash else None
