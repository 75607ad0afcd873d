"""Features of a sparse autoencoder scaled while a model reads and writes: SAUCE."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from audit.errors import AuditError
from audit.subjects.systems.inside import Inside
from audit.subjects.systems.system import SHOWN, System, nameless, refuse
from audit.types import Access, DictionarySpec, SubjectSpec

if TYPE_CHECKING:
    from torch import Tensor

    from audit.subjects.load import Subject


@dataclass(frozen=True)
class SaeIntervention(System):
    """At every token, (scale - 1) times what the features write is added to a block's output.

    What the dictionary does not explain stays in the state, so that scale 1 changes no bit.
    """

    dictionary: str = ""
    """Folder of the sparse autoencoder as sae-lens writes it: cfg.json and sae_weights.safetensors."""
    features: tuple[int, ...] = ()
    """Numbers of the features, from 0, separated by commas."""
    scale: float = 0.0
    """What their activations are multiplied by: 0 takes them away, less turns them round, 1 changes nothing."""
    layer: int = 0
    """The block whose output is changed, from 1; 0: the one that the dictionary was made for."""
    entities: tuple[str, ...] = ()
    """Names, separated by commas: only while one stands in the prompt. Without any, always."""

    title: ClassVar[str] = "an intervention on SAE features"
    does: ClassVar[str] = (
        "Features of a sparse autoencoder are scaled at one block, always or while the prompt names what is meant; "
        "the error that it does not explain stays."
    )
    papers: ClassVar[str] = "SAUCE (arXiv:2503.14530), in language models; clamped features (Farrell et al. 2024)"
    access: ClassVar[frozenset[Access]] = SHOWN
    folders: ClassVar[tuple[str, ...]] = ("dictionary",)

    @property
    def detects(self) -> bool:
        """It looks for names where there are some."""
        return bool(self.entities)

    def fault(self) -> str:
        """No dictionary, no features, or numbers out of their range."""
        if not self.dictionary:
            return 'without a dictionary; give the folder of a sparse autoencoder as "dictionary".'
        if not self.features:
            return "that names no feature; give the numbers of the features that are scaled."
        if min(self.features) < 0 or len(set(self.features)) < len(self.features) or self.layer < 0:
            return "whose features and layer must be 0 or more, each feature once."
        return nameless(self.entities)

    def check(self, spec: SubjectSpec) -> None:
        """Raise SubjectError when the dictionary was made for another model, or has not these features."""
        from audit.subjects.checks import config_of_model

        config = self._config(spec)
        model = config_of_model(spec)
        width, blocks = model.get("hidden_size"), model.get("num_hidden_layers")
        if width and config.get("d_in") != width:
            raise refuse(
                spec, f"its dictionary reads states of width {config.get('d_in')}, but the model's have {width}."
            )
        layer = self._block(spec)
        if blocks and layer > blocks:
            raise refuse(spec, f"its dictionary works at block {layer}, but the model has {blocks}.")
        count = config.get("d_sae") or 0
        if max(self.features) >= count:
            raise refuse(spec, f"its dictionary has {count} features; there is no feature {max(self.features)}.")

    def put_on(self, base: Subject, parts: dict[str, Subject]) -> Subject:
        """The base with a hook on one block."""
        from audit.activations.layers import decoder_layers
        from audit.dictionaries.source import load_sae
        from audit.subjects.systems import detectors

        sae = load_sae(DictionarySpec(self._block(base.spec), self.dictionary)).to(base.device)
        chosen = list(self.features)
        directions = sae.W_dec.detach()[chosen].float()
        inside = Inside(base, detectors.naming(base, self.entities) if self.entities else detectors.everything)

        def after(module: Any, args: Any, output: Any) -> Any:
            hidden: Tensor = output[0] if isinstance(output, tuple) else output
            now = inside.now
            if now is None or not bool(now.flagged.any()):
                return output
            rows = now.flagged.to(hidden.device)
            meant = hidden[rows]
            flat = meant.reshape(-1, meant.shape[-1]).to(directions.device, directions.dtype)
            added = (self.scale - 1.0) * sae.encode(flat)[:, chosen].float() @ directions
            new = hidden.clone()
            new[rows] = meant + added.reshape(meant.shape).to(hidden.device, hidden.dtype)
            return (new, *output[1:]) if isinstance(output, tuple) else new

        decoder_layers(base.model)[self._block(base.spec) - 1].register_forward_hook(after)
        return dataclasses.replace(base, inside=inside)

    def _config(self, spec: SubjectSpec) -> dict[str, Any]:
        path = Path(self.dictionary) / "cfg.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(config, dict):
                raise ValueError("no JSON object")
        except (OSError, ValueError) as error:
            raise refuse(
                spec, f"{path} cannot be read ({error}); expected a folder as sae-lens writes it, with cfg.json."
            ) from error
        if not (path.parent / "sae_weights.safetensors").is_file():
            raise refuse(spec, f"{path.parent} holds no sae_weights.safetensors; copy the whole folder.")
        return config

    def _block(self, spec: SubjectSpec) -> int:
        from audit.dictionaries.place import block_of_folder

        try:
            return self.layer or block_of_folder(Path(self.dictionary), "its dictionary")
        except AuditError as error:
            raise refuse(spec, str(error)) from error
