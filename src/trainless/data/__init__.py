"""Labelled image data sets: readers, audit, splits into train, valid and test, and seeded batches."""

from trainless.data.arrays import images_of, load_arrays, value_range
from trainless.data.audits import Audit, audit
from trainless.data.dataset import Batch, ImageDataset, fingerprint
from trainless.data.loading import load_data
from trainless.data.sizes import ImageSize, propose_size
from trainless.data.splits import Splits, drop_leaks, load_splits
from trainless.data.splitting import split

__all__ = [
    "Audit",
    "Batch",
    "ImageDataset",
    "ImageSize",
    "Splits",
    "audit",
    "drop_leaks",
    "fingerprint",
    "images_of",
    "load_arrays",
    "load_data",
    "load_splits",
    "propose_size",
    "split",
    "value_range",
]
