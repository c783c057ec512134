"""The gateway as a process of its own, on a folder of models instead of MLflow: `python -m tests.gateway.process`."""

import sys
from contextlib import nullcontext
from pathlib import Path

from gateway.__main__ import main
from tests.gateway.folder_registry import FolderRegistry

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], lambda uri: nullcontext(FolderRegistry(Path(uri)))))
