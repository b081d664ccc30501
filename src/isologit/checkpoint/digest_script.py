"""Prints the sha256 of a range of an inherited file; run as a script, by `digest`.

Nothing but the standard library is imported, and of that little: this process lives half a second.
"""

import hashlib
import os
import sys

# Fits the cache that a core has to itself, so that what was copied is digested from there.
_PART_BYTES = 256 << 10


def main() -> None:
    """Digest ``DESCRIPTOR OFFSET LENGTH PARENT``.

    The exit status is 1 where the file is too short, or the parent has gone.
    """
    descriptor, offset, length, parent = map(int, sys.argv[1:])
    end = offset + length
    running = hashlib.sha256()
    buffer = memoryview(bytearray(_PART_BYTES))
    while offset < end:
        n = os.preadv(descriptor, [buffer[: min(end - offset, _PART_BYTES)]], offset)
        if n == 0 or os.getppid() != parent:
            sys.exit(1)
        running.update(buffer[:n])
        offset += n
    print(running.hexdigest())


if __name__ == "__main__":
    main()
