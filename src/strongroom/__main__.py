"""``python -m strongroom``: the same as the console script."""

from strongroom.pipeline.cli.main import main

main()
