"""A local web page from images to a trained network: choose data, watch the search, try the result."""

from trainless.ui.places import Places
from trainless.ui.serving import serve

__all__ = ["Places", "serve"]
