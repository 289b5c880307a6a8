"""Whether a job can run on this machine, and what mends it where it cannot.

`gather` looks (the only step that touches anything), `examine` judges what was seen.
"""
