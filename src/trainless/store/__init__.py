"""Scores on disk: one SQL schema, an SQLite file by default, any database that SQLAlchemy knows.

A score is one row, written once, in a transaction with others. SQLite runs in write-ahead mode: a process killed at
any moment loses at most the transaction it was in, readers are not held up, and writers wait for each other. On a
PostgreSQL server writers of different runs do not, and one that restarts is waited for.

`keys` has what a score is found by, `schema` the tables, `migrations` the way from earlier ones; `addresses` where a
store is, `faults` what databases say, `engine` the connections, `queries` the statements; `copying`, `checking` and
`statistics` what is done with whole stores, and `store` the object that callers hold.
"""

from trainless.store.checking import Checked
from trainless.store.copying import Copied
from trainless.store.keys import Run, key_of
from trainless.store.schema import SCHEMA_VERSION
from trainless.store.statistics import Statistics
from trainless.store.store import Store

__all__ = ["SCHEMA_VERSION", "Checked", "Copied", "Run", "Statistics", "Store", "key_of"]
