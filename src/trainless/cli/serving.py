"""The command that serves the local page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ui"]


def ui(
    data: Annotated[Path, typer.Option(help="Images are chosen beneath this folder; nothing else is read.")] = Path(),
    out: Annotated[Path, typer.Option(help="Folder for runs and uploads; made if needed.")] = Path("runs"),
    port: Annotated[int, typer.Option(help="Port at 127.0.0.1.")] = 8080,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Serve a local web page: choose images, watch the search, try the network."""
    from trainless.ui import Workspace, serve

    serve(Workspace(data, out), port=port, show=browser)
