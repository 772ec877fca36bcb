"""Settings and the home folder: one place for every value and every path.

Precedence: flag (applied by the command) > environment (``KBJOBS_<NAME>``) > ``config.toml`` in the
home > default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kbjobs.config_file import read_config, read_words
from kbjobs.errors import UnavailableError, UsageError
from kbjobs.mounts import MOUNT_TABLE, find_file_system

HOME_VARIABLE = "KBJOBS_HOME"
# Given up when the disk is full, so that the end of the job that met it can still be recorded.
RESERVE_BYTES = 512 * 1024

# File systems on which SQLite's WAL (shared memory) and kernel file locks cannot be trusted.
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph", "glusterfs", "lustre", "beegfs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.cephfs", "fuse.davfs"}
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its name in ``config.toml``, its default and what it means.

    One whose default is a tuple is a command, as a list of words; it is read from the file alone.
    """

    name: str
    default: str | int | float | tuple[str, ...]
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return "KBJOBS_" + self.name.upper().replace(".", "_")

    def parse(self, raw: object, origin: str) -> str | int | float | tuple[str, ...]:
        """Turn a raw value into the setting's type; raises UsageError naming value and origin."""
        if isinstance(self.default, tuple):
            return read_words(self.name, raw, origin)
        kind = type(self.default)
        wanted = {int: "a whole number", float: "a number", str: "a text"}[kind]
        try:
            if isinstance(raw, bool) or (kind is str and not isinstance(raw, str)):
                raise ValueError
            value: str | int | float = kind(raw)  # type: ignore[arg-type, call-overload]
            if isinstance(raw, float) and kind is int and raw != value:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            raise UsageError(
                f"{origin}: {self.name} = {raw!r} is not {wanted}", f"Give {self.name} {wanted}."
            ) from None
        if isinstance(value, int | float) and not (
            (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)
        ):
            raise UsageError(
                f"{origin}: {self.name} = {value} is out of range",
                f"Choose a value from {self.minimum:g} to {self.maximum:g}.",
            )
        if self.choices and value not in self.choices:
            raise UsageError(
                f"{origin}: {self.name} = {value!r} is unknown", f"Choose one of {', '.join(self.choices)}."
            )
        return value


