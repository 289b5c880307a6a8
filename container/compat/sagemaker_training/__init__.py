"""The public training toolkit's name, for scripts that ask it about their job.

Only in images of our own, which do not hold the toolkit. Scripts use `environment` alone.
"""
