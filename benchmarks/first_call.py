"""Time the first call of a process: ``first_call.py isologit|torch W.safetensors`` prints seconds.

What is imported, and the mapping of the file, come before the clock; what a first call brings with
it (kernels from their cache, page faults, the allocator's first memory) is counted.
"""

import sys
import time
from pathlib import Path

which, path = sys.argv[1], Path(sys.argv[2])
if which == "torch":
    import peers

    W = peers.load(path)["W"]
    begin = time.perf_counter()
    peers.unique_rows(W)
else:
    import isologit
    from isologit.equivalence.rows import row_classes

    matrix = isologit.open_checkpoint(path).matrix("W")
    begin = time.perf_counter()
    row_classes(matrix)
print(time.perf_counter() - begin)
