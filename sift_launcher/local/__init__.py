"""A training service on this machine that takes SageMaker's own requests."""
