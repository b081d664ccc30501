"""isologit finds the tokens that a language model cannot tell apart."""

__version__ = "0.1.0"
