"""``python -m fallow.cli``: the same program as ``fallow``."""

from fallow.cli.ending import main

main()
