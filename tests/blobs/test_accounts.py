"""S3 accounts: made, shown, changed and deleted, and the objects that URLs name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from fhir_blob.blobs import ObjectKey
from fhir_blob.blobs.accounts import S3Accounts, open_accounts
from fhir_blob.blobs.secrets import Keys
from fhir_blob.errors import Conflict, Invalid, NotFound, Unavailable
from fhir_blob.settings import Settings
from fhir_blob.store import Blob
from fhir_blob.store.sql import SqlStore
from tests.services.s3 import S3

TENANT = "tests"
SECRET = "a-secret-that-must-not-be-seen"
AWS = {"access-key-id": "AKIDEXAMPLE", "secret-access-key": SECRET, "region": "eu-central-1"}
SETTINGS = Settings(s3_endpoint="http://127.0.0.1:8333", s3_bucket="files", s3_access_key_id="id")


@pytest.fixture
def accounts(store: SqlStore) -> S3Accounts:
    return open_accounts(SETTINGS, store, Keys(b"k" * 32))


def _in(account: str) -> Blob:
    return Blob("in-use", "b", 1, "available", account, "bucket", "", 1, 1)


def test_put_and_get(accounts: S3Accounts) -> None:
    """An account is answered as it was put, but for its secret."""
    answered, is_new = accounts.put(TENANT, "aws", {"resourceType": "AwsAccount", "id": "aws", **AWS})

    expected = {
        "resourceType": "AwsAccount",
        "id": "aws",
        "access-key-id": "AKIDEXAMPLE",
        "region": "eu-central-1",
    }
    assert (expected, True) == (answered, is_new)
    assert expected == accounts.get(TENANT, "aws")
    assert not accounts.put(TENANT, "aws", AWS)[1]


def test_secret_is_encrypted(accounts: S3Accounts, tmp_path: Path) -> None:
    """The database's files do not hold the secret."""
    accounts.put(TENANT, "aws", AWS)

    files = b"".join(path.read_bytes() for path in tmp_path.glob("metadata.sqlite*"))

    assert b"AKIDEXAMPLE" in files
    assert SECRET.encode() not in files


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"secret-access-key": 7}, 'AwsAccount: secret-access-key has to fit type "string".'),
        ({"region": SECRET}, 'AwsAccount: region has to fit pattern "^[a-z0-9-]{1,64}$".'),
        ({"host": SECRET + "/"}, 'AwsAccount: host has to fit pattern "^[A-Za-z0-9.:\\\\[\\\\]-]{1,255}$".'),
        ({"bucket": SECRET}, "AwsAccount: bucket is unknown."),
    ],
)
def test_invalid(accounts: S3Accounts, change: dict[str, Any], problem: str) -> None:
    """What is wrong is named, without any value: it might be the secret."""
    account = AWS | {"region": "eu-central-1"} | change
    if change == {"region": SECRET}:
        account["region"] = SECRET.upper()

    with pytest.raises(Invalid) as raised:
        accounts.put(TENANT, "aws", account)

    assert [problem] == [issue.diagnostics for issue in raised.value.issues]
    with pytest.raises(NotFound):
        accounts.get(TENANT, "aws")


def test_missing(accounts: S3Accounts) -> None:
    """What is missing is named, all of it at once."""
    with pytest.raises(Invalid) as raised:
        accounts.put(TENANT, "aws", {"region": "eu-central-1"})

    assert "AwsAccount: access-key-id, secret-access-key is missing." == raised.value.issues[0].diagnostics


def test_other_id(accounts: S3Accounts) -> None:
    """The body's id has to be the URL's."""
    with pytest.raises(Invalid, match="The body's id is 'gcp', but the URL's is 'aws'"):
        accounts.put(TENANT, "aws", AWS | {"id": "gcp"})


def test_default_is_the_servers(accounts: S3Accounts) -> None:
    """The account of the settings cannot be replaced."""
    with pytest.raises(Conflict):
        accounts.put(TENANT, "default", AWS)


def test_delete(accounts: S3Accounts) -> None:
    """A deleted account is answered once more, and not known any longer."""
    accounts.put(TENANT, "aws", AWS)

    answered = accounts.delete(TENANT, "aws")

    assert "aws" == answered["id"]
    for gone in (accounts.get, accounts.delete, accounts.store):
        with pytest.raises(NotFound):
            gone(TENANT, "aws")


