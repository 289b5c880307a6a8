"""sift-launcher: run a PyTorch training script as a sifted, SageMaker-style job."""

__version__ = "0.1.0"
