"""The documentation runs: every Python block, and every command and option it names."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(f"{page.name}:{n}", text) for page in PAGES for n, text in enumerate(pattern.findall(page.read_text()), 1)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), blocks("python"), ids=lambda value: value if len(value) < 40 else "")
def test_python_block_runs(name: str, code: str, tmp_path: Path) -> None:
    # As a reader would: in a file of its own, in an empty folder.
    script = tmp_path / "example.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, f"{name}: {done.stderr}"


def test_a_search_space_takes_less_than_60_lines() -> None:
    (code,) = (text for name, text in blocks("python") if name.startswith("CONTRIBUTING") and "(ProductSpace)" in text)
    assert len(code.splitlines()) < 60


def commands() -> list[list[str]]:
    lines = [line for _, text in blocks("bash") for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("trainless ")]


def test_commands_named_in_the_documentation_exist() -> None:
    import typer.main

    from trainless.cli import app

    root = typer.main.get_command(app)
    found = commands()
    assert len(found) >= 5
    for command in found:
        known, words = root, iter(command[1:])
        while hasattr(known, "commands") and (word := next(words, None)):
            known = known.commands[word]
        options = {option for parameter in known.params for option in parameter.opts + parameter.secondary_opts}
        assert {word for word in command if word.startswith("--")} <= options, command


def test_options_named_in_the_text_exist() -> None:
    import typer.main

    from trainless.cli import app

    root = typer.main.get_command(app)
    groups = [root, *(command for command in root.commands.values() if hasattr(command, "commands"))]  # type: ignore[attr-defined]
    known = [command for group in groups for command in group.commands.values()]  # type: ignore[attr-defined]
    options = {o for command in known for p in command.params for o in p.opts + p.secondary_opts}
    for page in PAGES:
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        named = set(re.findall(r"`(--[a-z-]+)", prose))
        assert named <= options, (page.name, named - options)


def test_every_proxy_is_documented() -> None:
    from trainless.proxies import PROXIES

    text = (ROOT / "docs" / "proxies.md").read_text()
    assert [name for name in PROXIES if f"| `{name}` |" not in text] == []


def test_links_and_pictures_are_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
