"""Say how many tests of a JUnit file were skipped for want of real data; with CI=true, fail if any was.

python tools/check_tests.py RESULTS.xml
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from xml.etree import ElementTree

# How the skips of the fixtures in tests/conftest.py begin.
ABSENT = ("real data is not at", "golden scores are not at")


def skipped_for_data(results: ElementTree.Element) -> list[str]:
    """Find the tests that were skipped since their data is absent."""
    names = []
    for case in results.iter("testcase"):
        reasons = [f"{skip.get('message', '')} {skip.text or ''}" for skip in case.iter("skipped")]
        if any(words in reason for reason in reasons for words in ABSENT):
            names.append(f"{case.get('classname')}.{case.get('name')}")
    return names


def main() -> None:
    """Check the results that the command line names."""
    results = ElementTree.parse(Path(sys.argv[1])).getroot()
    count = sum(1 for _ in results.iter("testcase"))
    names = skipped_for_data(results)
    if not count:
        sys.exit(f"{sys.argv[1]} holds no test.")
    if names and os.environ.get("CI") == "true":
        sys.exit(f"{len(names)} of {count} tests were skipped for absent data, such as {names[0]}: set TRAINLESS_DATA.")
    print(f"{count} tests, {len(names)} of them skipped for absent data")


if __name__ == "__main__":
    main()
