"""The explorer: what holds at any hidden state, computed when it is pointed at."""
