"""SageMaker's estimator for sifted jobs: `SiftPyTorch` and `sift`. Needs `[cloud]`.

This package alone imports SageMaker's SDK, which takes seconds; nothing imports this package before
it is asked for. `sift_launcher.SiftPyTorch` is its door.
"""
