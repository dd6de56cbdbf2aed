"""Starts the server of the page, for this machine alone."""

from __future__ import annotations

import os
import socket

from trainless.errors import InputError
from trainless.ui.addresses import HOST, run_named
from trainless.ui.request_guard import RequestGuard
from trainless.ui.session import Session
from trainless.ui.uploads import Allowance
from trainless.ui.workspace import FILES, Workspace

__all__ = ["serve"]

_ISOLATED = {
    # A page of a run has scripts of its own: whatever is in it, it is no part of this page and cannot drive it.
    "content-security-policy": "sandbox allow-scripts allow-downloads allow-popups; frame-ancestors 'none'",
}


def serve(workspace: Workspace, *, port: int = 8080, show: bool = True) -> None:
    """Serve the page until Ctrl-C, which also stops the fit that runs, as it does in the terminal.

    Args:
        workspace: folders that may be read and written.
        port: that is listened to at `HOST`.
        show: open the page in a browser.

    Raises:
        InputError: the packages of the extra `ui` are not installed, a folder is not there, or the port is taken.
    """
    try:
        from nicegui import app, run, ui
    except ImportError as error:
        raise InputError(f"The page needs the package '{error.name}': pip install 'trainless[ui]'.") from error
    _check(workspace, port)
    from trainless.ui.page import build

    workspace = Workspace(workspace.data.resolve(), workspace.out.resolve())
    session = Session(workspace)
    run.process_pool_start_method = "spawn"
    _serve_files(workspace)
    app.add_middleware(RequestGuard, port=port, most_bytes=Allowance().packed + 2**20)
    print(f"trainless: the page is at http://{HOST}:{port}, for this machine alone; Ctrl-C ends it.", flush=True)
    try:
        ui.run(
            lambda: build(session), host=HOST, port=port, title="trainless", dark=None, show=show, reload=False,
            show_welcome_message=False, favicon=_ICON, tailwind=False, endpoint_documentation="none",
            timeout_graceful_shutdown=2,
        )  # fmt: skip
    except KeyboardInterrupt:
        pass
    finally:
        if session.is_busy:
            print("trainless: the fit is being stopped; Ctrl-C again kills it, and it can be resumed.", flush=True)
        session.close()


def _serve_files(workspace: Workspace) -> None:
    from fastapi import HTTPException
    from fastapi.responses import FileResponse
    from nicegui import app

    @app.get("/runs/{run}/{name}")
    def file(run: str, name: str) -> FileResponse:
        try:
            path = workspace.file(run_named(run), name)
        except InputError as error:
            raise HTTPException(404, str(error)) from error
        inline = name.startswith("report.")
        return FileResponse(
            path, media_type=FILES[name], filename=name, headers=_ISOLATED | {"cache-control": "no-store"},
            content_disposition_type="inline" if inline else "attachment",
        )  # fmt: skip


def _check(workspace: Workspace, port: int) -> None:
    if not os.path.isdir(workspace.data):
        raise InputError(f"'{workspace.data}' is no folder: give the folder that holds your images as --data.")
    if not 0 < port < 65536:
        raise InputError(f"The port is {port}, expected 1 to 65535: give one such as 8080.")
    try:
        workspace.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder '{workspace.out}' cannot be made ({error.strerror}): give another --out."
        ) from error
    if not os.access(workspace.out, os.W_OK):
        raise InputError(f"The folder '{workspace.out}' may not be written to: give another --out.")
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"Port {port} of {HOST} cannot be listened to ({error.strerror}): give another --port."
            ) from error


_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0b6bb0"/>'
    '<g fill="none" stroke="#fff" stroke-width="2"><path d="M8 10 L16 16 L24 10 M8 22 L16 16 L24 22"/></g>'
    '<g fill="#fff"><circle cx="8" cy="10" r="3"/><circle cx="8" cy="22" r="3"/><circle cx="16" cy="16" r="3"/>'
    '<circle cx="24" cy="10" r="3"/><circle cx="24" cy="22" r="3"/></g></svg>'
)
