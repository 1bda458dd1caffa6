"""The machine that the benchmark runs on, and the CPUs for servers and load."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cpus:
    """The numbers of the CPUs for the servers and for the load; the same on a machine with one CPU."""

    server: int
    load: int


def pick_cpus() -> Cpus:
    """Choose two CPUs that this process may use, the last one for the servers."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cpus(server=allowed[-1], load=allowed[0])


@contextmanager
def on_cpu(number: int) -> Iterator[None]:
    """Make processes that are started within the block run on one CPU only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {number})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def describe() -> str:
    """Return CPU, kernel and Python in one line, and nothing that identifies the machine."""
    model = _cpu_model() or platform.machine()
    return f"{model}, {cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"


def cpu_count() -> int:
    """Return how many CPUs the machine has."""
    return os.cpu_count() or 1


def others_seconds() -> float:
    """Return the CPU time since boot, without that of this process and its ended children."""
    # proc(5): user, nice, system, idle, iowait, irq, softirq, steal (what the hypervisor gave to others).
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    busy = sum(fields) - fields[3] - fields[4]
    return busy / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def share_in_use(seconds: float = 3.0) -> float:
    """Wait, and return the share of CPU time that other programs have used meanwhile, from 0 to 1."""
    before, started = others_seconds(), time.monotonic()
    time.sleep(seconds)
    return (others_seconds() - before) / (time.monotonic() - started) / cpu_count()


def _cpu_model() -> str:
    # "Model" is a line of the Raspberry Pi; the other names are those of x86 and some ARM kernels.
    values: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, colon, value = line.partition(":")
        if colon:
            values.setdefault(name.strip(), value.strip())
    return values.get("Model") or values.get("model name") or values.get("Hardware") or ""
