"""Scores on disk: one SQL schema, an SQLite file by default, any database that SQLAlchemy knows.

A score is one row, written once, in a transaction with others. SQLite runs in write-ahead mode: a process killed at
any moment loses at most the transaction it was in, readers are not held up, and writers wait for each other.

`keys` has what a score is found by, `schema` the tables, `migrations` the way from earlier ones, `engine` the
connections and what databases say, `queries` the statements, and `store` the object that callers hold.
"""

from trainless.store.keys import Run, key_of
from trainless.store.schema import SCHEMA_VERSION
from trainless.store.store import Store

__all__ = ["SCHEMA_VERSION", "Run", "Store", "key_of"]
