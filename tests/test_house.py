"""The rules that hold the code base together: who may import whom, what is exported, what is never written."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "trainless"

# A module imports only from modules above it.
ORDER = (
    "errors",
    "files",
    "specs",
    "units",
    "markdown",
    "types",
    "seeding",
    "ranking",
    "safe_pickle",
    "data",
    "operations",
    "attention",
    "audio",
    "recurrent_cells",
    "recurrence",
    "initialization",
    "hardware",
    "backbones",
    "search_spaces",
    "passes",
    "precision",
    "proxies",
    "aggregation",
    "tables",
    "metrics",
    "costs",
    "store",
    "workers",
    "preparation",
    "evaluation",
    "scoring",
    "study",
    "suite",
    "training",
    "supernets",
    "morphism",
    "strategies",
    "estimators",
    "export",
    "search",
    "transfer",
    "automl",
    "report",
    "reproduction",
    "terminal",
    "fit_artifacts",
    "ui",
    "cli",
    "__main__",
    "testing",
)
# What a module must not import although it stands above.
FORBIDDEN = {
    "passes": {"search_spaces"},
    "proxies": {"search_spaces"},
    "strategies": {"proxies", "tables"},
}

# Names that tell nothing of what they stand for.
VAGUE = {"each", "one", "place"}

MODULES = {
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
}
# The module that makes the package itself imports lazily whatever it likes.
INNER = {name: file for name, file in MODULES.items() if name != "__init__"}


@cache
def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=file.name)


def room_of(module: str) -> str:
    return module.partition(".")[0]


def package_of(module: str) -> str:
    parents = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    return f"trainless.{parents}".rstrip(".")


def imported(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """The line and the full name of everything that is imported, inside functions and for type checking too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def misplaced(tree: ast.AST, module: str, package: str) -> list[str]:
    """What a module imports from below itself, from a forbidden room, or from no room at all."""
    room = room_of(module)
    allowed = set(ORDER[: ORDER.index(room)]) - FORBIDDEN.get(room, set()) | {room}
    found = []
    for line, name in imported(tree, package):
        top, _, rest = name.partition(".")
        if top == "trainless" and room_of(rest) not in allowed:
            found.append(f"{module}, line {line}: {name}")
    return found


def module_named(name: str, modules: Collection[str]) -> str | None:
    """The module of trainless that has an imported name, or is it."""
    parts = name.split(".")[1:] if name.startswith("trainless.") else []
    candidates = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((candidate for candidate in candidates if candidate in modules), None)


def circles(sources: Mapping[str, tuple[ast.AST, str]]) -> list[list[str]]:
    """Modules that import each other in circles, of each circle the first one again at its end.

    An import counts wherever it stands: in a function and for type checking too, since a reader has to follow it all
    the same. That importing ``a.b`` also runs the package ``a`` does not count.

    Args:
        sources: tree and package of each module by its name.
    """
    graph = {
        module: {found for _, name in imported(tree, package) if (found := module_named(name, sources))} - {module}
        for module, (tree, package) in sources.items()
    }
    found: list[list[str]] = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            found.append(error.args[1][::-1])
            graph[found[-1][0]].remove(found[-1][1])  # one import less, so that the next circle shows
        else:
            return found


def vague_names(tree: ast.AST) -> list[str]:
    """Variables and parameters, with their lines, that are called by one of the words of `VAGUE`."""
    return [
        f"line {node.lineno}: {name}"
        for node in ast.walk(tree)
        for name in [node.id if isinstance(node, ast.Name) else node.arg if isinstance(node, ast.arg) else ""]
        if name in VAGUE and not isinstance(getattr(node, "ctx", None), ast.Load)
    ]


