"""Sifting against its peers and against plain training of the same length, on genuine data."""
