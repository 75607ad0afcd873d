"""A process that writes into a ledger: `python -m tests.review.writer RUN NAME COUNT [PAUSE_FILE]`.

With a pause file it touches that file after its line was inserted and before the transaction ends, and waits to be
killed there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from audit.policy import load_policy
from audit.review import ledger
from audit.review.roles import Identity, Role
from audit.store import open_run

run, policy = open_run(sys.argv[1]), load_policy()
who = Identity(sys.argv[2], Role.AUDITOR, "test")

if len(sys.argv) > 4:
    insert = ledger._insert

    def insert_and_wait(*arguments: object) -> None:
        insert(*arguments)  # type: ignore[arg-type]
        Path(sys.argv[4]).touch()
        time.sleep(600)

    ledger._insert = insert_and_wait  # type: ignore[assignment]

for number in range(int(sys.argv[3])):
    ledger.write(run, who, "comment", policy, candidate="npo", text=f"{sys.argv[2]} {number}")
