"""Tables of true accuracies and scores that others have published: importers, downloads, one plain format."""

from trainless.tables.base import BenchmarkTable
from trainless.tables.downloads import cache_folder
from trainless.tables.library import benchmark_table, get_table, published_scores, table_listing
from trainless.tables.packaged import PACKAGED, packaged_table
from trainless.tables.plain import read_table, write_table
from trainless.tables.published import PUBLISHED, PublishedScores
from trainless.tables.sources import TABLES, TableSource

__all__ = [
    "PACKAGED",
    "PUBLISHED",
    "TABLES",
    "BenchmarkTable",
    "PublishedScores",
    "TableSource",
    "benchmark_table",
    "cache_folder",
    "get_table",
    "packaged_table",
    "published_scores",
    "read_table",
    "table_listing",
    "write_table",
]
