"""Sifting inside other people's training loops. Each module imports its framework when used."""
