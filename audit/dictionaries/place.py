"""The block whose output a dictionary reads, found without loading it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from audit.errors import CaseError

POST = re.compile(r"(?:blocks|layers|h)\.(\d+)(?:\.hook_resid_post)?")
PRE = re.compile(r"(?:blocks|layers|h)\.([1-9]\d*)\.hook_resid_pre")


def block_of_folder(folder: Path, name: str) -> int:
    """The block that the config of a dictionary on disk names, from 1; CaseError when it names no block's output."""
    try:
        config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CaseError(
            f"{name} is {folder}, which holds no readable cfg.json ({error}); expected a folder as sae-lens writes it, "
            "with cfg.json and sae_weights.safetensors."
        ) from error
    config = config if isinstance(config, dict) else {}
    return block_of((config.get("metadata") or {}).get("hook_name") or config.get("hook_name") or "", name)


def block_of(hook: str, name: str) -> int:
    """1 for `blocks.0.hook_resid_post` and for `blocks.1.hook_resid_pre`; CaseError for any other point."""
    before, after = PRE.fullmatch(hook), POST.fullmatch(hook)
    if before:
        return int(before[1])
    if after:
        return int(after[1]) + 1
    raise CaseError(
        f'{name} was made for the hook point "{hook or "unknown"}"; only outputs of blocks are read '
        "(blocks.N.hook_resid_post). If it reads one, give that block as layer in the case file, counted from 1."
    )
