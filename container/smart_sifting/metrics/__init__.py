"""Recorders of what sifting did, for other people's loggers."""
