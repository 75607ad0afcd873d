"""Which dictionaries a case has: those it names, else one for a middle and one for a late block, trained here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.dictionaries.train import quiet_import, train
from audit.errors import CaseError, MissingDependency, NotApplicable
from audit.types import DictionarySpec, Split, digest_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.activations.states import WholeStates
    from audit.bench import Bench

TRAINED_ON: tuple[Split, ...] = ("forget", "retain", "holdout")
HELD_OUT = 10
"""One item in so many is kept out of training, to measure the dictionary on."""
CHUNK = 8192


@dataclass(frozen=True)
class Dictionary:
    """A sparse autoencoder and the block whose output it was made for (1 is the first block)."""

    layer: int
    sae: Any
    name: str
    digest: str

    @property
    def features(self) -> int:
        """Number of features."""
        return int(self.sae.cfg.d_sae)

    def encode(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """Feature activations [rows, width] -> [rows, features], 0 where a feature does not fire."""
        import torch

        with torch.inference_mode():
            chunks = np.array_split(states, -(-len(states) // CHUNK) or 1)
            return torch.cat([self.sae.encode(torch.from_numpy(c)) for c in chunks]).float().numpy()  # type: ignore[no-any-return]

    def decode(self, activations: NDArray[np.float32]) -> NDArray[np.float32]:
        """States from feature activations [rows, features] -> [rows, width]."""
        import torch

        with torch.inference_mode():
            return self.sae.decode(torch.from_numpy(activations)).float().numpy()  # type: ignore[no-any-return]

    @property
    def directions(self) -> NDArray[np.float32]:
        """What each feature adds to the state when its activation is one [features, width]."""
        weights: NDArray[np.float32] = self.sae.W_dec.detach().float().numpy()
        return weights


def dictionaries(bench: Bench, features: int = 0, k: int = 8, steps: int = 1500) -> list[Dictionary]:
    """The dictionaries of a case, one per block; the settings count only where one is trained here.

    `features = 0` means eight per dimension of the state. Raises CaseError when a named dictionary does not fit the
    original: another width, a hook point that is not a block's output, or a block whose tokens the pass did not keep.
    """
    if bench.case.dictionaries:
        return [_named(bench, spec) for spec in bench.case.dictionaries]
    layers = bench.whole("original", "forget").layers
    return [_trained(bench, layer, features, k, steps) for layer in layers]


def _named(bench: Bench, spec: DictionarySpec) -> Dictionary:
    sae = load_sae(spec)
    states = bench.whole("original", "forget")
    name = spec.path or f"{spec.release}, {spec.id}"
    if sae.cfg.d_in != states.width:
        raise CaseError(
            f"The dictionary {name} reads states of width {sae.cfg.d_in}, but the original's have {states.width}: "
            "it was made for another model."
        )
    return Dictionary(spec.layer, sae, name, _digest(sae))


def load_sae(spec: DictionarySpec) -> Any:
    """A sparse autoencoder from its folder, or by release and id; raises MissingDependency and CaseError."""
    quiet_import()
    try:
        from sae_lens import SAE
    except ImportError as error:
        raise MissingDependency("SAE features need sae-lens: pip install sae-lens.") from error
    try:
        if spec.path:
            return SAE.load_from_disk(spec.path, device="cpu").eval().requires_grad_(False)
        return SAE.from_pretrained(spec.release, spec.id, device="cpu").eval().requires_grad_(False)
    except Exception as error:  # sae-lens raises whatever its readers raise
        raise CaseError(
            f"{spec.path or spec.release + ', ' + spec.id} cannot be read as a dictionary of sae-lens "
            f"({type(error).__name__}: {str(error)[:200]}). Give a folder with cfg.json and sae_weights.safetensors, "
            "or a release and an id that sae-lens knows."
        ) from error


def _trained(bench: Bench, layer: int, features: int, k: int, steps: int) -> Dictionary:
    found = [bench.whole("original", split) for split in TRAINED_ON if bench.has(split)]
    subjects = [bench.fingerprint("original").id]
    return _train(bench, "dictionary", layer, found, subjects, (features, k, steps))


def shared_dictionary(bench: Bench, features: int = 0, k: int = 8, steps: int = 1500) -> Dictionary:
    """One dictionary for a late block, trained on the states of every subject of the audit together."""
    everyone = bench.everyone()
    found = [b.whole(role, split) for _, b, role in everyone for split in TRAINED_ON if b.has(split)]
    subjects = sorted({b.fingerprint(role).id for _, b, role in everyone})
    return _train(bench, "shared dictionary", max(found[0].layers), found, subjects, (features, k, steps))


def _train(
    bench: Bench, what: str, layer: int, found: list[WholeStates], subjects: list[str], size: tuple[int, int, int]
) -> Dictionary:
    features, k, steps = size[0] or 8 * found[0].width, size[1], size[2]
    if features < k or k < 1 or steps < 1:
        raise CaseError(f"A dictionary of {features} features, {k} at a time, {steps} steps cannot be trained.")
    corpora = {split: bench.corpus(split).digest for split in TRAINED_ON if bench.has(split)}
    key = digest_of([what, layer, features, k, steps, subjects, bench.seed, bench.case.template, corpora])

    def fill(folder: Path) -> None:
        states = np.concatenate([whole.at(layer)[training_tokens(whole)] for whole in found])
        if len(states) < features // 4:
            raise NotApplicable(
                f"{len(states)} tokens are too few to train a dictionary of {features} features; name one."
            )
        train(
            states, folder, features=features, k=k, steps=steps, seed=bench.torch_seed(what, layer),
            hook=f"blocks.{layer - 1}.hook_resid_post",
            progress=lambda share: bench.progress(share, f"training a {what} for block {layer}: {share:.0%}"),
        )  # fmt: skip

    folder = bench.cache.folder(key, fill)
    return Dictionary(layer, load_sae(DictionarySpec(layer, path=str(folder))), f"{what} trained here", key)


def training_tokens(whole: WholeStates) -> NDArray[np.bool_]:
    """Which tokens a dictionary is trained on: not an item in ten, and no first token, whose state is another kind."""
    return np.asarray((whole.sequence % HELD_OUT != 0) & (whole.place > 0))


def held_out_tokens(whole: WholeStates) -> NDArray[np.bool_]:
    """Which tokens it is measured on."""
    return np.asarray((whole.sequence % HELD_OUT == 0) & (whole.place > 0))


def _digest(sae: Any) -> str:
    import hashlib

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(sae.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
