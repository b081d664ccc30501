"""Which machine a measurement was taken on, and with which versions, in one sentence."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import peers
from isologit.numerics.parallel import available_cores, get_threads


def describe_machine() -> str:
    """Return the processor, the cores used, the memory, the kernel and the versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{_processor()}; {get_threads()} threads on {available_cores()} cores, "
        f"{memory / 2**30:.0f} GiB of memory; {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}, numpy {version('numpy')}, "
        f"numba {version('numba')}, {peers.version()}; "
        f"load average of 1, 5 and 15 minutes before the first row: {load}"
    )


def _processor() -> str:
    fields: dict[str, str] = {}
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text().split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            fields[name.strip()] = value.strip()
    model = fields.get("model name") or platform.processor() or platform.machine()
    widest = [
        name for name in ("avx2", "avx512f", "avx512_bf16") if name in fields.get("flags", "")
    ]
    numbers = [f"{key} {fields[key]}" for key in ("cpu family", "model") if key in fields]
    details = [*numbers, *widest]
    return f"{model} ({', '.join(details)})" if details else model
