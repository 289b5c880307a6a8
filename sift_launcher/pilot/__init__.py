"""The pilot: short runs of a script at several shares, and what they recommend.

arms ─► trials, run as jobs of this machine ─► measurements ─► recommendation, table, picture
"""