def test_delete_in_use(accounts: S3Accounts, store: SqlStore) -> None:
    """An account stays while bytes are in it, until they are erased."""
    accounts.put(TENANT, "aws", AWS)
    store.write(TENANT, lambda transaction: transaction.put_blob(_in("aws")))

    with pytest.raises(Conflict):
        accounts.delete(TENANT, "aws")

    store.write(TENANT, lambda transaction: transaction.put_blob(_in("aws").with_(state="deleted")))
    assert "aws" == accounts.delete(TENANT, "aws")["id"]


def test_other_tenant(accounts: S3Accounts) -> None:
    """An account is known to its tenant alone."""
    accounts.put(TENANT, "aws", AWS)

    with pytest.raises(NotFound):
        accounts.store("another", "aws")
    assert accounts.locate("another", "https://files.s3.eu-central-1.amazonaws.com/a") == ()


def test_wrong_key(accounts: S3Accounts, store: SqlStore) -> None:
    """With another installation's key an account cannot be used, and the sentence says what to do."""
    accounts.put(TENANT, "aws", AWS)
    others = open_accounts(SETTINGS, store, Keys(b"x" * 32))

    with pytest.raises(Unavailable) as raised:
        others.store(TENANT, "aws")

    expected = (
        "The secret of an S3 account was encrypted with another key than the one in use: bring back"
        " FHIR_BLOB_SECRET_KEY or the file secret.key, or PUT the AwsAccount again."
    )
    assert expected == str(raised.value)
    assert "AKIDEXAMPLE" == others.get(TENANT, "aws")["access-key-id"]
    assert 1 == len(others.locate(TENANT, "https://files.s3.eu-central-1.amazonaws.com/a"))
    others.put(TENANT, "aws", AWS)
    assert "aws" == others.store(TENANT, "aws").account


def test_real_account(accounts: S3Accounts, s3: S3) -> None:
    """An account's URLs work where it points to; it is opened once, and anew when it was changed or made again."""
    document = {
        "access-key-id": s3.access_key,
        "secret-access-key": s3.secret_key,
        "region": "us-east-1",
        "host": s3.endpoint.removeprefix("http://"),
        "path-style": True,
        "use-ssl": False,
    }
    accounts.put(TENANT, "wrong", document | {"secret-access-key": "wrong"})
    wrong = accounts.store(TENANT, "wrong")
    accounts.delete(TENANT, "wrong")
    accounts.put(TENANT, "wrong", document)
    made = accounts.store(TENANT, "wrong")
    made.bucket = "accounts"
    made.ensure_bucket(())

    signed = made.sign("PUT", "accounts", "file", now=time.time_ns() // 1000, seconds=60)

    assert 200 == requests.put(signed.url, data=b"x", timeout=10).status_code
    assert made is accounts.store(TENANT, "wrong") is not wrong
    assert (ObjectKey("wrong", "accounts", "file"),) == accounts.locate(TENANT, signed.url)
    made.close()


@pytest.fixture
def known(accounts: S3Accounts) -> Iterator[S3Accounts]:
    """Accounts of each addressing style."""
    accounts.put(TENANT, "aws", AWS)
    accounts.put(TENANT, "path", AWS | {"host": "minio.example.org:9000", "path-style": True})
    accounts.put(TENANT, "virtual", AWS | {"host": "objects.example.org", "use-ssl": False})
    yield accounts


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8333/files/a/b.pdf", ("default", "files", "a/b.pdf")),
        ("http://127.0.0.1:8333/files/a%20b+c%2Fd?X-Amz-Signature=1", ("default", "files", "a b+c/d")),
        ("https://minio.example.org:9000/files/a%C3%A4", ("path", "files", "aä")),
        ("https://MINIO.example.org:9000/files/A", ("path", "files", "A")),
        ("http://files.objects.example.org/a?X-Amz-Signature=1#x", ("virtual", "files", "a")),
        ("http://files.objects.example.org:80/a", ("virtual", "files", "a")),
        ("http://objects.example.org/files/a", ("virtual", "files", "a")),
        ("http://with.dots.objects.example.org/a", ("virtual", "with.dots", "a")),
        ("https://files.s3.eu-central-1.amazonaws.com/a", ("aws", "files", "a")),
        ("https://files.s3.eu-central-1.amazonaws.com:443/a", ("aws", "files", "a")),
        ("https://s3.eu-central-1.amazonaws.com/files/a", ("aws", "files", "a")),
        ("https://user@s3.eu-central-1.amazonaws.com/files/a", ("aws", "files", "a")),
        ("https://files.s3.eu-central-1.amazonaws.com/", None),
        ("https://files.s3.eu-central-1.amazonaws.com", None),
        ("http://127.0.0.1:8333/files", None),
        ("http://127.0.0.1:8333/files/", None),
        ("http://127.0.0.1:8334/files/a", None),
        ("https://evil-objects.example.org/files/a", None),
        ("https://example.org/files/a", None),
        ("s3://files/a", None),
        ("Binary/1", None),
        ("http://[bad/files/a", None),
        ("http://127.0.0.1:notaport/files/a", None),
        ("http:///files/a", None),
    ],
)
def test_locate(known: S3Accounts, url: str, expected: tuple[str, str, str] | None) -> None:
    """The object that a bare or signed URL names, in either style; None where it is nobody's."""
    found = known.locate(TENANT, url)

    assert (() if expected is None else (ObjectKey(*expected),)) == found


