"""Bringing a database to this server's schema, by the migrations beside this file.

Several servers that start at once do it once. A schema newer than the server is refused. alembic is
imported only where there is something to do, since every start comes through here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fhir_blob.errors import Unavailable
from fhir_blob.settings import SettingsError
from fhir_blob.store.engine import PostgresqlDatabase, SqliteDatabase, connect

# The newest file in migrations/versions, and those before it.
REVISIONS = ("0001", "0002")
_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 4_201_734_201


def migrate(url: str) -> None:
    """Make or bring up to date the schema; SettingsError where it is newer than this server."""
    database = connect(url, statement_timeout=600)
    try:
        with _alone(database):  # even to look: of two that make SQLite's file a WAL at once, one finds it locked
            if not _is_current(database):
                _upgrade(url)
    finally:
        database.close()


def _is_current(database: SqliteDatabase | PostgresqlDatabase) -> bool:
    found = _revision(database)
    if found and found not in REVISIONS:
        raise SettingsError(
            f"The database has the schema {found!r}, which is newer than this server's {REVISIONS[-1]!r}:"
            " start the release that made it, or a later one."
        )
    return found == REVISIONS[-1]


def _revision(database: SqliteDatabase | PostgresqlDatabase) -> str:
    catalogue = (
        "SELECT 1 FROM pg_tables WHERE tablename = 'alembic_version' AND schemaname = current_schema()"
        if database.is_postgresql
        else "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
    )
    with database.session() as session:
        if session.execute(catalogue).fetchone() is None:
            return ""
        row = session.execute("SELECT version_num FROM alembic_version").fetchone()
        return "" if row is None else str(row[0])


@contextmanager
def _alone(database: SqliteDatabase | PostgresqlDatabase) -> Iterator[None]:
    """No other server migrates meanwhile."""
    if isinstance(database, SqliteDatabase):
        with database.exclusive():
            yield
        return
    with database.session() as session:
        session.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        try:
            yield
        finally:
            session.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def _upgrade(url: str) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import OperationalError

    parsed = make_url(url.replace("postgres://", "postgresql://", 1))
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = create_engine(parsed)
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        raise Unavailable("The metadata store is out of reach.") from error
    finally:
        engine.dispose()
