"""How an encoder turns texts and images into vectors, read from its files and settings; no model is loaded here.

Three kinds: text encoders (of BERT's kind, or a sentence-transformers folder), two towers (an image and a text encoder
with one space of vectors, as CLIP), and language models whose last token's state after a recorded prompt is the vector
of a text. All that changes a vector besides the weights (pooling, prompts, similarity, temperature) is part of what
names the subject: another prompt alone moves every vector.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from audit.errors import SubjectError, suggest
from audit.subjects.adapter import base_of
from audit.subjects.dense import activation_of
from audit.subjects.files import folder_of, is_adapter, read_object
from audit.subjects.settings import loader_settings
from audit.types import SubjectSpec, digest_of

Kind = Literal["text", "two towers", "prompted"]
TEXT_TYPES = frozenset(
    {"bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "electra", "deberta-v2", "modernbert"}
)
"""Model types of transformers that read a text in both directions."""
TOWER_TYPES = frozenset({"clip", "siglip"})
POOLINGS = ("mean", "cls", "max", "lasttoken", "weightedmean")
FLAGS = {
    "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max", "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean", "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}  # fmt: skip
"""What 1_Pooling/config.json calls them; the mean over the root of the length is the mean once lengths are one."""
MODULES, DENSE = "modules.json", "Dense"
ORDER = ("Transformer", "Pooling", DENSE, "Normalize")
"""The modules of a sentence-transformers folder that are known here, as they follow each other."""
SENTENCE = ("config_sentence_transformers.json", "sentence_bert_config.json")
SCALE = 20.0
"""One over the temperature of text encoders, which keep none: 0.05 as in SimCSE (Gao et al. 2021), and the scale of
sentence-transformers' losses."""
SCALES = {"cosine": SCALE, "dot": 1.0}
"""Similarities by their name in sentence-transformers, with that scale; what is trained on inner products has none."""
TEXT = "{text}"


@dataclass(frozen=True)
class Encoding:
    """From a text or an image to a vector, and from two vectors to a score."""

    kind: Kind
    pooling: tuple[str, ...] = ()
    """Names among POOLINGS, joined where there are several; two towers pool by themselves."""
    similarity: str = "cosine"
    scale: float | None = SCALE
    """Scores are multiplied by it, 1 over the temperature; None: by what the model itself has learnt."""
    query: str = TEXT
    """What an item's prompt is put into."""
    answer: str = TEXT
    """What an answer is put into."""
    longest: int | None = None
    """Tokens that it was made to read, where its folder says so."""
    lower: bool = False
    """Texts are put into small letters first."""
    dense: tuple[str, ...] = ()
    """Activations of the linear layers behind the pooling, in their order."""

    @property
    def digest(self) -> str:
        """Hash of everything that it says."""
        return digest_of(dataclasses.asdict(self))

    @property
    def words(self) -> str:
        """In words, for whoever reads the report."""
        if self.kind == "two towers":
            return "an image tower and a text tower, cosine times the learnt scale"
        prompt = f", after the prompt {self.query}" if self.query != TEXT else ""
        after = "".join(f", a linear layer ({name})" for name in self.dense)
        return f"pooling {' and '.join(self.pooling)}{after}, {self.similarity} times {self.scale:g}{prompt}"


def kind_of(spec: SubjectSpec) -> Kind | None:
    """Which kind of encoder a subject is; None for what is no encoder. Nothing is raised for a broken folder."""
    try:
        found = _encoder_in(model_folder(spec))
        if found is None and (folder_of(spec) / MODULES).is_file():
            found = "text"
        return "prompted" if loader_settings(spec).embedding_prompt and found is None else found
    except SubjectError:
        return None  # whoever reads the folder for good says what is wrong with it


def model_folder(spec: SubjectSpec) -> Path:
    """The folder with the config of the whole model: a checkpoint's own, an adapter's base's."""
    folder = folder_of(spec)
    return folder_of(base_of(spec, folder)) if is_adapter(folder) else folder


def modules_folder(spec: SubjectSpec) -> Path | None:
    """The folder with the modules of sentence-transformers: an adapter's own or its base's; None where none has any."""
    return next((place for place in (folder_of(spec), model_folder(spec)) if (place / MODULES).is_file()), None)


def dense_folders(spec: SubjectSpec) -> tuple[Path, ...]:
    """The folders of the linear layers behind a text encoder's pooling, in their order; SubjectError as encoding_of."""
    place = modules_folder(spec) if kind_of(spec) == "text" else None
    return () if place is None else tuple(place / path for kind, path in _modules(spec.name, place) if kind == DENSE)


def _encoder_in(folder: Path) -> Kind | None:
    config = _json(folder / "config.json")
    type_, names = config.get("model_type"), [str(name) for name in config.get("architectures") or ()]
    whole = any(name.endswith(("Model", "ForMaskedLM", "ForPreTraining")) for name in names)
    if type_ in TOWER_TYPES and (whole or not names):
        return "two towers"
    if (folder / MODULES).is_file() or (type_ in TEXT_TYPES and (whole or not names)):
        return "text"
    return None


