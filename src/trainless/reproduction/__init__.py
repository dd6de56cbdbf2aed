"""The thesis on the Hybrid proxy once more: its tables from public files and our own scores, and what follows."""

from trainless.reproduction.mixes import Source, candidates, choose, compare_mixes, mix_sources, own_mix_sources
from trainless.reproduction.rows import own_scores, own_scores_from_store, own_seconds, published_sets, reproduce_rows
from trainless.reproduction.run import Reproduction, reproduce_thesis
from trainless.reproduction.thesis import DATASETS, RECORD, SUITE_ZERO_SPEARMAN, THESIS, Figure

__all__ = [
    "DATASETS",
    "RECORD",
    "SUITE_ZERO_SPEARMAN",
    "THESIS",
    "Figure",
    "Reproduction",
    "Source",
    "candidates",
    "choose",
    "compare_mixes",
    "mix_sources",
    "own_mix_sources",
    "own_scores",
    "own_scores_from_store",
    "own_seconds",
    "published_sets",
    "reproduce_rows",
    "reproduce_thesis",
]
