"""Who the tokens are: text, bytes, categories, reachability, scripts, and traces of training."""
