"""Models of the Hugging Face hub: only the tensors that are needed, fetched by ranges and kept.

`spec` says what is a hub's model and what a path, `model` opens one, `cache` lists what is kept.
"""
