"""The ledger: one chain of lines a run, which nothing may alter, take out or reorder."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
REFUSAL = "the ledger is append-only"
ORDER = "the ledger goes on at its end only"
FOLLOWS = """new.sequence <> 1 + coalesce((SELECT max(sequence) FROM ledger WHERE run = new.run), 0)
  OR new.previous <> coalesce((SELECT hash FROM ledger WHERE run = new.run ORDER BY sequence DESC LIMIT 1), '{first}')
"""


def upgrade() -> None:
    op.create_table(
        "ledger",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
    )
    wrong = FOLLOWS.format(first="0" * 64)
    for statement in _sqlite(wrong) if op.get_bind().dialect.name == "sqlite" else _postgresql(wrong):
        op.execute(sa.text(statement.replace(":", r"\:")))


def _sqlite(wrong: str) -> list[str]:
    # Before an insert too: REPLACE takes a row out without asking the trigger for that.
    return [
        f"CREATE TRIGGER ledger_{event} BEFORE {event} ON ledger BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        for event in ("update", "delete")
    ] + [f"CREATE TRIGGER ledger_insert BEFORE INSERT ON ledger WHEN {wrong} BEGIN SELECT RAISE(ABORT, '{ORDER}'); END"]


def _postgresql(wrong: str) -> list[str]:
    return [
        "CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$",
        "CREATE FUNCTION ledger_follow() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN IF {wrong} THEN RAISE EXCEPTION '{ORDER}'; END IF; RETURN new; END $$",
        "CREATE TRIGGER ledger_change BEFORE UPDATE OR DELETE ON ledger FOR EACH ROW EXECUTE FUNCTION ledger_refuse()",
        "CREATE TRIGGER ledger_truncate BEFORE TRUNCATE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()",
        "CREATE TRIGGER ledger_insert BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION ledger_follow()",
    ]
