"""``python -m examples.prepare NAME FOLDER``: the rows of an example as files, ready to seal."""

from __future__ import annotations

import sys
from pathlib import Path

from examples.catalogue import find
from examples.rows import write
from pipeline.packages import CACHE

if __name__ == "__main__":
    name, folder = sys.argv[1:]
    write(find(name).rows(CACHE), Path(folder))
