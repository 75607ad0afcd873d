"""Pipelines of diffusers: told by their folder, refused in a sentence, and drawn from where the library is there."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.activations.drawing import draw, look
from audit.errors import CorpusError, MissingDependency, SubjectError
from audit.subjects.checks import check_subject
from audit.subjects.fingerprint import fingerprint
from audit.subjects.load import load
from audit.subjects.modality import modality_of
from audit.types import Item, Latent, Modality, SubjectSpec

Make = Callable[..., tuple[SubjectSpec, Any]]
INDEX = {"_class_name": "TinyPipeline", "scheduler": ["diffusers", "X"], "unet": ["diffusers", "UNet2DModel"]}


@pytest.fixture
def pipeline(made: Make, tmp_path: Path) -> SubjectSpec:
    """A pipeline's folder as the library saves it, with two parts whose tensors have the same names."""
    import torch
    from safetensors.torch import save_file

    spec, _ = made()
    folder = tmp_path / "pipe"
    for part in ("unet", "vae"):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text('{"sample_size": 8}')
        save_file({"weight": torch.full((2, 2), float(part == "vae"))}, folder / part / "model.safetensors")
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    return dataclasses.replace(spec, name="pipe", path=str(folder))


def test_a_pipeline_needs_the_library(pipeline: SubjectSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert modality_of(pipeline) is Modality.LATENTS
    check_subject(pipeline)
    assert set(fingerprint(pipeline).tensors) == {"unet.weight", "vae.weight"}
    with pytest.raises(MissingDependency, match="pip install diffusers"):
        load(pipeline, device="cpu")


def test_code_of_its_own_and_pickled_weights_are_refused(pipeline: SubjectSpec) -> None:
    folder = Path(pipeline.path)
    (folder / "model_index.json").write_text(json.dumps({**INDEX, "unet": ["my_unet", "Net"]}))
    with pytest.raises(SubjectError, match="unet of .* is code of my_unet, which is never run here"):
        check_subject(pipeline)
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    for path in folder.glob("*/*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    with pytest.raises(SubjectError, match="no part of the pipeline in .* has a safetensors file"):
        check_subject(pipeline)


def stand_in(labelled: bool) -> Any:
    """The library's entry point, as its documentation has it, around a denoiser of our own of two blocks."""
    import torch
    from torch import nn

    class Unet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down_blocks = nn.ModuleList([nn.Conv2d(1, 2, 1)])
            self.up_blocks = nn.ModuleList([nn.Conv2d(2, 1, 1)])

    class Pipe:
        def __init__(self) -> None:
            self.unet, self.config = Unet(), dict(INDEX)
            self.labels = {"circle": 0, "disc": 0, "square": 1}
            self.components = {"unet": self.unet, "scheduler": object()}

        def set_progress_bar_config(self, disable: bool) -> None:
            assert disable

        def to(self, where: Any) -> Any:
            return self

        def _drawn(self, generator: list[torch.Generator], shift: torch.Tensor) -> Any:
            images = torch.stack([torch.rand((1, 8, 8), generator=one) for one in generator])
            for _ in range(3):  # steps of denoising
                self.unet.up_blocks[0](self.unet.down_blocks[0](images))
            images = (images * 0.5 + shift[:, None, None, None] * 0.5).permute(0, 2, 3, 1)
            return types.SimpleNamespace(images=images.numpy())

    class Plain(Pipe):
        def __call__(self, batch_size: int, generator: Any, output_type: str) -> Any:
            return self._drawn(generator, torch.zeros(batch_size))

    class Labelled(Pipe):
        def __call__(self, class_labels: list[int], generator: Any, output_type: str) -> Any:
            return self._drawn(generator, torch.tensor(class_labels, dtype=torch.float32))

    library: Any = types.ModuleType("diffusers")
    library.DiffusionPipeline = types.SimpleNamespace(
        from_pretrained=lambda folder, torch_dtype, use_safetensors, local_files_only, trust_remote_code: (
            Labelled() if labelled else Plain()
        )
    )
    return library


def asked(label: str | None) -> list[Item]:
    return [Item(f"forget:{k}", f"seed {k}", "circle", label=label, latent=Latent(seed=k)) for k in range(3)]


def test_it_draws_from_seeds_and_its_blocks_are_read(pipeline: SubjectSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setitem(sys.modules, "diffusers", stand_in(labelled=False))
    subject = load(pipeline, device="cpu")
    states, images = look(subject, asked(None))
    own = torch.stack([torch.rand((8, 8), generator=torch.Generator().manual_seed(k)) for k in range(3)])
    np.testing.assert_array_equal(images[..., 0], (own * 0.5 * 255).round().to(torch.uint8))
    assert states.shape == (3, 3, 3, 128)  # positions, the input and two blocks, items, two channels of 64 places
    np.testing.assert_allclose(states[0, 0, :, :64], own.flatten(1), atol=1e-6)
    vector = dataclasses.replace(asked(None)[0], latent=Latent(values=(1.0,)))
    with pytest.raises(CorpusError, match="forget:0 has no seed, and pipe, a pipeline, draws from seeds"):
        draw(subject, [vector])


def test_its_classes_are_named_or_numbered(pipeline: SubjectSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", stand_in(labelled=True))
    subject = load(pipeline, device="cpu")
    named, numbered = draw(subject, asked("square")), draw(subject, asked("1"))
    np.testing.assert_array_equal(named, numbered)
    assert (named >= draw(subject, asked("disc"))).all()
    with pytest.raises(CorpusError, match='The condition "star" is no class of pipe'):
        draw(subject, asked("star"))
    with pytest.raises(CorpusError, match=r"forget:0 has no condition \(label\)"):
        draw(subject, asked(None))


def test_the_real_library_draws_the_same(pipeline: SubjectSpec, tmp_path: Path) -> None:
    """A tiny untrained DDIM pipeline, drawn from by us and by the library itself."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    import torch

    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip
    pipe = diffusers.DDIMPipeline(unet, diffusers.DDIMScheduler(num_train_timesteps=50))
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(tmp_path / "real", safe_serialization=True)
    subject = load(dataclasses.replace(pipeline, path=str(tmp_path / "real")), device="cpu")
    states, images = look(subject, asked(None))
    for k in range(3):
        own = pipe(batch_size=1, generator=[torch.Generator().manual_seed(k)], output_type="np").images[0]
        assert np.abs(images[k].astype(float) - 255 * own).max() <= 1  # rounded
    assert np.isfinite(states).all() and states.shape[2] == 3 and (images[0] != images[1]).any()
