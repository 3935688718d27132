"""``python -m strongroom.examples.prepare NAME FOLDER``: an example as files to seal."""

from __future__ import annotations

import sys
from pathlib import Path

from strongroom.examples.catalogue import find
from strongroom.examples.packages import CACHE
from strongroom.examples.rows import write

if __name__ == "__main__":
    name, folder = sys.argv[1:]
    write(find(name).rows(CACHE), Path(folder))
