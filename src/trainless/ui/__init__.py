"""A local web page from images to a trained network: choose data, watch the search, try the result."""

from trainless.ui.serving import serve
from trainless.ui.workspace import Workspace

__all__ = ["Workspace", "serve"]
