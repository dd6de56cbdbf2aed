"""Labelled images: read them from where they are, split them, and draw the batches on which networks are scored."""

from trainless.data.dataset import Batch, ImageDataset
from trainless.data.loading import load_data
from trainless.data.splits import split

__all__ = ["Batch", "ImageDataset", "load_data", "split"]
