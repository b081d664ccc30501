"""Equivalence relations on the vocabulary, and the states at which they are taken.

Nothing here prints, opens files or knows the command line.
"""
