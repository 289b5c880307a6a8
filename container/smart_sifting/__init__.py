"""The sifting runtime: a DataLoader that drops what no longer teaches.

Importing this package imports nothing but the standard library; its modules import what they need.
"""

__version__ = "0.1.0"
