"""What runs first in a training container, and in every Python process it starts.

Two things live here. ``python -m sift_entrypoint`` runs one training job under SageMaker's
container contract, or another command. ``sift_entrypoint.activate`` keeps the lines of a job's
Python process whole, and switches sifting on in it where the job asks for it. Both import the
standard library alone, and little of it: a job starts in milliseconds. Modules here avoid
``dataclasses``, ``typing``, ``subprocess`` and ``argparse`` at import for that reason.
"""
