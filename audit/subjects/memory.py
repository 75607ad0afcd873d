"""How much memory a subject needs, and how much is free."""

from __future__ import annotations

from pathlib import Path

from audit.subjects.adapter import base_of
from audit.subjects.files import folder_of, is_adapter, weight_files
from audit.subjects.load import number_format
from audit.subjects.systems.kinds import base_spec, system_of
from audit.subjects.weights import header
from audit.types import SubjectSpec

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
GROUP = Path("/sys/fs/cgroup")
MARGIN = 1.2
"""Weights times this: buffers, activations of a batch, and what the allocator cannot use."""


def memory_estimate(spec: SubjectSpec, device: str) -> int:
    """Bytes that a subject takes on a device, from the headers of its files; SubjectError when they are broken."""
    folder = folder_of(spec)
    system = system_of(spec)
    if system is not None:
        whole = [base_spec(spec), *system.parts(spec).values()]
        return sum(memory_estimate(part, device) for part in whole)
    numbers = stored_numbers(spec)
    width = BYTES[number_format(spec, device)]
    if is_adapter(folder):
        base = stored_numbers(base_of(spec, folder))
        return int(MARGIN * 4 * (base + numbers))  # merged in float32 whatever it ends as
    return int(MARGIN * width * numbers)


def stored_numbers(spec: SubjectSpec) -> int:
    """How many numbers a subject's own weight files hold."""
    return sum(_numbers(path) for path in weight_files(folder_of(spec), spec))


def _numbers(path: Path) -> int:
    if path.suffix == ".safetensors":
        return sum(tensor.numbers for tensor in header(path))
    return path.stat().st_size // 2  # a pickled file has no header to read; 16-bit numbers are the larger guess


def available_memory(device: str) -> int:
    """Bytes that are free on a device; on "cuda" those of all GPUs together."""
    if device == "cpu":
        return min(_machine_memory(), _group_memory())
    import torch

    devices = [torch.device(device)] if ":" in device else [torch.device("cuda", i) for i in range(_gpus())]
    free = 0
    for one in devices:
        idle = torch.cuda.memory_reserved(one) - torch.cuda.memory_allocated(one)
        free += torch.cuda.mem_get_info(one)[0] + idle
    return free


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _machine_memory() -> int:
    try:
        import psutil

        return int(psutil.virtual_memory().available)
    except ImportError:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def _group_memory() -> int:
    """What the control group of this process (a container) still allows; unlimited where there is none."""
    try:
        limit = (GROUP / "memory.max").read_text().strip()
        used = int((GROUP / "memory.current").read_text())
        cache = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 2**62
    return 2**62 if limit == "max" else max(0, int(limit) - used + int(cache.get("inactive_file", 0)))
