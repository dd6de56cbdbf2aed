"""What a view may ask of the window that shows it."""

from __future__ import annotations

from typing import Protocol

from trainless.ui.session import Session

__all__ = ["Window"]


class Window(Protocol):
    """A window of the page, as its views see it.

    Attributes:
        session: what all windows share.
    """

    session: Session

    def watch(self) -> None:
        """Show the fit that was started last, or what came out of it."""

    def show(self, run: str) -> None:
        """Show what came out of a run."""

    def say(self, text: str) -> None:
        """Show a sentence for a while."""
