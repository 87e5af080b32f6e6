"""Real S3 servers: the embedded SeaweedFS and MinIO, one of each for the run."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from fhir_blob.blobs.s3 import S3BlobStore
from fhir_blob.blobs.seaweedfs import EmbeddedS3
from fhir_blob.blobs.signing import Credentials
from fhir_blob.errors import FhirError
from tests import services
from tests.services.server import free_port

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class S3:
    """A running S3 server and the keys that it takes."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.access_key, self.secret_key)

    def store(self, bucket: str, **changes: Any) -> S3BlobStore:
        """A BlobStore on it."""
        given = {
            "endpoint": self.endpoint,
            "public_endpoint": "",
            "region": REGION,
            "credentials": self.credentials,
            "path_style": True,
            "timeout": 10.0,
        }
        return S3BlobStore("default", bucket=bucket, **{**given, **changes})

    def client(self) -> S3Client:
        """boto3's own client, to look at what the BlobStore did."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """The embedded S3, as `serve` starts it."""
    embedded = EmbeddedS3(tmp_path_factory.mktemp("seaweedfs"), free_port())
    embedded.start()
    try:
        yield ready(S3("seaweedfs", embedded.endpoint, embedded.access_key, embedded.secret_key))
    finally:
        embedded.stop()


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """MinIO, from $MINIO or from where `make services` puts it."""
    given = os.environ.get("MINIO")
    program = Path(given) if given else services.minio()
    folder, address = tmp_path_factory.mktemp("minio"), f"127.0.0.1:{free_port()}"
    server = S3("minio", f"http://{address}", "tests-access", "tests-secret")
    quiet = {"MINIO_BROWSER": "off", "MINIO_UPDATE": "off", "MINIO_CALLHOME_ENABLE": "off"}
    keys = {"MINIO_ROOT_USER": server.access_key, "MINIO_ROOT_PASSWORD": server.secret_key}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "server", folder / "data", "--address", address, "--quiet"],
            env=os.environ | quiet | keys,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield ready(server)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session", params=["seaweedfs", "minio"])
def s3(request: pytest.FixtureRequest) -> S3:
    """Each S3 server in turn."""
    server: S3 = request.getfixturevalue(request.param)
    return server


def ready(server: S3) -> S3:
    """The server, once an authenticated PUT has succeeded."""
    until = time.monotonic() + START_SECONDS
    with closing(server.store("ready", timeout=2.0)) as store:
        while True:
            try:
                store.ensure_bucket(())
                store.put("ready", "probe", (b"1",), size=1, content_type="text/plain")
                return server
            except FhirError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
