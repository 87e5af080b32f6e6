"""The tables of the metadata store; migrations/ makes the same in a database.

Times are integers, microseconds since 1970 UTC. Every table carries the tenant.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

# SQLite gives a rowid alias only to INTEGER, PostgreSQL needs 64 bits.
_serial = BigInteger().with_variant(Integer, "sqlite")


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


def _sorted_text(name: str) -> Column[str]:
    """Text in the order of its code points on every database, so that an index finds what begins with a text."""
    return Column(name, Text().with_variant(Text(collation="C"), "postgresql"), nullable=False)


def _int(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


# Append-only: every version of every resource, in the order of seq. `body` is the resource as JSON
# bytes with id and meta, empty where the version is a deletion; `slots` says where attachments stand
# in it (see fhir.attachments); `xid` is PostgreSQL's transaction id, since seq is not commit order there.
resource_version = Table(
    "resource_version",
    metadata,
    Column("seq", _serial, primary_key=True, autoincrement=True),
    _text("tenant"),
    _text("type"),
    _text("id"),
    _int("version"),
    _int("last_updated"),
    _text("method"),
    Column("body", LargeBinary, nullable=False),
    Column("slots", LargeBinary, nullable=True),
    _int("xid", nullable=True),
    UniqueConstraint("tenant", "type", "id", "version"),
    Index("resource_version_by_type", "tenant", "type", "seq"),
)

# The current version of each id; compare-and-set on `version` makes concurrent writes linear.
# `rid` is the short name of the resource in the index tables, and the default order of a search.
resource = Table(
    "resource",
    metadata,
    Column("rid", _serial, primary_key=True, autoincrement=True),
    _text("tenant"),
    _text("type"),
    _text("id"),
    _int("version"),
    _int("last_updated"),
    _int("deleted"),  # 0 or 1
    _int("seq"),
    UniqueConstraint("tenant", "type", "id"),
    Index("resource_by_type", "tenant", "type", "deleted", "rid"),
    Index("resource_by_time", "tenant", "type", "deleted", "last_updated", "rid"),
)


def _index_table(
    name: str, *values: Column[str] | Column[int] | Column[float], by: tuple[str, ...], then: tuple[str, ...] = ()
) -> Table:
    """An index table: (rid, type, param, grp) and the value; `grp` joins the components of a composite.

    What equals in `by` stands in the index in the order of rid, so that a page of many ends early.
    """
    return Table(
        name,
        metadata,
        _int("rid"),
        _text("tenant"),
        _text("type"),
        _text("param"),
        Column("grp", Integer, nullable=False),
        *values,
        Index(f"{name}_by_value", "tenant", "type", "param", *by, "rid", *then),
        Index(f"{name}_by_rid", "rid"),
    )


token_index = _index_table("token_index", _text("system"), _text("code"), by=("code",), then=("system",))
# `value` is folded (case, accents, white space), `exact` as it was written.
string_index = _index_table("string_index", _sorted_text("value"), _text("exact"), by=("value",))
# A local or foreign literal reference (target_type, target_id, `url` its absolute base or ''),
# or a canonical / absolute one of unknown shape ('' , '', url).
reference_index = _index_table(
    "reference_index",
    _text("target_type"),
    _text("target_id"),
    _text("target_version"),
    _text("url"),
    by=("target_id", "url"),
    then=("target_type",),
)
uri_index = _index_table("uri_index", _sorted_text("value"), by=("value",))
# The period that the value covers, [low, high) in microseconds.
date_index = _index_table("date_index", _int("low"), _int("high"), by=("low", "high"))
number_index = _index_table("number_index", Column("low", Double), Column("high", Double), by=("low", "high"))
quantity_index = _index_table(
    "quantity_index",
    _text("system"),
    _text("code"),
    _text("unit"),
    Column("low", Double),
    Column("high", Double),
    by=("low", "high", "code"),
)

# The distinct words of a resource for _text and _content, folded, a blank before and after each.
text_index = Table(
    "text_index",
    metadata,
    _int("rid"),
    _text("tenant"),
    _text("type"),
    _text("param"),
    _text("words"),
    Index("text_index_by_rid", "rid"),
)

INDEX_TABLES: dict[str, Table] = {
    "token": token_index,
    "string": string_index,
    "reference": reference_index,
    "uri": uri_index,
    "date": date_index,
    "number": number_index,
    "quantity": quantity_index,
    "words": text_index,
}

# One row for each upload of a Binary's bytes: see store.Blob.
blob = Table(
    "blob",
    metadata,
    _text("tenant"),
    _text("id"),
    _text("binary_id"),
    _int("version", nullable=True),
    _text("state"),
    _text("account"),
    _text("bucket"),
    _text("pending_key"),
    _text("object_key"),
    _text("object_version"),
    _text("content_type"),
    _text("filename"),
    _int("size", nullable=True),
    _text("sha1"),
    _text("sha256"),
    _text("etag"),
    _int("declared_size", nullable=True),
    _text("declared_sha1"),
    _text("creator"),
    _text("owner"),  # 'Type/id' of the resource whose slot the server made this for, or ''
    _text("reason"),
    _int("created"),
    _int("completed", nullable=True),
    _int("upload_until"),
    _int("lease_until"),
    PrimaryKeyConstraint("tenant", "id"),
    Index("blob_by_binary", "tenant", "binary_id", "version"),
    Index("blob_by_state", "state", "created"),
    Index("blob_by_pending_key", "account", "bucket", "pending_key"),
    Index("blob_by_object_key", "account", "bucket", "object_key"),
    Index("blob_by_owner", "tenant", "owner"),
)

# Which current resource refers to which Binary (type, id: the referrer).
blob_reference = Table(
    "blob_reference",
    metadata,
    _text("tenant"),
    _text("binary_id"),
    _text("type"),
    _text("id"),
    _int("version"),
    PrimaryKeyConstraint("tenant", "binary_id", "type", "id"),
    Index("blob_reference_by_referrer", "tenant", "type", "id"),
)

# What must happen outside the database after a commit: done at least once, idempotent.
outbox = Table(
    "outbox",
    metadata,
    Column("task", _serial, primary_key=True, autoincrement=True),
    _text("tenant"),
    _text("kind"),
    _text("payload"),
    _int("not_before"),
    _int("lease_until"),
    _int("attempts"),
    _text("error"),
    Index("outbox_due", "kind", "not_before"),
)

# Which resource an index outside the database has yet to hear of, in the order of the writes: appended
# with each version. `state`: 0 queued, 1 sent and not yet refreshed, 2 set aside with its `error`.
index_task = Table(
    "index_task",
    metadata,
    Column("task", _serial, primary_key=True, autoincrement=True),
    _text("tenant"),
    _text("type"),
    _text("id"),
    _int("created"),
    Column("state", Integer, nullable=False),
    _int("lease_until"),
    _int("attempts"),
    _text("error"),
)

# Notes on the search index: which types are being rebuilt, which search parameters were added.
index_state = Table("index_state", metadata, Column("name", Text, primary_key=True), _text("value"))

# An S3 account: `document` is its AwsAccount as JSON without the secret, `secret` is encrypted.
account = Table(
    "account",
    metadata,
    _text("tenant"),
    _text("id"),
    _int("version"),
    _int("last_updated"),
    _text("document"),
    Column("secret", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "id"),
)