SETTINGS: tuple[Setting, ...] = (
    Setting("workers", 2, "jobs that run at the same time", 1, 64),
    Setting("model", "all-mpnet-base-v2", "local model of index-offline and search"),
    Setting("model_384", "all-MiniLM-L6-v2", "local model for --dimension 384"),
    Setting("model_768", "all-mpnet-base-v2", "local model for --dimension 768"),
    Setting("model_1024", "bge-large-en-v1.5", "local model for --dimension 1024"),
    Setting(
        "engine",
        "auto",
        "what computes embeddings",
        choices=("auto", "openvino", "onnxruntime", "sentence-transformers"),
    ),
    Setting(
        "matrix_max_mb",
        4096,
        "largest matrix of vectors that search compares one by one; beyond it Chroma answers, approximately",
        0,
        1_000_000,
    ),
    Setting(
        "vectors.chroma",
        "",
        "address of a Chroma server for the collections, as http://HOST:8000; without one they lie in the home",
    ),
    Setting("vectors.chroma_header", "Authorization", "header of the secret CHROMA_TOKEN, for a proxy before it"),
    Setting("vectors.chroma_prefix", "kbjobs", "begins the names of the collections there"),
    Setting("vectors.chroma_wait", 600.0, "seconds that a job waits for it while it is away", 0, 86400),
    Setting("pinecone.index", "", "index of Pinecone that pinecone-sync writes to"),
    Setting("pinecone.namespace", "", "namespace in it; without one the id of the source"),
    Setting("pinecone.cloud", "aws", "where --create-index makes it", choices=("aws", "gcp", "azure")),
    Setting("pinecone.region", "us-east-1", "region of that cloud"),
    Setting("pinecone.wait", 60.0, "seconds that pinecone-sync waits until the index shows what was written", 0, 3600),
    # Of Pinecone's pricing page, as it was on 4 November 2026.
    Setting(
        "pinecone.price",
        "4 November 2026",
        "USD for a million write units (Standard plan, AWS us-east-1), and since when: an account may pay otherwise",
    ),
    Setting("packs.to", "", "where upload puts packs: a folder, s3://, gs://, az://; without one packs/ in the home"),
    Setting("packs.from", "", "where install-source finds packs, also https://; without one where upload puts them"),
    Setting("packs.keep", 2, "versions of a source that stay in a store after an upload", 1, 1000),
    Setting("s3.endpoint", "", "address of an S3 server that is not Amazon's, as R2's; else AWS_ENDPOINT_URL"),
    Setting("s3.region", "", "region of the bucket; else AWS_REGION"),
    Setting(
        "cloud.instance_credentials",
        0,
        "1: without credentials a store is asked with those that the machine's own metadata address gives",
        0,
        1,
    ),
    Setting("online_requests", 16, "requests to the OpenAI API at the same time, at most", 1, 256),
    Setting(
        "online_price",
        "0.02 July 2026",
        "USD for a million tokens of text-embedding-3-small, and since when: what an account really pays may differ",
    ),
    Setting(
        "batch_poll_seconds",
        10.0,
        "first pause between two looks at the batches of index-online --batch-api; doubles, up to thirty times as long",
        0.05,
        3600,
    ),
    Setting("tags_provider", "local", "who suggests tags", choices=("local", "openai")),
    Setting(
        "tags_model", "gpt-4o-mini", "model of the OpenAI API that suggest-tags asks; it must know structured outputs"
    ),
    Setting(
        "tags_price",
        "0.15 0.60 July 2026",
        "USD for a million tokens sent to tags_model and answered by it, and since when: an account may pay otherwise",
    ),
    Setting("tags_vocabulary", "", "TOML file of the tags to choose from; without one those of preparedness"),
    Setting("scrape_contact", "", "whom a site may write to about scrape: a URL or an address, told with each request"),
    Setting("scrape_proxy", "", "proxy of scrape; those of the environment are not used"),
    Setting("hub.endpoint", "", "address of the hub of models; else HF_ENDPOINT, else https://huggingface.co"),
    Setting(
        "languages_index",
        "https://raw.githubusercontent.com/argosopentech/argospm-index/main/index.json",
        "where language-download finds packs: the address of an index of Argos Translate's form",
    ),
    Setting("languages_max_mb", 2048, "largest language pack that is unpacked", 1, 1_000_000),
    Setting("grace_seconds", 10.0, "seconds from SIGTERM to SIGKILL when a job is cancelled", 0, 3600),
    Setting("stall_after", 300.0, "seconds without a heartbeat before a worker is killed", 5, 86400),
    Setting("on_finish", (), "command that the daemon runs after each job, as a list of words; in config.toml alone"),
    Setting("on_finish_seconds", 60.0, "seconds after which that command is killed, with all it has started", 1, 3600),
    Setting(
        "retry_seconds", 30.0, "first pause before a transient error is tried again; doubles, with jitter", 0, 3600
    ),
    Setting("nice", 0, "niceness of the workers", 0, 19),
    Setting("ionice", "none", "I/O class of the workers", choices=("none", "best-effort", "idle")),
    Setting("history_days", 90.0, "age at which kbjobs prune forgets ended jobs", 0, 36500),
    Setting("max_deaths", 3, "deaths of a worker without progress before its job is interrupted", 1, 1000),
)


@dataclass(frozen=True, slots=True)
class SettingValue:
    """A setting in force and where it came from."""

    setting: Setting
    value: str | int | float | tuple[str, ...]
    origin: str


