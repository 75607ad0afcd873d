"""Make sure that a PostgreSQL server is there for the tests: `python tests/postgres.py`; and start one of their own.

From the distribution where the user may install, else one clear sentence and exit code 1.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NOBODY = ("postgres", "nobody")
"""Who runs the server where the tests run as root, which PostgreSQL refuses."""


def binaries() -> Path | None:
    """The folder with initdb and postgres, or None."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -float(p.parent.name))
    known = [*([Path(found).resolve().parent] if found else []), *folders]
    return next((path for path in known if (path / "initdb").exists() and (path / "postgres").exists()), None)


def install() -> bool:
    """Try the distribution's package."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (sudo and not shutil.which("sudo")):
        return False
    quiet = {"stdout": subprocess.DEVNULL}
    subprocess.run([*sudo, "apt-get", "update", "-q"], check=False, **quiet)
    command = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q", "postgresql"]
    return subprocess.run(command, check=False, **quiet).returncode == 0 and binaries() is not None


@contextmanager
def server() -> Iterator[str]:
    """A server of our own on a socket in a temporary folder; gives the URL of its database."""
    where = binaries()
    assert where is not None
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path may have 107 characters
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = next(entry for entry in pwd.getpwall() if entry.pw_name in NOBODY)
        os.chown(folder, account.pw_uid, account.pw_gid)
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder, **user}
    data = folder / "data"
    subprocess.run([where / "initdb", "-D", data, "-U", "audit", "-A", "trust", "-E", "UTF8", "--no-sync"], **quiet)
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    control = [where / "pg_ctl", "-D", data, "-l", folder / "log", "-w"]
    try:
        subprocess.run([*control, "-o", options, "start"], **quiet)
        yield f"postgresql://audit@/postgres?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **{**quiet, "check": False})
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if not binaries() and not install():
        sys.exit(
            "No PostgreSQL for the tests: none is installed and the distribution's package could not be installed (are "
            "you root, or is sudo set up?). Install it; no service needs to run."
        )