class TestDirection:
    def test_every_module_has_a_room_and_every_room_a_module(self) -> None:
        rooms = {room_of(module) for module in INNER}
        assert rooms == set(ORDER), "ORDER lists every room once, above all that import it"
        assert len(ORDER) == len(rooms)

    def test_imports_only_from_above(self) -> None:
        found = [misplaced(parse(file), module, package_of(module)) for module, file in INNER.items()]
        assert list(chain(*found)) == []

    def test_the_rule_finds_what_it_forbids(self) -> None:
        wrong = (
            "from trainless.search_spaces import search_space",
            "from trainless import search_spaces",
            "import trainless.search_spaces.base",
            "import trainless.scoring as scoring",
            "from trainless import score",
            "from .. import scoring",
            "from ..scoring import Scorer",
            "def late():\n    from trainless.scoring import Scorer",
            "if TYPE_CHECKING:\n    from trainless.search_spaces.base import SearchSpace",
        )
        found = {code: misplaced(ast.parse(code), "proxies.base", "trainless.proxies") for code in wrong}
        assert [code for code, names in found.items() if len(names) != 1] == []

    def test_the_rule_lets_the_rest_pass(self) -> None:
        right = (
            "from trainless.types import Task",
            "from .base import Proxy",
            "from ..errors import InputError",
            "import math",
        )
        found = {code: misplaced(ast.parse(code), "proxies.flow", "trainless.proxies") for code in right}
        assert [code for code, names in found.items() if names] == []

    def test_no_files_form_a_circle(self) -> None:
        assert circles({module: (parse(file), package_of(module)) for module, file in INNER.items()}) == []

    def test_a_circle_is_found_wherever_the_import_stands(self) -> None:
        def around(last: str) -> list[list[str]]:
            code = {
                "ui": "from trainless.ui.page import build",
                "ui.page": "from trainless.ui.views import View",
                "ui.views": last,
            }
            return circles({name: (ast.parse(text), "trainless.ui") for name, text in code.items()})

        for last in (
            "from trainless.ui.page import Window",
            "if TYPE_CHECKING:\n    from trainless.ui.page import Window",
            "def late():\n    from .page import Window",
            "from . import page",
            "import trainless.ui.page",
        ):
            assert [set(names) for names in around(last)] == [{"ui.page", "ui.views"}], last
        assert len(around("from trainless.ui import build\nfrom trainless.ui.page import Window")) == 2
        for last in ("from trainless.errors import InputError", "import json", "from trainless.ui.views import View"):
            assert around(last) == [], last

    def test_the_module_map_is_true(self) -> None:
        text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
        section = text.partition("\n## The rooms\n")[2].partition("\n## ")[0]
        listed = "- `" + section.partition("- `")[2].strip()
        gists = {room: (ast.get_docstring(parse(MODULES[room])) or "").splitlines()[0] for room in ORDER}
        lines = [f"- `{room}`: {gist}" for room, gist in gists.items()]
        expected = "\n".join(textwrap.fill(line, 120, subsequent_indent="  ") for line in lines)
        assert listed == expected, (
            f"the rooms in CONTRIBUTING.md are those of ORDER, each with the first line of its docstring:\n{expected}"
        )


class TestNames:
    def test_a_variable_has_the_noun_it_stands_for(self) -> None:
        found = {module: vague_names(parse(file)) for module, file in MODULES.items()}
        assert {m: names for m, names in found.items() if names} == {}

    def test_the_rule_finds_what_it_forbids(self) -> None:
        wrong = (
            "for each in cells: pass",
            "[one.name for one in cells]",
            "for place, cell in enumerate(cells): pass",
            "one = cells[0]",
            "lambda each: each.name",
            "def draw(self, one): pass",
            "with open(path) as place: pass",
        )
        assert [code for code in wrong if len(vague_names(ast.parse(code))) != 1] == []
        assert vague_names(ast.parse("for cell in cells: print(cell.one, each)")) == []


