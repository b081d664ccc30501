"""Number formats, exact and observed arithmetic, and the loops over stored words.

Knows nothing of files, tokens or models.
"""
