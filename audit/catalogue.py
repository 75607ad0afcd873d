"""Table of contents: every evidence by id. An id is the path of its file under `audit/evidence/`.

A new metric is one file and one line here; flags, form, methods page, report, README table and contract tests follow.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Mapping
from typing import Any, cast

from audit.errors import CaseError, suggest
from audit.interop.cards import card
from audit.types import Evidence

CATALOGUE: dict[str, str] = {
    "behaviour.recall": "Recall",
    "behaviour.probability": "Probability",
    "behaviour.accuracy": "Accuracy",
    "behaviour.retrieval": "Retrieval",
    "behaviour.wasserstein": "Wasserstein",
    "behaviour.rouge": "RougeScores",
    "behaviour.truth_ratio": "TruthRatio",
    "behaviour.forget_quality": "ForgetQuality",
    "behaviour.extraction_strength": "ExtractionStrength",
    "behaviour.memorization": "Memorization",
    "behaviour.verbatim": "Verbatim",
    "behaviour.extraction_likelihood": "ExtractionLikelihood",
    "behaviour.familiarity": "Familiarity",
    "behaviour.choice": "Choice",
    "behaviour.paraphrase": "Paraphrase",
    "behaviour.refusal": "Refusal",
    "behaviour.fluency": "Fluency",
    "behaviour.guard": "Guard",
    "behaviour.recognition": "Recognition",
    "utility.retain": "Retain",
    "privacy.loss": "Loss",
    "privacy.zlib": "Zlib",
    "privacy.min_k": "MinK",
    "privacy.min_k_plus_plus": "MinKPlusPlus",
    "privacy.gradnorm": "GradNorm",
    "privacy.reference": "Reference",
    "privacy.svc": "SVC",
    "privacy.privleak": "PrivLeak",
    "utility.model_utility": "ModelUtility",
    "drift.cka": "CKA",
    "drift.map": "Map",
    "drift.neighbours": "Neighbours",
    "drift.rsa": "RSA",
    "drift.procrustes": "Procrustes",
    "drift.uniformity": "Uniformity",
    "drift.gap": "Gap",
    "drift.modality_gap": "ModalityGap",
    "drift.rank": "Rank",
    "drift.pca_shift": "PCAShift",
    "drift.fisher": "Fisher",
    "drift.clusters": "Clusters",
    "drift.salient": "Salient",
    "drift.positions": "Positions",
    "drift.towers": "Towers",
    "probes.linear": "Linear",
    "probes.truth": "Truth",
    "probes.transfer": "Transfer",
    "probes.knn": "KNN",
    "probes.few_shot": "FewShot",
    "probes.in_cluster": "InCluster",
    "probes.hard_negative": "HardNegative",
    "probes.mdl": "MDL",
    "probes.subspace": "Subspace",
    "probes.length": "Length",
    "sae.survival": "Survival",
    "sae.truth": "Truth",
    "sae.features": "Features",
    "sae.dictionary": "Fit",
    "sae.shared": "Shared",
    "sae.restore": "Restore",
    "sae.clamp": "Clamp",
    "attacks.relearn": "Relearn",
    "attacks.relearn_lora": "RelearnLora",
    "attacks.relearn_related": "RelearnRelated",
    "attacks.relearn_benign": "RelearnBenign",
    "attacks.quantization": "Quantization",
    "attacks.head_projection": "HeadProjection",
    "attacks.head_transplant": "HeadTransplant",
    "attacks.latent_search": "LatentSearch",
    "attacks.sampling": "Sampling",
    "attacks.prefix": "Prefix",
    "attacks.prompts": "Prompts",
    "attacks.in_context": "InContext",
    "attacks.soft_prompt": "SoftPrompt",
    "attacks.gcg": "GCG",
    "attacks.lens_differences": "LensDifferences",
    "attacks.answer_rank": "AnswerRank",
    "attacks.early_exit": "EarlyExit",
    "attacks.direction_ablation": "DirectionAblation",
    "attacks.pruning": "Pruning",
    "attacks.weight_noise": "WeightNoise",
    "attacks.contrast_decoding": "ContrastDecoding",
    "attacks.restore_layers": "RestoreLayers",
    "attacks.image_rephrase": "ImageRephrase",
    "attacks.image_projection": "ImageProjection",
    "concepts.weight_delta": "WeightDelta",
    "concepts.value_vectors": "ValueVectors",
    "concepts.transplant": "Transplant",
    "concepts.directions": "Directions",
    "concepts.patching": "Patching",
}


def check_id(id: str) -> None:
    """Raise CaseError, with a suggestion, for an id that is not in the catalogue: it cannot be measured here."""
    if id not in CATALOGUE:
        what = "can only be imported" if card(id) else "Unknown evidence"
        sentence = f'"{id}" {what}.' if card(id) else f'{what} "{id}".'
        raise CaseError(f"{sentence}{suggest(id, CATALOGUE)}")


def evidence_class(id: str) -> type[Evidence]:
    """The class of an evidence, or the card that stands for it where another tool measured the metric.

    Both have title, question, blind_to, formula, source, place, row and chart, so that whatever shows a finding asks
    here; only a class can measure. Raises CaseError with a suggestion for an unknown id.
    """
    imported = None if id in CATALOGUE else card(id)
    if imported is not None:
        return cast("type[Evidence]", imported)
    check_id(id)
    module = importlib.import_module(f"audit.evidence.{id}")
    return cast("type[Evidence]", getattr(module, CATALOGUE[id]))


def by_default() -> list[str]:
    """What an audit measures unless told otherwise: all but the evidence that is marked `optional`, for it is long."""
    return [id for id in CATALOGUE if not getattr(evidence_class(id), "optional", False)]


def settings_of(evidence: Evidence | type[Evidence]) -> dict[str, Any]:
    """The settings of an evidence, or their defaults when given the class."""
    if isinstance(evidence, type):
        evidence = evidence()
    return dataclasses.asdict(cast(Any, evidence))


def files_of(evidence: Evidence | type[Evidence]) -> tuple[str, ...]:
    """The settings of an evidence that name files; a class that has such also has `check_files`."""
    return tuple(getattr(evidence, "files", ()))


def make(id: str, settings: Mapping[str, Any] | None = None) -> Evidence:
    """An evidence with its settings; raises CaseError for a setting it does not have or of another type."""
    check_id(id)
    cls = evidence_class(id)
    fields = {f.name: f for f in dataclasses.fields(cast(Any, cls))}
    values: dict[str, Any] = {}
    for name, value in (settings or {}).items():
        if name not in fields:
            raise CaseError(f'Evidence "{id}" has no setting "{name}".{suggest(name, fields)}')
        values[name] = _coerce(id, name, value, fields[name].default)
    return cls(**values)


def _coerce(id: str, name: str, value: Any, default: Any) -> Any:
    """Accept what TOML and a form can hold for a setting of the default's type."""
    if isinstance(default, tuple) and isinstance(value, list):
        value = tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(default, tuple) and isinstance(value, tuple) and default:
        value = tuple(float(v) if type(v) is int and type(default[0]) is float else v for v in value)
        if any(type(v) not in {type(d) for d in default} for v in value):
            raise CaseError(
                f'Setting "{name}" of "{id}" is {list(value)!r}; expected a list such as {list(default)!r}.'
            )
    if default is not None and (type(value) is not type(default)):
        raise CaseError(f'Setting "{name}" of "{id}" is {value!r}; expected something such as {default!r}.')
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not 0 <= value < math.inf:
        raise CaseError(f'Setting "{name}" of "{id}" is {value!r}; expected a number from 0 up.')
    return value
