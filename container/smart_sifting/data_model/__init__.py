"""Batches as sifting sees them."""

from smart_sifting.data_model.data_model_interface import SiftingBatch, SiftingBatchTransform
from smart_sifting.data_model.list_batch import ListBatch
from smart_sifting.data_model.tensor_batch import TensorBatch

__all__ = ["ListBatch", "SiftingBatch", "SiftingBatchTransform", "TensorBatch"]
