"""Checkpoints: which files hold a model, what is in them, and which tensor is the unembedding.

Knows nothing of token text, and reads tensors only when one is asked for.
"""
