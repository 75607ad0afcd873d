"""Where ledger and index are kept: SQLite beside the runs, or PostgreSQL by URL in PALIMPSEST_DATABASE.

The schema is brought up to date when a database is opened to be written. A transaction that writes holds the one lock
of its ledger from its first statement, so that two writers follow each other, in one process or in two.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import AuditError, StoreError
from audit.files import storage_error

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

VARIABLE = "PALIMPSEST_DATABASE"
FILE = "palimpsest.db"
SQLITE = "sqlite:///"
REVISION = "0002"
"""The newest revision in `migrations/`."""
MIGRATIONS = Path(__file__).parent / "migrations"
WAIT_S = 30
_ready: set[str] = set()


def runs_root() -> Path:
    """The folder that holds the runs: PALIMPSEST_RUNS, or `runs` where the program was started."""
    return Path(os.environ.get("PALIMPSEST_RUNS", "runs"))


def url_for(folder: Path) -> str:
    """The URL of the database for the runs in a folder."""
    given = os.environ.get(VARIABLE, "").strip()
    for prefix in ("postgresql://", "postgres://"):
        if given.startswith(prefix):
            return "postgresql+psycopg://" + given.removeprefix(prefix)
    return given or f"{SQLITE}{folder.resolve() / FILE}"


@contextmanager
def reading(url: str) -> Iterator[Connection | None]:
    """A transaction that reads; None where nothing was ever written. Raises StoreError."""
    if not _there(url):
        yield None
        return
    with _sentences(url):
        engine = _engine(url)
        with engine.connect() as connection:
            known = _revision(connection)
            if known is None:
                yield None
                return
            if known == REVISION:
                yield connection
                return
        with writing(url) as connection:  # an older schema is brought up to date first
            yield connection


@contextmanager
def writing(url: str, lock: str = "") -> Iterator[Connection]:
    """A transaction that writes, alone with `lock`; undone when anything is raised. Raises StoreError."""
    from sqlalchemy import text

    with _sentences(url):
        engine = _engine(url)
        if url not in _ready or not _there(url):
            if url.startswith(SQLITE):
                Path(url.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
            _migrate(engine)
            _ready.add(url)
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))"), {"lock": lock})
            yield connection


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to a revision."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _migrate(engine: Engine) -> None:
    """Bring the schema up to date, alone."""
    from sqlalchemy import text

    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('palimpsest schema', 0))"))
        if _revision(connection) != REVISION:
            upgrade(connection)


def _revision(connection: Connection) -> str | None:
    """The revision of the schema; None for an empty database."""
    from sqlalchemy import inspect, text

    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found is not None and not any(MIGRATIONS.glob(f"versions/{found}_*.py")):
        raise StoreError(f"The database is of revision {found}, which this version does not know; use a newer one.")
    return found


def _there(url: str) -> bool:
    """Whether there is a database; asking SQLite itself would create the file."""
    return not url.startswith(SQLITE) or Path(url.removeprefix(SQLITE)).exists()


@lru_cache(maxsize=64)
def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine, event
    from sqlalchemy.engine import make_url
    from sqlalchemy.pool import NullPool

    kind = make_url(url).get_backend_name()
    if kind == "postgresql":
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    if kind != "sqlite":
        raise StoreError(f"{VARIABLE} names a database of the kind {kind}; expected sqlite or postgresql.")
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": WAIT_S})

    # The driver would begin a transaction only before the first write, after what it rests on was read.
    @event.listens_for(engine, "connect")
    def _no_transaction_by_itself(raw: Any, _: Any) -> None:
        raw.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def _sentences(url: str) -> Iterator[None]:
    """What goes wrong in a database, as one sentence without the password."""
    try:
        yield
    except AuditError:
        raise
    except OSError as error:
        raise storage_error(error, Path(url.removeprefix(SQLITE) if url.startswith(SQLITE) else VARIABLE)) from error
    except Exception as error:
        if sentence := _in_words(url, error):
            raise StoreError(sentence) from error
        raise


def _in_words(url: str, error: Exception) -> str:
    from alembic.util.exc import CommandError
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    if isinstance(error, ArgumentError):
        return f"{VARIABLE} is not the URL of a database; expected postgresql://user:password@host/name or sqlite:///x."
    if isinstance(error, (SQLAlchemyError, CommandError)):
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        name = make_url(url).render_as_string(hide_password=True)
        return f"The database of reviews, {name}, could not be read or written: {reason}"
    return ""