class Settings:
    """The settings in force for one home."""

    def __init__(self, home: Home, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        configured = read_config(home.config_file)
        known = {setting.name for setting in SETTINGS}
        for name in configured:
            if name not in known:
                from difflib import get_close_matches

                near = get_close_matches(name, known, 1)
                hint = f"Did you mean {near[0]}? " if near else ""
                raise UsageError(f"{home.config_file}: unknown setting {name!r}", hint + "See kbjobs config show.")
        self.values: dict[str, SettingValue] = {}
        for setting in SETTINGS:
            if setting.variable in environ and isinstance(setting.default, tuple):
                raise UsageError(
                    f"{setting.variable} is set, but {setting.name} is read from {home.config_file} alone",
                    f"Write it there, and unset {setting.variable}.",
                )
            if setting.variable in environ:
                raw: object = environ[setting.variable]
                origin = f"environment {setting.variable}"
            elif setting.name in configured:
                raw, origin = configured[setting.name], str(home.config_file)
            else:
                raw, origin = setting.default, "default"
            self.values[setting.name] = SettingValue(setting, setting.parse(raw, origin), origin)

    def text(self, name: str) -> str:
        """The value of a text setting."""
        return str(self.values[name].value)

    def integer(self, name: str) -> int:
        """The value of a whole-number setting."""
        return int(self.text(name))

    def number(self, name: str) -> float:
        """The value of a numeric setting."""
        return float(self.text(name))

    def words(self, name: str) -> tuple[str, ...]:
        """The words of a setting that is a command."""
        value = self.values[name].value
        assert isinstance(value, tuple)  # noqa: S101
        return value


@dataclass(frozen=True, slots=True)
class Home:
    """Where everything lives. Files are 0600 and folders 0700."""

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
        """What the daemon says."""
        return self.path / "daemon.log"

    @property
    def daemon_lock(self) -> Path:
        """Held by the running daemon for its whole life."""
        return self.path / "locks" / "daemon.lock"

    @property
    def start_lock(self) -> Path:
        """Held by a client while it starts the daemon, so that fifty submits start one."""
        return self.path / "locks" / "start.lock"

    @property
    def chains_lock(self) -> Path:
        """Held while a chain file of the home is written."""
        return self.path / "locks" / "chains.lock"

    @property
    def wake_pipe(self) -> Path:
        """A FIFO: one byte wakes the daemon."""
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
        """Where the indexes of Pinecone are; can be deleted at any time."""
        return self.path / "pinecone.json"

    @property
    def packs(self) -> Path:
        """The store that packs go to where no other is named."""
        return self.path / "packs"

    @property
    def visualisation(self) -> Path:
        """The maps of sources: a page and its points each."""
        return self.path / "visualisation"

    @property
    def languages(self) -> Path:
        """Language packs, one folder each."""
        return self.path / "languages"

    @property
    def downloads(self) -> Path:
        """What is being fetched, until it is in its place."""
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
        """The page of the map of a source, None for that of several; its points lie beside it, as .json.

        No source's id begins with "_": a source that is called as the map of several has a file of its own.
        """
        several = "map"
        name = several if source is None else f"_{several}" if source == several else source
        return self.visualisation / f"{name}.html"

    def worker_lock(self, run_id: str) -> Path:
        """Held by a worker for its whole life."""
        return self.path / "locks" / f"run-{run_id}.lock"

    def log_file(self, job_id: int, attempt: int) -> Path:
        """The log of one attempt of one job; never overwritten."""
        return self.logs / f"{job_id}-{attempt}.log"

    def prepare(self) -> None:
        """Create the folders. Raises UnavailableError where the home cannot be used."""
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
        """Set the reserve aside where it is not; a disk that has no room for it now is no error."""
        try:
            descriptor = os.open(self.reserve, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except OSError:  # it is there, or cannot be
            return
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        except OSError:
            self.reserve.unlink()
        finally:
            os.close(descriptor)

    def give_up_reserve(self) -> None:
        """Free the reserve, to write a last word on a full disk."""
        self.reserve.unlink(missing_ok=True)


def current_home() -> Home:
    """The home named by ``KBJOBS_HOME``, else the platform's data folder."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Home(Path(named).expanduser().absolute())
    from platformdirs import user_data_path

    return Home(user_data_path("kbjobs"))


def refuse_network_home(path: Path, mount_table: Path = MOUNT_TABLE) -> None:
    """Raise UnavailableError when ``path`` lies on a network file system, as far as the mount table tells."""
    kind = find_file_system(path, mount_table)
    if kind in NETWORK_FILE_SYSTEMS:
        raise UnavailableError(
            f"the home {path} is on a network file system ({kind}), where SQLite and file locks are not safe",
            f"Set {HOME_VARIABLE} to a folder on a local disk.",
        )
