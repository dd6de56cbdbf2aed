"""Labelled images: read them from where they are, and draw the batches on which networks are scored."""

from trainless.data.dataset import Batch, ImageDataset
from trainless.data.loading import load_data

__all__ = ["Batch", "ImageDataset", "load_data"]
