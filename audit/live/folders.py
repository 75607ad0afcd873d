"""Where watched attacks lie, and how a page starts one: few at once, old ones make room."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from audit import jobs
from audit.errors import StoreError
from audit.files import storage_error
from audit.progress import FILE

FOLDER = ".attacks"
"""Below the runs; its name begins with a dot, so that no run can have it."""
AT_ONCE = 2
MOST = 40


def known_attacks(runs: Path) -> dict[str, Path]:
    """Every watched attack by its id, the newest first."""
    root = runs / FOLDER
    found = [path for path in (root.iterdir() if root.is_dir() else []) if (path / FILE).is_file()]
    return {path.name: path for path in sorted(found, key=lambda path: path.name, reverse=True)}


def start_attack(
    runs: Path, case_file: Path, candidate: str, *, steps: int, lr: float, facts: int, every: int, seed: int
) -> str:
    """Start an attack in a process of its own and return its id; StoreError when too many are on their way."""
    known = known_attacks(runs)
    running = [id for id, folder in known.items() if jobs.state(folder).state == "running"]
    if len(running) >= AT_ONCE:
        raise StoreError(
            f"{len(running)} attacks are running ({', '.join(running)}): wait for one, or cancel it on its page."
        )
    for id in [id for id in known if id not in running][MOST:]:
        shutil.rmtree(known[id], ignore_errors=True)
    id = _free(runs / FOLDER, f"{time.strftime('%Y%m%d-%H%M%S')}-{candidate}")
    out = runs / FOLDER / id
    arguments = ["attack", str(case_file.resolve()), "--candidate", candidate, "--out", str(out.resolve())]
    for name, value in (("steps", steps), ("lr", lr), ("facts", facts), ("every", every), ("seed", seed)):
        arguments += [f"--{name}", str(value)]
    jobs.launch(arguments, case_file, out)
    return id


def _free(root: Path, wanted: str) -> str:
    """A name that no folder has yet; it is taken by making the folder."""
    for place in range(100):
        name = f"{wanted}-{place}" if place else wanted
        try:
            (root / name).mkdir(parents=True)
            return name
        except FileExistsError:
            continue
        except OSError as error:
            raise storage_error(error, root / name) from error
    raise StoreError(f"{root / wanted} is there a hundred times already.")
