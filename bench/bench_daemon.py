"""The daemon: how light it is when idle, and how soon a submitted job's worker runs its phase."""

from __future__ import annotations

import os
import re
import statistics
import time
from datetime import datetime
from pathlib import Path

from measuring import temporary_home

from kbjobs.daemon.launching import ensure_daemon
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register

IDLE_SECONDS = 60.0
ROUNDS = 15
BEGINS = re.compile(r"^(\S+ \S+) INFO phase index_offline begins", re.MULTILINE)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process (proc_pid_stat(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the three figures."""
    with temporary_home() as home:
        pages = home.path / "pages"
        pages.mkdir()
        (pages / "a.txt").write_text("Boil water for one minute before you drink it.")
        register(home, "tiny", [pages])
        ensure_daemon(home)
        manager = JobManager(home)
        pid = manager.get_daemon().pid
        assert pid is not None
        latencies = []
        for number in range(ROUNDS):
            submitted = time.time()
            job_id = manager.submit("index_offline", "tiny", limit=number + 1)
            for _ in manager.follow([job_id], revive=False):
                pass
            log = manager.log_file(manager.get_status(job_id)).read_text()
            found = BEGINS.search(log)
            assert found, log
            latencies.append(datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp() - submitted)
        median = statistics.median(latencies)
        print(f"submit to phase: {median:.3f} s (bar 0.4, median of {ROUNDS}, slowest {max(latencies):.3f})")
        before, started = cpu_seconds(pid), time.monotonic()
        time.sleep(IDLE_SECONDS)
        share = (cpu_seconds(pid) - before) / (time.monotonic() - started)
        print(f"idle daemon: {share:.3%} of a core over {IDLE_SECONDS:.0f} s (bar 0.2 %)")
        status = Path(f"/proc/{pid}/status").read_text()
        rss = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
        peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
        print(f"daemon memory: {rss:.0f} MB resident, peak {peak:.0f} MB (bar 60)")
        manager.close()


if __name__ == "__main__":
    main()
