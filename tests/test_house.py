"""The rules that hold the code base together: who may import whom, what is exported, what is never written."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
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
    "registry",
    "types",
    "seeding",
    "safe_pickle",
    "data",
    "operations",
    "initialization",
    "search_spaces",
    "hardware",
    "signals",
    "jets",
    "observers",
    "passes",
    "proxies",
    "aggregation",
    "tables",
    "metrics",
    "store",
    "workers",
    "evaluation",
    "scoring",
    "study",
    "strategies",
    "training",
    "estimators",
    "export",
    "search",
    "automl",
    "report",
    "reproduction",
    "terminal",
    "fit_artifacts",
    "ui",
    "cli",
    "testing",
)
# What a module must not import although it stands above.
FORBIDDEN = {
    "signals": {"search_spaces"},
    "jets": {"search_spaces"},
    "observers": {"search_spaces"},
    "passes": {"search_spaces"},
    "proxies": {"search_spaces"},
    "strategies": {"proxies", "tables"},
}

FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): file for file in FILES}
# The module that makes the package itself imports lazily whatever it likes.
ROOMS = {name: file for name, file in MODULES.items() if name != "__init__"}


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
    room = module.partition(".")[0]
    allowed = set(ORDER[: ORDER.index(room)]) - FORBIDDEN.get(room, set()) | {room}
    found = []
    for line, name in imported(tree, package):
        top, _, rest = name.partition(".")
        if top == "trainless" and rest.partition(".")[0] not in allowed:
            found.append(f"line {line}: {name}")
    return found


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=file.name)


def package_of(module: str) -> str:
    parents = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    return f"trainless.{parents}".rstrip(".")


class TestDirection:
    @pytest.mark.parametrize("module", ROOMS)
    def test_every_module_has_its_place(self, module: str) -> None:
        assert module.partition(".")[0] in ORDER, "add the module to ORDER, above all that import it"

    @pytest.mark.parametrize("module", ROOMS)
    def test_imports_only_from_above(self, module: str) -> None:
        assert misplaced(parse(MODULES[module]), module, package_of(module)) == []

    @pytest.mark.parametrize(
        "code",
        [
            "from trainless.search_spaces import search_space",
            "from trainless import search_spaces",
            "import trainless.search_spaces.base",
            "import trainless.scoring as scoring",
            "from trainless import score",
            "from .. import scoring",
            "from ..scoring import Scorer",
            "def late():\n    from trainless.scoring import Scorer",
            "if TYPE_CHECKING:\n    from trainless.search_spaces.base import SearchSpace",
        ],
    )
    def test_the_rule_finds_what_it_forbids(self, code: str) -> None:
        assert len(misplaced(ast.parse(code), "proxies.base", "trainless.proxies")) == 1

    @pytest.mark.parametrize(
        "code",
        [
            "from trainless.signals import Signals",
            "from .base import Proxy",
            "from ..errors import InputError",
            "import math",
        ],
    )
    def test_the_rule_lets_the_rest_pass(self, code: str) -> None:
        assert misplaced(ast.parse(code), "proxies.flow", "trainless.proxies") == []


class TestImporting:
    @pytest.mark.parametrize("statement", ["import trainless", "import trainless.cli", "import trainless.report"])
    def test_does_not_load_torch(self, statement: str) -> None:
        code = f"{statement}; import sys; print('torch' in sys.modules)"
        output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert output == "False\n"

    @pytest.mark.parametrize("module", ["trainless", *(f"trainless.{name}" for name in ROOMS)])
    def test_exports_are_sorted_and_exist(self, module: str) -> None:
        imported_module = importlib.import_module(module)
        names = getattr(imported_module, "__all__", [])
        # Constants, then classes, then functions, each by the alphabet: the order that ruff keeps.
        assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
        assert len(names) == len(set(names))
        assert [name for name in names if not hasattr(imported_module, name)] == []

    @pytest.mark.parametrize("module", ROOMS)
    def test_public_functions_and_classes_are_exported_and_documented(self, module: str) -> None:
        tree = parse(MODULES[module])
        assert ast.get_docstring(tree), "the module has no docstring"
        exported = set(getattr(importlib.import_module(f"trainless.{module}"), "__all__", []))
        public = [
            node for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in exported
        ]  # fmt: skip
        assert [node.name for node in public if not ast.get_docstring(node)] == []


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
    @pytest.mark.parametrize("module", MODULES)
    def test_nothing_runs_code_from_text_or_files(self, module: str) -> None:
        assert unsafe_calls(parse(MODULES[module])) == []

    @pytest.mark.parametrize(
        "code",
        [
            "eval(text)",
            "pickle.load(file)",
            "pickle.Unpickler(file).load()",
            "from pickle import load",
            "torch.load(path)",
            "torch.load(path, weights_only=False)",
            "np.load(path, allow_pickle=True)",
            "pd.read_pickle(path)",
        ],
    )
    def test_the_rule_finds_what_it_forbids(self, code: str) -> None:
        assert unsafe_calls(ast.parse(code))

    @pytest.mark.parametrize(
        "code",
        [
            "network.eval()",
            "torch.load(path, weights_only=True)",
            "np.load(path, allow_pickle=False)",
            "class Restricted(pickle.Unpickler):\n    def find_class(self, module, name): raise DataError",
            "json.load(file)",
        ],
    )
    def test_the_rule_lets_the_rest_pass(self, code: str) -> None:
        assert unsafe_calls(ast.parse(code)) == []


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
