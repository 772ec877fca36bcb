"""The home: the folder that holds everything, and every path in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kbjobs.config.run_ids import worker_of
from kbjobs.errors import UnavailableError
from kbjobs.system.mounts import MOUNT_TABLE, find_file_system

HOME_VARIABLE = "KBJOBS_HOME"
# Freed when the disk is full, so that the end of the job that hit the limit can still be recorded.
RESERVE_BYTES = 512 * 1024

# File systems on which SQLite's WAL (shared memory) and kernel file locks cannot be trusted.
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph", "glusterfs", "lustre", "beegfs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.cephfs", "fuse.davfs"}
)


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds everything. Files are 0600 and folders 0700."""

    path: Path

    @property
    def config_file(self) -> Path:
        """User settings."""
        return self.path / "config.toml"

    @property
    def secrets_file(self) -> Path:
        """Keys that workers read (0600)."""
        return self.path / "secrets.toml"

    @property
    def state_file(self) -> Path:
        """The queue, history and checkpoints (SQLite)."""
        return self.path / "state.db"

    @property
    def daemon_log(self) -> Path:
        """The daemon's messages."""
        return self.path / "daemon.log"

    @property
    def daemon_lock(self) -> Path:
        """Held by the running daemon for its whole life."""
        return self.path / "locks" / "daemon.lock"

    @property
    def start_lock(self) -> Path:
        """Held by a client while it starts the daemon, so that fifty submits start only one."""
        return self.path / "locks" / "start.lock"

    @property
    def guard_mark(self) -> Path:
        """Exists as long as workers should start a daemon if they find none."""
        return self.path / "locks" / "guarded"

    @property
    def housekeeping_mark(self) -> Path:
        """Its time is that of the daemon's last housekeeping."""
        return self.path / "locks" / "housekeeping"

    @property
    def chains_lock(self) -> Path:
        """Held while a chain file of the home is written."""
        return self.path / "locks" / "chains.lock"

    @property
    def wake_pipe(self) -> Path:
        """A FIFO; one byte in it wakes the daemon."""
        return self.path / "locks" / "wake"

    @property
    def logs(self) -> Path:
        """One log per job and attempt."""
        return self.path / "logs"

    @property
    def models(self) -> Path:
        """Local models, one folder each."""
        return self.path / "models"

    @property
    def engines(self) -> Path:
        """Converted models and the measured choice of engine; can be deleted at any time."""
        return self.path / "engines"

    @property
    def sources(self) -> Path:
        """One folder per source."""
        return self.path / "sources"

    @property
    def pinecone_hosts(self) -> Path:
        """The hosts of Pinecone indexes; can be deleted at any time."""
        return self.path / "pinecone.json"

    @property
    def spending_file(self) -> Path:
        """What the jobs have spent with APIs (SQLite)."""
        return self.path / "spending.db"

    @property
    def packs(self) -> Path:
        """The store that receives packs if no other is named."""
        return self.path / "packs"

    @property
    def visualisation(self) -> Path:
        """The maps of sources, each with a page and its points."""
        return self.path / "visualisation"

    @property
    def languages(self) -> Path:
        """Language packs, one folder each."""
        return self.path / "languages"

    @property
    def downloads(self) -> Path:
        """Unfinished downloads, until they move to their place."""
        return self.path / "downloads"

    @property
    def chains(self) -> Path:
        """The user's own chain files."""
        return self.path / "chains"

    @property
    def reserve(self) -> Path:
        """Space set aside for the moment when the disk is full."""
        return self.path / "locks" / "reserve"

    def map_page(self, source: str | None) -> Path:
        """The page of the map of a source, or of several sources for None; its points lie next to it, as .json.

        No source id begins with "_", so a source called "map" gets a file of its own.
        """
        name = "map" if source is None else "_map" if source == "map" else source
        return self.visualisation / f"{name}.html"

    def worker_lock(self, run_id: str) -> Path:
        """Held by the worker of a run for its whole life, whichever jobs it runs."""
        return self.path / "locks" / f"run-{worker_of(run_id)}.lock"

    def log_file(self, job_id: int, attempt: int) -> Path:
        """The log of one attempt of one job; never overwritten."""
        return self.logs / f"{job_id}-{attempt}.log"

    def prepare(self) -> None:
        """Create the folders. Raises UnavailableError if the home cannot be used."""
        refuse_network_home(self.path)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.logs, self.sources, self.daemon_lock.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise UnavailableError(
                f"the home {self.path} cannot be written: {error.strerror}",
                f"Make it writable, or set {HOME_VARIABLE} to a folder of yours on a local disk.",
            ) from error
        self.fill_reserve()

    def fill_reserve(self) -> None:
        """Create the reserve if it is missing; too little room on the disk is not an error."""
        try:
            descriptor = os.open(self.reserve, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except OSError:  # it exists, or cannot be created
            return
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        except OSError:
            self.reserve.unlink()
        finally:
            os.close(descriptor)

    def give_up_reserve(self) -> None:
        """Free the reserve, to record the last state on a full disk."""
        self.reserve.unlink(missing_ok=True)


def current_home() -> Home:
    """Return the home named by ``KBJOBS_HOME``, or else the platform's data folder."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Home(Path(named).expanduser().absolute())
    from platformdirs import user_data_path

    return Home(user_data_path("kbjobs"))


def refuse_network_home(path: Path, mount_table: Path = MOUNT_TABLE) -> None:
    """Raise UnavailableError if ``path`` lies on a network file system according to the mount table."""
    kind = find_file_system(path, mount_table)
    if kind in NETWORK_FILE_SYSTEMS:
        raise UnavailableError(
            f"the home {path} is on a network file system ({kind}), where SQLite and file locks are not safe",
            f"Set {HOME_VARIABLE} to a folder on a local disk.",
        )
