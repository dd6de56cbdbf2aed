"""Write requirements.lock: the exact versions, in this environment, of all that the project and its tests need.

Run it with the Python of an environment in which the project is installed with all of these extras:

    python tools/lock.py
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

LOCKED = ("dev", "export", "heif", "postgres", "pretrained", "ray", "ui")  # extras whose parts the tests use
ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# The one lock file: both commands of README.md install from it, so that a run next year meets the versions of today.
# Made by tools/lock.py from the dependencies and the extras dev, export, heif,
# postgres, pretrained, ray and ui of pyproject, and theirs.
"""


def closure(requirements: Iterable[str]) -> dict[str, str]:
    """Find the installed version of everything that requirements need, directly or in turn.

    Raises:
        SystemExit: something needed is not installed.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"{name} is not installed: run `pip install -e .[{','.join(LOCKED)}]` first.") from None
        found[name] = Version(installed.version).public  # a local build such as +cpu is the machine's own affair
        needs = [Requirement(text) for text in installed.requires or []]
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(need, wanted) for need in needs]
    return found


def main() -> None:
    """Write the lock file beside pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    found = closure([*project["dependencies"], *(need for name in LOCKED for need in extras[name])])
    lines = [f"{name}=={version}\n" for name, version in sorted(found.items())]
    (ROOT / "requirements.lock").write_text(HEADER + "".join(lines), encoding="utf-8")
    print(f"requirements.lock: {len(lines)} packages")


if __name__ == "__main__":
    main()
