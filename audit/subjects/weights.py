"""The tensors of a folder, read as a stream: a hash and a look for NaN for each, in a few MiB of memory."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from audit.errors import SubjectError

CHUNK = 2**20
"""Bytes read at once: few enough to stay in the cache of a processor."""
THREADS = 8
"""Tensors hashed at once at most; hashing lets go of the interpreter."""
HEADER_LIMIT = 100_000_000
"""Bytes of a safetensors header, as in the reference implementation."""

# Number format: width in bytes, unsigned type of that width, exponent bits, fraction bits. A number whose exponent bits
# are all set is not finite; it is NaN when a fraction bit is set too.
FLOATS: dict[str, tuple[int, str, int, int]] = {
    "F64": (8, "<u8", 0x7FF0000000000000, 0x000FFFFFFFFFFFFF),
    "F32": (4, "<u4", 0x7F800000, 0x007FFFFF),
    "F16": (2, "<u2", 0x7C00, 0x03FF),
    "BF16": (2, "<u2", 0x7F80, 0x007F),
    "F8_E5M2": (1, "u1", 0x7C, 0x03),
    "F8_E4M3": (1, "u1", 0x7F, 0x7F),  # has no infinity; NaN is all ones
}
WIDTHS = {name: row[0] for name, row in FLOATS.items()} | {
    "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """Where one tensor lies in a safetensors file: byte offsets from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Scanned:
    """What was found in one tensor: a hash of format, shape and bytes, and "a NaN", "an infinity" or nothing."""

    digest: str
    fault: str


def header(path: Path) -> tuple[Stored, ...]:
    """The tensors of a safetensors file in the order of their bytes; SubjectError for a truncated or broken file."""
    return _header(path, *_stamp(path))


def scan(path: Path) -> Mapping[str, Scanned]:
    """Hash and look over every tensor of a file; remembered in this process until the file changes."""
    return _scan(path, *_stamp(path))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise SubjectError(f"{path} cannot be read ({error.strerror or error}).") from error
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4096)
def _header(path: Path, size: int, _changed: int) -> tuple[Stored, ...]:
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 0 < length <= min(HEADER_LIMIT, size - 8):
                raise ValueError("its header is cut off")
            table = json.loads(file.read(length))
        found = tuple(sorted(_entries(table, 8 + length), key=lambda tensor: tensor.begin))
        end = 8 + length
        for tensor in found:
            if tensor.begin != end:
                raise ValueError(f"{tensor.name} does not follow the tensor before it")
            end = tensor.end
        if end != size:
            raise ValueError(f"it has {size} bytes, its header says {end}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SubjectError(
            f"{path} is truncated or is no safetensors file ({error}); copy it again or save the model again."
        ) from error
    return found


def _entries(table: dict, start: int) -> Iterator[Stored]:
    for key, value in table.items():
        if key == "__metadata__":
            continue
        first, last = value["data_offsets"]
        if not all(type(number) is int and number >= 0 for number in (first, last, *value["shape"])):
            raise ValueError(f"{key} has an offset or a size that is no whole number")
        tensor = Stored(key, value["dtype"], tuple(value["shape"]), start + first, start + last)
        width = WIDTHS.get(tensor.dtype)
        if width is not None and tensor.numbers * width != tensor.end - tensor.begin:
            raise ValueError(f"{key} has {last - first} bytes, its shape needs {tensor.numbers * width}")
        yield tensor


@lru_cache(maxsize=4096)
def _scan(path: Path, _size: int, _changed: int) -> Mapping[str, Scanned]:
    if path.suffix != ".safetensors":
        from audit.subjects.pickled import scan_pickled

        return scan_pickled(path)
    tensors = header(path)
    try:
        with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
            found = list(pool.map(partial(_scan_tensor, path), tensors))
    except OSError as error:
        raise SubjectError(f"{path} cannot be read ({error.strerror or error}).") from error
    return {tensor.name: part for tensor, part in zip(tensors, found, strict=True)}


def _scan_tensor(path: Path, tensor: Stored) -> Scanned:
    hasher = hasher_of(tensor.dtype, tensor.shape)
    left, fault = tensor.end - tensor.begin, ""
    with open(path, "rb") as file:
        file.seek(tensor.begin)
        while left:
            chunk = file.read(min(CHUNK, left))
            if not chunk:
                raise OSError(f"{tensor.name} ends too early")
            hasher.update(chunk)
            fault = fault or fault_in(chunk, tensor.dtype)
            left -= len(chunk)
    return Scanned(hasher.hexdigest(), fault)


def hasher_of(dtype: str, shape: tuple[int, ...]) -> hashlib.blake2b:
    """A hash that has already taken in a tensor's number format and shape."""
    hasher = hashlib.blake2b(digest_size=16)
    hasher.update(f"{dtype} {list(shape)}\n".encode())
    return hasher


def fault_in(chunk: bytes, dtype: str) -> str:
    """What is not a finite number in bytes of a format: "a NaN", "an infinity" or nothing."""
    if dtype not in FLOATS or not chunk:
        return ""
    width, unsigned, exponent, fraction = FLOATS[dtype]
    bits = np.frombuffer(chunk[: len(chunk) // width * width], unsigned)
    exponents = bits & bits.dtype.type(exponent)
    if not bits.size or exponents.max() != exponent:
        return ""
    wrong = bits[exponents == exponent]
    return "a NaN" if (wrong & wrong.dtype.type(fraction)).any() else "an infinity"
