"""Results of other tools as rows of our table: one file a format, and `read.py`, which lists them.

A number that a tool does not give stays missing, and so does one that it writes as 0 for a counter that it lacks.
"""