def encoding_of(spec: SubjectSpec) -> Encoding:
    """How a subject encodes, from its folder and settings; raises SubjectError for what is unknown or contradicts."""
    kind, settings = kind_of(spec), loader_settings(spec)
    prompt = settings.embedding_prompt
    if prompt is not None:
        check_prompt(prompt, spec.name)
    if kind == "two towers":
        if prompt or settings.pooling:
            raise SubjectError(
                f"{spec.name} has an image and a text tower, which pool by themselves; leave pooling and "
                "embedding_prompt out, and write captions as answers."
            )
        return Encoding(kind, scale=None if settings.temperature is None else 1 / settings.temperature)
    place = modules_folder(spec)
    found = Encoding(kind or "text", ("mean",)) if place is None else _sentence_folder(spec.name, place)
    if kind == "prompted":
        found = Encoding("prompted", ("lasttoken",))
    if settings.pooling:
        _known(settings.pooling, f'Setting "pooling" of subject "{spec.name}"')
        found = dataclasses.replace(found, pooling=(settings.pooling,))
    if settings.temperature is not None:
        found = dataclasses.replace(found, scale=1 / settings.temperature)
    return dataclasses.replace(found, query=prompt, answer=prompt) if prompt else found


def check_prompt(prompt: str, name: str) -> None:
    """Raise SubjectError for an embedding prompt that does not say where the text goes."""
    if TEXT not in prompt:
        raise SubjectError(
            f"{name}: the embedding_prompt {prompt!r:.80} has no {TEXT}; write where the text goes, for example "
            '\'This sentence: "{text}" means in one word:"\'.'
        )


def _sentence_folder(name: str, folder: Path) -> Encoding:
    """What a sentence-transformers folder says of its modules, pooling, prompts and similarity."""
    parts = _modules(name, folder)
    place = next((path for kind, path in parts if kind == "Pooling"), None)
    if place is None:
        raise SubjectError(f"{name}: {folder / MODULES} names no Pooling, so its vectors are not known.")
    about, reading = (_json(folder / file) for file in SENTENCE)
    similarity = str(about.get("similarity_fn_name") or "cosine")
    if similarity not in SCALES:
        raise SubjectError(f'{name}: the similarity "{similarity}" is not known here; known are {", ".join(SCALES)}.')
    prompts = {key: str(text) + TEXT for key, text in (about.get("prompts") or {}).items()}
    usual = prompts.get(str(about.get("default_prompt_name")), TEXT)
    return Encoding(
        "text", _pooling(name, folder / place / "config.json"), similarity, SCALES[similarity],
        query=prompts.get("query", usual),
        answer=next((prompts[key] for key in ("document", "passage", "corpus") if key in prompts), usual),
        longest=reading.get("max_seq_length"), lower=bool(reading.get("do_lower_case")),
        dense=tuple(activation_of(folder / path, name) for kind, path in parts if kind == DENSE),
    )  # fmt: skip


def _modules(name: str, folder: Path) -> list[tuple[str, str]]:
    """Kind and folder of every module, in their order; raises SubjectError for a kind or an order that is unknown."""
    try:
        modules = json.loads((folder / MODULES).read_text(encoding="utf-8"))
        parts = [(str(module["type"]).rpartition(".")[2], str(module.get("path") or "")) for module in modules]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SubjectError(
            f"{name}: {folder / MODULES} is no list of modules ({error}); save the model again."
        ) from None
    strange = next((kind for kind, _ in parts if kind not in ORDER), None)
    if strange is not None:
        raise SubjectError(
            f"{name}: {folder / MODULES} has a module {strange}, which is not known here; known are a Transformer, "
            "Pooling, Dense and Normalize."
        )
    places = [ORDER.index(kind) for kind, _ in parts]
    if places != sorted(places):
        raise SubjectError(
            f"{name}: {folder / MODULES} has its modules in the order {', '.join(kind for kind, _ in parts)}; only "
            f"{', '.join(ORDER)} is known here."
        )
    if ("Transformer", "") not in parts:
        raise SubjectError(
            f"{name}: its transformer does not lie in {folder} itself; save the model again with a current version of "
            "sentence-transformers."
        )
    return parts


def _pooling(name: str, path: Path) -> tuple[str, ...]:
    config = read_object(path, name)
    named = config.get("pooling_mode")
    chosen = [named] if isinstance(named, str) else list(named or ())
    chosen += [word for flag, word in FLAGS.items() if config.get(flag)]
    others = [key for key, on in config.items() if key.startswith("pooling_mode_") and on and key not in FLAGS]
    if others or not chosen:
        raise SubjectError(
            f"{name}: {path} names {others[0] if others else 'no pooling'}; known are {', '.join(FLAGS)}."
        )
    for word in chosen:
        _known(word, f"{name}: the pooling in {path}")
    return tuple(dict.fromkeys(chosen))


def _known(pooling: str, what: str) -> None:
    if pooling not in POOLINGS:
        raise SubjectError(f'{what} is "{pooling}".{suggest(pooling, POOLINGS)}')


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
