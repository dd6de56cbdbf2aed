"""Write what a checkout says of the published search spaces, for tests/test_search_spaces_before.py.

The table in the repository was written by the version before the spaces stood on blueprints. It is never written anew
by a version that it is to test: PYTHONPATH names the checkout that is asked.

PYTHONPATH=path/of/the/older/checkout/src python tools/spaces_before.py tests/spaces_before.json.gz
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from space_facts import SPACES, facts, scores

SCORED = ("nasbench201 of 4 x 1", "mobile of 4 x 1", "nasbench201 of 8 x 2")


def main(path: str) -> None:
    """Ask this version and write."""
    table = {
        "facts": {key: facts(key) for key in SPACES},
        "scores": {dtype: {key: scores(key, dtype) for key in SCORED} for dtype in ("float32", "float64")},
    }
    # Without a time in it: the same table is the same file.
    Path(path).write_bytes(gzip.compress(json.dumps(table, sort_keys=True).encode(), mtime=0))


if __name__ == "__main__":
    main(sys.argv[1])
