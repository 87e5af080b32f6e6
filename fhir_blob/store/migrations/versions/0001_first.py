"""The first schema: versions, index tables, blobs, outbox, accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:

    op.create_table(
        "account",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("last_updated", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_table(
        "blob",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("binary_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("pending_key", sa.Text(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("object_version", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha1", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("declared_size", sa.BigInteger(), nullable=True),
        sa.Column("declared_sha1", sa.Text(), nullable=False),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("completed", sa.BigInteger(), nullable=True),
        sa.Column("upload_until", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_index("blob_by_binary", "blob", ["tenant", "binary_id", "version"], unique=False)
    op.create_index("blob_by_object_key", "blob", ["account", "bucket", "object_key"], unique=False)
    op.create_index("blob_by_owner", "blob", ["tenant", "owner"], unique=False)
    op.create_index("blob_by_pending_key", "blob", ["account", "bucket", "pending_key"], unique=False)
    op.create_index("blob_by_state", "blob", ["state", "created"], unique=False)
    op.create_table(
        "blob_reference",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("binary_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "binary_id", "type", "id"),
    )
    op.create_index("blob_reference_by_referrer", "blob_reference", ["tenant", "type", "id"], unique=False)
    op.create_table(
        "date_index",
        sa.Column("rid", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("param", sa.Text(), nullable=False),
        sa.Column("grp", sa.Integer(), nullable=False),
        sa.Column("low", sa.BigInteger(), nullable=False),
        sa.Column("high", sa.BigInteger(), nullable=False),
    )
    op.create_index("date_index_by_rid", "date_index", ["rid"], unique=False)
    op.create_index(
        "date_index_by_value", "date_index", ["tenant", "type", "param", "low", "high", "rid"], unique=False
    )
    op.create_table(
        "number_index",
        sa.Column("rid", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("param", sa.Text(), nullable=False),
        sa.Column("grp", sa.Integer(), nullable=False),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
    )
    op.create_index("number_index_by_rid", "number_index", ["rid"], unique=False)
    op.create_index(
        "number_index_by_value", "number_index", ["tenant", "type", "param", "low", "high", "rid"], unique=False
    )
    op.create_table(
        "outbox",
        sa.Column("task", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task"),
    )
    op.create_index("outbox_due", "outbox", ["kind", "not_before"], unique=False)
    op.create_table(
        "quantity_index",
        sa.Column("rid", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("param", sa.Text(), nullable=False),
        sa.Column("grp", sa.Integer(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
    )
    op.create_index("quantity_index_by_rid", "quantity_index", ["rid"], unique=False)
    op.create_index(
        "quantity_index_by_value",
        "quantity_index",
        ["tenant", "type", "param", "low", "high", "code", "rid"],
        unique=False,
    )
    op.create_table(
        "reference_index",
        sa.Column("rid", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("param", sa.Text(), nullable=False),
        sa.Column("grp", sa.Integer(), nullable=False),
        sa.Column("target_type", sa.Text(), nullable=False),
        sa.Column("target_id", sa.Text(), nullable=False),
        sa.Column("target_version", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
    )
    op.create_index("reference_index_by_rid", "reference_index", ["rid"], unique=False)
    op.create_index(
        "reference_index_by_value",
        "reference_index",
        ["tenant", "type", "param", "target_id", "url", "rid", "target_type"],
        unique=False,
    )
    op.create_table(
        "resource",
        sa.Column("rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("last_updated", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rid"),
        sa.UniqueConstraint("tenant", "type", "id"),
    )
    op.create_index("resource_by_time", "resource", ["tenant", "type", "deleted", "last_updated", "rid"], unique=False)
    op.create_index("resource_by_type", "resource", ["tenant", "type", "deleted", "rid"], unique=False)
    op.create_table(
        "resource_version",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("last_updated", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("slots", sa.LargeBinary(), nullable=True),
        sa.Column("xid", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("tenant", "type", "id", "version"),
    )
    op.create_index("resource_version_by_type", "resource_version", ["tenant", "type", "seq"], unique=False)
    op.create_table(
        "string_index",
        sa.Column("rid", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("param", sa.Text(), nullable=False),
        sa.Column("grp", sa.Integer(), nullable=False),
        sa.Column("value", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("exact", sa.Text(), nullable=False),
    )
    op.create_index("string_index_by_rid", "string_index", ["rid"], unique=False)
    op.create_index("string_index_by_value", "string_index", ["tenant", "type", "param", "value", "rid"], unique=False)
    op.create_table(
        "token_index",
        sa.Column("rid", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("param", sa.Text(), nullable=False),
        sa.Column("grp", sa.Integer(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
    )
    op.create_index("token_index_by_rid", "token_index", ["rid"], unique=False)
    op.create_index(
        "token_index_by_value", "token_index", ["tenant", "type", "param", "code", "rid", "system"], unique=False
    )
    op.create_table(
        "uri_index",
        sa.Column("rid", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("param", sa.Text(), nullable=False),
        sa.Column("grp", sa.Integer(), nullable=False),
        sa.Column("value", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
    )
    op.create_index("uri_index_by_rid", "uri_index", ["rid"], unique=False)
    op.create_index("uri_index_by_value", "uri_index", ["tenant", "type", "param", "value", "rid"], unique=False)
