"""``python -m isologit``: the command line."""

from isologit.cli.main import main

main()
