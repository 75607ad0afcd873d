"""Reading safetensors as a stream: hashes, faults, and what is broken."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.errors import SubjectError
from audit.subjects import weights
from audit.subjects.weights import FLOATS, fault_in, header, scan


def save(path: Path, **tensors: object) -> Path:
    from safetensors.torch import save_file

    save_file(tensors, path)  # type: ignore[arg-type]
    return path


def test_the_hash_is_format_shape_and_bytes(tmp_path: Path) -> None:
    import torch

    path = save(tmp_path / "a.safetensors", w=torch.tensor([[1.0, 2.0]]))
    # By hand: "F32 [1, 2]\n", then 1.0 = 0x3f800000 and 2.0 = 0x40000000, lowest byte first.
    expected = hashlib.blake2b(b"F32 [1, 2]\n" + bytes.fromhex("0000803f00000040"), digest_size=16).hexdigest()
    assert scan(path)["w"] == weights.Scanned(expected, "")


def test_a_stream_of_small_chunks_gives_the_same_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    torch.manual_seed(0)
    tensors = {"a": torch.randn(100, 7), "b": torch.randn(33).to(torch.bfloat16), "c": torch.arange(5)}
    whole = scan(save(tmp_path / "one.safetensors", **tensors))
    monkeypatch.setattr(weights, "CHUNK", 16)
    assert scan(save(tmp_path / "two.safetensors", **tensors)) == whole


def test_memory_stays_at_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    import torch

    path = save(tmp_path / "big.safetensors", w=torch.zeros(8 * 2**20))  # 32 MiB
    monkeypatch.setattr(weights, "CHUNK", 2**20)
    scan(save(tmp_path / "warm.safetensors", w=torch.zeros(4)))
    tracemalloc.start()
    scan(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 2**20


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn"])
def test_nan_is_found_at_any_place_and_ordinary_numbers_are_not(tmp_path: Path, dtype: str) -> None:
    import torch

    kind = getattr(torch, dtype)
    largest = torch.finfo(kind).max
    fine = torch.tensor([0.0, -0.0, 1.0, -1.5, largest, -largest, torch.finfo(kind).tiny], dtype=torch.float64).to(kind)
    broken = torch.cat([fine.double(), torch.tensor([float("nan")])]).to(kind)
    found = scan(save(tmp_path / f"{dtype}.safetensors", fine=fine, broken=broken, whole=torch.tensor([-1, 2**62])))
    assert {name: part.fault for name, part in found.items()} == {"fine": "", "broken": "a NaN", "whole": ""}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "float8_e5m2"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_infinity_is_told_from_a_nan(tmp_path: Path, dtype: str, sign: float) -> None:
    import torch

    broken = torch.tensor([1.0, sign * float("inf"), 2.0]).to(getattr(torch, dtype))
    assert scan(save(tmp_path / "a.safetensors", w=broken))["w"].fault == "an infinity"


@given(st.binary(max_size=64), st.sampled_from(["F64", "F32", "F16"]))
def test_faults_agree_with_numpy(content: bytes, dtype: str) -> None:
    width = FLOATS[dtype][0]
    content = content[: len(content) // width * width]
    values = np.frombuffer(content, f"<f{width}")
    expected = "a NaN" if np.isnan(values).any() else "an infinity" if np.isinf(values).any() else ""
    assert fault_in(content, dtype) == expected


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    import os

    import torch

    path = save(tmp_path / "a.safetensors", w=torch.tensor([1.0]))
    first = scan(path)
    assert scan(path) is first
    save(path, w=torch.tensor([2.0]))
    os.utime(path, ns=(1, 1))
    assert scan(path)["w"].digest != first["w"].digest


@pytest.mark.parametrize(
    ("cut", "words"),
    [(slice(0, 4), "header is cut off"), (slice(0, 60), "header"), (slice(0, -1), "its header says"), (None, "says")],
)
def test_truncated_and_padded_files_are_named(tmp_path: Path, cut: slice | None, words: str) -> None:
    import torch

    path = save(tmp_path / "a.safetensors", w=torch.zeros(8))
    content = path.read_bytes()
    path.write_bytes(content[cut] if cut else content + b"\0")
    with pytest.raises(SubjectError, match=words) as caught:
        header(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "table",
    [
        {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},  # 4 bytes for two numbers
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0.0, 4.0]}},
        {"w": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},  # a gap before the first tensor
        {"w": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}},
        {"w": []}, {"w": None}, [], "text", {"w": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}},
    ],
)  # fmt: skip
def test_headers_that_lie_are_refused(tmp_path: Path, table: object) -> None:
    text = json.dumps(table).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 4)
    with pytest.raises(SubjectError, match="truncated or is no safetensors"):
        scan(path)


@settings(max_examples=200)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_tensors_or_a_subject_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, ok: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes((len(data).to_bytes(8, "little") if ok else b"") + data)
    weights._header.cache_clear()
    weights._scan.cache_clear()
    try:
        scan(path)
    except SubjectError as error:
        assert str(path) in str(error)
