"""The way from earlier schemas of a store to the present one: one revision a schema, by the operations of Alembic."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sql

from trainless.errors import StoreError
from trainless.store.migrations import schema_1, schema_2, schema_3
from trainless.store.schema import CURRENT, META, SCHEMA_VERSION, Layout

__all__ = ["LAYOUTS", "layout_of", "migrate", "stored_version"]

_REVISIONS = (schema_2, schema_3)
# Schema 3 has other indexes than schema 2, and the same columns.
LAYOUTS: dict[int, Layout] = {1: schema_1.LAYOUT, 2: replace(CURRENT, version=2), SCHEMA_VERSION: CURRENT}

# Where making and dropping tables belongs to a transaction, so that a killed migration leaves the earlier schema.
_TRANSACTIONAL = ("sqlite", "postgresql")


def stored_version(connection: sql.Connection, lock: bool = False) -> str | None:
    """Read the version of the schema as it stands in the store; None where there is none.

    Args:
        connection: to the store.
        lock: keep other migrations out until the transaction ends; SQLite does so for all that writes.
    """
    query = sql.select(META.c.value).where(META.c.name == "schema")
    return connection.scalar(query.with_for_update() if lock else query)


def layout_of(connection: sql.Connection, location: str) -> Layout:
    """Find the layout of the schema that a store has now.

    Raises:
        StoreError: there is no version in it, or that of a newer trainless.
    """
    found = stored_version(connection)
    if found is None or not found.isdecimal() or int(found) < 1:
        raise StoreError(f"'{location}' does not tell the version of its schema, it is damaged: give another store.")
    if int(found) > SCHEMA_VERSION:
        raise StoreError(
            f"'{location}' was written by a newer trainless (schema {found}, this one knows {SCHEMA_VERSION}): upgrade "
            "trainless, or give another store."
        )
    return LAYOUTS[int(found)]


def migrate(connection: sql.Connection, location: str) -> None:
    """Bring a store to the present schema within the transaction of a connection.

    Another process may have done it in the meantime; then there is nothing to do.

    Raises:
        StoreError: the database makes tables outside of transactions, so that a killed migration could not be undone.
    """
    if connection.dialect.name not in _TRANSACTIONAL:
        raise StoreError(
            f"'{location}' has an earlier schema, and a database of the kind '{connection.dialect.name}' cannot be "
            "migrated in one transaction: begin a new store, and keep this one to read."
        )
    from alembic.operations import Operations  # which takes as long to import as a small store to open
    from alembic.runtime.migration import MigrationContext

    version = int(stored_version(connection, lock=True) or SCHEMA_VERSION)
    operations = Operations(MigrationContext.configure(connection))
    for revision in _REVISIONS:
        if revision.revision > version:
            revision.upgrade(operations)
    connection.execute(META.update().where(META.c.name == "schema").values(value=str(SCHEMA_VERSION)))
