"""What runs first in a training container, and in every Python process it starts.

Two things live here. ``python -m sift_entrypoint.train`` runs one training job under SageMaker's
container contract. ``sift_entrypoint.activate`` switches sifting on in a Python process of a job
that asked for it. Both import the standard library alone, and little of it: a job starts in
milliseconds. Modules here avoid ``dataclasses``, ``typing``, ``subprocess`` and ``argparse`` at
import for that reason.
"""
