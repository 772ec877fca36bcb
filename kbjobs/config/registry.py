"""All settings: each with its name in ``config.toml``, its default and its meaning."""

from __future__ import annotations

from dataclasses import dataclass

from kbjobs.config.toml_file import read_words
from kbjobs.errors import UsageError


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: its name in ``config.toml``, its default and its meaning.

    If the default is a tuple, the setting is a command, as a list of words; it is read only from the file.
    """

    name: str
    default: str | int | float | tuple[str, ...]
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable that overrides the setting."""
        return "KBJOBS_" + self.name.upper().replace(".", "_")

    def parse(self, raw: object, origin: str) -> str | int | float | tuple[str, ...]:
        """Turn a raw value into the setting's type. Raises UsageError that names value and origin."""
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
        choices=("auto", "openvino", "onnxruntime", "sentence-transformers", "ray"),
    ),
    Setting("ray.address", "", "Ray cluster of the engine ray, HOST:6379; else RAY_ADDRESS, else one is started"),
    Setting("ray.actors", 0, "processes that embed there, at most; 0: as many as find room", 0, 10_000),
    Setting("ray.cpus", 4, "CPUs that each of them takes; all of a node that has fewer", 1, 1024),
    Setting("ray.wait", 60.0, "seconds that a job waits for a cluster that does not answer, or has no room", 1, 86400),
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
    Setting("vectors.chroma_header", "Authorization", "header of the secret CHROMA_TOKEN, for a proxy in front of it"),
    Setting("vectors.chroma_prefix", "kbjobs", "begins the names of the collections there"),
    Setting("vectors.chroma_wait", 600.0, "seconds that a job waits for it while it is away", 0, 86400),
    Setting("pinecone.index", "", "index of Pinecone that pinecone-sync writes to"),
    Setting("pinecone.namespace", "", "namespace in it; without one the id of the source"),
    Setting("pinecone.cloud", "aws", "where --create-index makes it", choices=("aws", "gcp", "azure")),
    Setting("pinecone.region", "us-east-1", "region of that cloud"),
    Setting("pinecone.wait", 60.0, "seconds that pinecone-sync waits until the index shows what was written", 0, 3600),
    # From Pinecone's pricing page, as of 4 November 2026.
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
    Setting("online_max_cost_per_day", 0.0, "US dollars that all jobs together may spend in a day; 0: no limit", 0),
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
        "tags_model",
        "gpt-4o-mini",
        "model of the OpenAI API that suggest-tags asks; it must support structured outputs",
    ),
    Setting(
        "tags_price",
        "0.15 0.60 July 2026",
        "USD for a million tokens sent to tags_model and answered by it, and since when: an account may pay otherwise",
    ),
    Setting("tags_vocabulary", "", "TOML file of the tags to choose from; without one those of preparedness"),
    Setting("scrape_contact", "", "whom a site may write to about scrape: a URL or an address, sent with each request"),
    Setting("scrape_proxy", "", "proxy of scrape; those of the environment are not used"),
    Setting("render.browser", "", "Chromium of scrape --render: a path or a command; without one the system's"),
    Setting("hub.endpoint", "", "address of the hub of models; else HF_ENDPOINT, else https://huggingface.co"),
    Setting(
        "languages_index",
        "https://raw.githubusercontent.com/argosopentech/argospm-index/main/index.json",
        "where language-download finds packs: the address of an index of Argos Translate's form",
    ),
    Setting("languages_max_mb", 2048, "largest language pack that is unpacked", 1, 1_000_000),
    Setting("grace_seconds", 10.0, "seconds from SIGTERM to SIGKILL when a job is cancelled", 0, 3600),
    Setting("stall_after", 300.0, "seconds without a heartbeat before a worker is killed", 5, 86400),
    Setting(
        "document_seconds",
        30.0,
        "seconds of processor time that reading a document may take, and one more for each MB of it",
        1,
        3600,
    ),
    Setting(
        "comments",
        "drop",
        "readers' comments below an article: left out, or kept as part of its text",
        choices=("drop", "keep"),
    ),
    Setting("on_finish", (), "command that the daemon runs after each job, as a list of words; in config.toml alone"),
    Setting("on_finish_seconds", 60.0, "seconds after which that command is killed, with all it has started", 1, 3600),
    Setting(
        "retry_seconds", 30.0, "first pause before a transient error is tried again; doubles, with jitter", 0, 3600
    ),
    Setting("nice", 0, "niceness of the workers", 0, 19),
    Setting("ionice", "none", "I/O class of the workers", choices=("none", "best-effort", "idle")),
    Setting("history_days", 90.0, "age at which ended jobs, their logs and unfinished downloads are removed", 0, 36500),
    Setting("max_deaths", 3, "deaths of a worker without progress before its job is interrupted", 1, 1000),
)
