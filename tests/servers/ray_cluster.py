"""A Ray cluster of simulated nodes in a network namespace of its own: its ports, which run code, are seen by nobody.

Run as a program it starts the head, which does no work, and then does what lines on its standard input ask for, as
JSON: ``add HOME CPUS [NAME=VALUE…]``, ``kill NUMBER`` (a node, by the number that ``add`` gave), ``kill head``. Each is
answered by a line. It ends with its standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODE_BYTES = 100 * 1024 * 1024


class Namespace:
    """A network of its own, with a loopback and nothing else, as long as the object is open."""

    def __init__(self, *command: str, **options: Any) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--net", *(command or ("sh", "-c", "ip link set lo up && echo up && exec cat"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        assert self._process.stdout is not None
        self.begins_with = self._process.stdout.readline()

    @property
    def inside(self) -> list[str]:
        """What a command begins with that is to run in it."""
        return ["nsenter", f"--net=/proc/{self._process.pid}/ns/net"]

    def run(self, *command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        given = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "timeout": 200, "check": False}
        return subprocess.run([*self.inside, *map(str, command)], **{**given, **options})

    def close(self) -> None:
        """End what has begun it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()


class RayCluster(Namespace):
    """The cluster from outside: nodes are added and killed, commands run where its ports are."""

    def __init__(self, folder: Path, port: int = 6379) -> None:
        self.address = f"127.0.0.1:{port}"
        self.homes: list[Path] = []
        self.nodes: list[int] = []
        """The numbers of those that live."""
        self._folder = folder
        temporary = f"/tmp/kbt-ray-{os.getpid()}-{zlib.crc32(str(folder).encode())}"  # Ray's sockets need a short path
        with (folder / "cluster.log").open("w") as log:
            super().__init__(
                sys.executable,
                "-m",
                "tests.servers.ray_cluster",
                str(port),
                temporary,
                stderr=log,
                env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)},
            )
        assert self.begins_with, (folder / "cluster.log").read_text()[-3000:]

    def add(self, cpus: int = 1, **environment: str) -> int:
        """Add a node with a home of its own; returns its number."""
        number = len(self.homes)
        home = self._folder / f"node{number}"
        home.mkdir(mode=0o700)
        self.homes.append(home)
        variables = [f"{name}={value}" for name, value in environment.items()]
        self._ask("add", str(home), str(cpus), *variables)
        self.nodes.append(number)
        return number

    def kill(self, node: int | str) -> None:
        """Kill a node, or the head, with all that runs on it."""
        self._ask("kill", str(node))
        if node in self.nodes:
            self.nodes.remove(int(node))

    def actors(self) -> list[int]:
        """The processes that embed, on all nodes."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it may be gone by now
                is_actor = b"ray::EmbeddingActor" in (process / "cmdline").read_bytes()
                if is_actor and str(self._folder).encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return sorted(found)

    def _ask(self, *words: str) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline(), (self._folder / "cluster.log").read_text()[-3000:]


def need_namespaces() -> None:
    """Skip where no network namespace can be made (it needs root)."""
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a network namespace cannot be made here (it needs root)")


def main() -> None:
    """The process inside."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer
    from ray._common.utils import get_default_ray_temp_dir
    from ray.cluster_utils import Cluster

    port, temporary = int(sys.argv[1]), sys.argv[2]
    # Ray notes there which cluster was started last on this machine; whoever starts one next is not to find ours.
    os.environ["RAY_TMPDIR"] = temporary
    Path(get_default_ray_temp_dir()).mkdir(parents=True)
    common = {"object_store_memory": NODE_BYTES, "include_dashboard": False}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "gcs_server_port": port, "temp_dir": temporary, **common}
    )
    nodes: dict[str, Any] = {"head": cluster.head_node}

    def tell() -> None:
        print("done", file=answers, flush=True)

    tell()
    for line in sys.stdin:
        verb, *words = json.loads(line)
        if verb == "add":
            home, cpus, *variables = words
            environment = dict(one.split("=", 1) for one in variables)
            name = str(len(nodes) - 1)
            nodes[name] = cluster.add_node(
                num_cpus=int(cpus),
                object_store_memory=NODE_BYTES,
                env_vars={"KBJOBS_HOME": home, **environment},
            )
        else:
            for kind in nodes[words[0]].all_processes.values():
                for one in kind:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(one.process.pid, signal.SIGKILL)
                        one.process.wait()
        tell()
    cluster.shutdown()
    subprocess.run(["rm", "-rf", temporary], check=False)


if __name__ == "__main__":
    main()
