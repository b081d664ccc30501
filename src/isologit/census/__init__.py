"""Many checkpoints: each audited once, one row each in a dataset of Parquet that grows.

`listing` says which models; `task` is what a worker does with one; `pools` are the executors that
workers come from; `dataset` is the directory; `running` brings them together; `report` is the page.
Nothing here computes a figure: that is the jobs'.
"""
