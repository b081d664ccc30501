"""Findings as people and other programs read them: terminal tables, files, the seed's formats."""
