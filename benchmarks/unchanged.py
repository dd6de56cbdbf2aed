"""Score the same seeded networks with this checkout and with an older one, and compare bit for bit.

python benchmarks/unchanged.py --before path/of/the/older/checkout
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Run by either checkout: what is asked stands in this one, so that both are asked the same.
QUESTION = """
import json, sys
sys.path.insert(0, sys.argv[1])
from space_facts import SPACES, facts, scores
said = {key: facts(key) for key in SPACES}
found = {dtype: {key: scores(key, dtype, int(sys.argv[2])) for key in sys.argv[3:]} for dtype in ("float32", "float64")}
print(json.dumps({"facts": said, "scores": found}))
"""
SCORED = ("nasbench201 of 8 x 2", "mobile of 8 x 3", "nasbench201 of 4 x 1", "mobile of 4 x 1")


def main() -> None:
    """Ask both, compare, and print; ends with 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="the older checkout")
    parser.add_argument("--networks", type=int, default=4, help="networks of each space")
    given = parser.parse_args()
    before, now = (_answer(checkout, given.networks) for checkout in (given.before, ROOT))
    differing = [
        f"{key}: {name}"
        for key, facts in before["facts"].items()
        for name, fact in facts.items()
        if now["facts"][key].get(name) != fact
    ]
    compared = 0
    for dtype, spaces in before["scores"].items():
        for key, networks in spaces.items():
            for architecture, scores in networks.items():
                for proxy, value in scores.items():
                    compared += 1
                    found = now["scores"][dtype][key][architecture].get(proxy, "absent")
                    if found != value:
                        differing.append(f"{key}, {dtype}, {architecture}, {proxy}: {value} became {found}")
    print(f"{sum(map(len, before['facts'].values()))} facts and {compared} scores compared, {len(differing)} differ")
    print("\n".join(differing))
    sys.exit(bool(differing))


def _answer(checkout: Path, networks: int) -> dict[str, dict[str, dict]]:  # type: ignore[type-arg]
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve() / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", QUESTION, str(ROOT / "tests"), str(networks), *SCORED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    answer: dict[str, dict[str, dict]] = json.loads(done.stdout.splitlines()[-1])  # type: ignore[type-arg]
    return answer


if __name__ == "__main__":
    main()
