"""What the tests of bytes share: an empty database, a bucket, and a life cycle on both."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fhir_blob.blobs.s3 import S3BlobStore
from fhir_blob.store.sql import SqlStore, migrate, open_store
from tests.blobs.world import BUCKET, World
from tests.services.s3 import S3

MakeWorld = Callable[..., World]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its schema; copied, since making it takes longer than most tests."""
    path = tmp_path_factory.mktemp("schema") / "metadata.sqlite"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def store(empty_database: Path, tmp_path: Path) -> Iterator[SqlStore]:
    path = tmp_path / "metadata.sqlite"
    shutil.copy(empty_database, path)
    with closing(open_store(f"sqlite:///{path}", statement_timeout=30)) as store:
        yield store


@pytest.fixture(scope="session")
def life_bucket(seaweedfs: S3) -> Iterator[S3BlobStore]:
    with closing(seaweedfs.store(BUCKET)) as objects:
        objects.ensure_bucket(())
        yield objects


@pytest.fixture(scope="session")
def any_bucket(s3: S3) -> Iterator[S3BlobStore]:
    with closing(s3.store(BUCKET)) as objects:
        objects.ensure_bucket(())
        yield objects


@pytest.fixture
def world(store: SqlStore, any_bucket: S3BlobStore) -> World:
    """On each S3 server in turn."""
    return World(store, any_bucket)


@pytest.fixture
def make_world(empty_database: Path, tmp_path: Path, life_bucket: S3BlobStore) -> Iterator[MakeWorld]:
    """`make_world(**settings)`: one after the other, each with an empty database, on SeaweedFS alone."""
    made: list[SqlStore] = []

    def make(**settings: Any) -> World:
        path = tmp_path / f"{len(made)}.sqlite"
        shutil.copy(empty_database, path)
        made.append(open_store(f"sqlite:///{path}", statement_timeout=30))
        return World(made[-1], life_bucket, **settings)

    yield make
    for store in made:
        store.close()
