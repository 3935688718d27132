"""``python -m strongroom.examples.prepare NAME FOLDER``: an example as files to seal."""

from __future__ import annotations

import sys
from pathlib import Path

from strongroom.examples.catalogue import find
from strongroom.examples.rows import write
from strongroom.pipeline.embedded.packages import CACHE

if __name__ == "__main__":
    name, folder = sys.argv[1:]
    write(find(name).rows(CACHE), Path(folder))