@pytest.mark.parametrize("key", ["a b/+%/ä.pdf", "a//b", "../a", "q?x=1#y"])
@pytest.mark.parametrize("account", ["default", "path", "virtual"])
def test_locate_signed(known: S3Accounts, account: str, key: str) -> None:
    """Whatever was signed is found again."""
    store = known.store(TENANT, account)
    signed = store.sign("GET", "files", key, now=0, seconds=1)

    assert (ObjectKey(account, "files", key),) == known.locate(TENANT, signed.url)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("s3.us-west-2.amazonaws.com/files", "files"),
        ("s3.amazonaws.com/files", "files"),
        ("files.s3.amazonaws.com", "files"),
        ("FILES.s3-us-west-2.amazonaws.com", "files"),
        ("with.dots.s3-us-west-2.amazonaws.com", "with.dots"),
        ("s3-us-west-2.amazonaws.com/files", "files"),
        ("files.s3.dualstack.us-west-2.amazonaws.com", "files"),
        ("s3.dualstack.us-west-2.amazonaws.com/files", "files"),
        ("files.s3-fips.us-west-2.amazonaws.com", "files"),
        ("files.s3-accelerate.amazonaws.com", "files"),
        ("files.s3-accelerate.dualstack.amazonaws.com", "files"),
        ("s3-bucket.s3.us-west-2.amazonaws.com", "s3-bucket"),
        ("files.s3.us-west-1.amazonaws.com", None),
        ("files.s3.us-west-2.amazonaws.com.cn", None),
        ("files.s3.us-west-2.amazonaws.com.example.org", None),
        ("files-s3.us-west-2.amazonaws.com", None),
        ("files.s3-website-us-west-2.amazonaws.com", None),
        ("ec2.us-west-2.amazonaws.com/files", None),
    ],
)
@pytest.mark.parametrize("own", ["", "s3.us-west-2.amazonaws.com", "s3.amazonaws.com", "s3-us-west-2.amazonaws.com"])
def test_locate_on_aws(accounts: S3Accounts, own: str, host: str, expected: str | None) -> None:
    """AWS has many names for one S3: an account of any of them is found by all, but those of another region."""
    accounts.put(TENANT, "aws", AWS | {"region": "us-west-2"} | ({"host": own} if own else {}))

    found = accounts.locate(TENANT, f"https://{host}/a/b.png?X-Amz-Signature=1")

    assert (() if expected is None else (ObjectKey("aws", expected, "a/b.png"),)) == found


def test_locate_among_many(known: S3Accounts) -> None:
    """Where several accounts lead to the same place, each of them may have the object."""
    known.put(TENANT, "second", AWS)

    found = known.locate(TENANT, "https://files.s3.amazonaws.com/a")

    assert (ObjectKey("aws", "files", "a"), ObjectKey("second", "files", "a")) == found