class TestImporting:
    def test_does_not_load_torch(self) -> None:
        code = (
            "import importlib, sys\n"
            "for name in ('trainless', 'trainless.cli', 'trainless.report'):\n"
            "    importlib.import_module(name)\n"
            "    print(name, 'torch' in sys.modules)"
        )
        output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert output.splitlines() == ["trainless False", "trainless.cli False", "trainless.report False"]

    def test_exports_are_sorted_and_exist(self) -> None:
        found = []
        for name in ("trainless", *(f"trainless.{module}" for module in INNER)):
            module = importlib.import_module(name)
            exports = getattr(module, "__all__", [])
            # Constants, then classes, then functions, each by the alphabet: the order that ruff keeps.
            if exports != sorted(set(exports), key=lambda name: (not name.isupper(), not name[0].isupper(), name)):
                found.append(f"{name}: __all__ is not sorted, or names something twice")
            found += [f"{name}: there is no {export}" for export in exports if not hasattr(module, export)]
        assert found == []

    def test_modules_and_what_they_export_are_documented(self) -> None:
        found = [module for module, file in INNER.items() if not ast.get_docstring(parse(file))]
        for module, file in INNER.items():
            exported = set(getattr(importlib.import_module(f"trainless.{module}"), "__all__", []))
            found += [
                f"{module}.{node.name}"
                for node in parse(file).body
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in exported
                and not ast.get_docstring(node)
            ]  # fmt: skip
        assert found == []


def unsafe_calls(tree: ast.AST) -> list[str]:
    """Calls that run code out of text or out of a file, and imports that would hide them."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name in {"eval", "exec", "builtins.eval", "builtins.exec"}:
                found.append(name)
            if re.fullmatch(r"(pickle|cPickle|_pickle|dill|joblib|cloudpickle|marshal)\.(loads?|Unpickler)", name):
                found.append(name)
            if options.get("weights_only") == "False" or options.get("allow_pickle") == "True":
                found.append(name)
            if name == "torch.load" and options.get("weights_only") != "True":
                found.append(name)
            if name in {"pd.read_pickle", "pandas.read_pickle"}:
                found.append(name)
        if isinstance(node, ast.ImportFrom) and node.module in {"pickle", "dill", "joblib", "cloudpickle", "marshal"}:
            found += [f"{node.module}.{alias.name}" for alias in node.names if alias.name in {"load", "loads"}]
    return found


class TestSafety:
    def test_nothing_runs_code_from_text_or_files(self) -> None:
        found = {module: unsafe_calls(parse(file)) for module, file in MODULES.items()}
        assert {module: calls for module, calls in found.items() if calls} == {}

    def test_the_rule_finds_what_it_forbids(self) -> None:
        wrong = (
            "eval(text)",
            "pickle.load(file)",
            "pickle.Unpickler(file).load()",
            "from pickle import load",
            "torch.load(path)",
            "torch.load(path, weights_only=False)",
            "np.load(path, allow_pickle=True)",
            "pd.read_pickle(path)",
        )
        assert [code for code in wrong if not unsafe_calls(ast.parse(code))] == []

    def test_the_rule_lets_the_rest_pass(self) -> None:
        right = (
            "network.eval()",
            "torch.load(path, weights_only=True)",
            "np.load(path, allow_pickle=False)",
            "class Restricted(pickle.Unpickler):\n    def find_class(self, module, name): raise DataError",
            "json.load(file)",
        )
        assert [code for code in right if unsafe_calls(ast.parse(code))] == []


class TestLock:
    def test_holds_one_version_of_every_dependency(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
        pins = [Requirement(line) for line in lines if not line.startswith("#")]
        versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
        assert len(versions) == len(pins), "a package is locked twice"
        assert all(re.fullmatch(r"[\w.]+", version) for version in versions.values()), "a pin is not exact"
        for text in (*project["dependencies"], *project["optional-dependencies"]["dev"]):
            wanted = Requirement(text)
            assert versions[canonicalize_name(wanted.name)] in wanted.specifier, f"{text}: run tools/lock.py"


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """The files that git tracks or would track."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in output.split("\0") if name]
    return [file for file in files if file.is_file()]


class TestFiles:
    def test_no_path_of_one_machine(self, tracked: list[Path]) -> None:
        # Put together, so that this file does not hold what it looks for.
        path = re.compile(rb"(?<![\w.~])/(?:" + b"|".join([b"work", b"home", b"root", b"Users"]) + rb")/\w")
        assert len(tracked) > 20
        assert [str(file.relative_to(ROOT)) for file in tracked if path.search(file.read_bytes())] == []
