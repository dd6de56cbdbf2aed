"""Schema 3: an index that gives the best scores of a proxy in order; numbers of 64 bits, of which there is no end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sql

if TYPE_CHECKING:
    from alembic.operations import Operations

__all__ = ["revision", "upgrade"]

revision = 3


def upgrade(operations: Operations) -> None:
    """Change indexes and numbers, within one transaction; rows stay as they are."""
    operations.drop_index("ix_scores_run", "scores")
    operations.create_index("ix_scores_best", "scores", ["run", "proxy", "proxy_version", "value"])
    if operations.get_context().dialect.name == "postgresql":
        for table in ("scores", "notes"):
            operations.alter_column(table, "id", type_=sql.BigInteger())
            # A sequence keeps the limit of the column that it was made for.
            sequence = operations.get_bind().scalar(sql.select(sql.func.pg_get_serial_sequence(table, "id")))
            operations.execute(f"ALTER SEQUENCE {sequence} AS bigint")
