"""``python -I fallow/local/checker --directory DIR``: the checker as a program of its own, without the engine on its path.

Standard library only. The package is loaded by path under another name, so that nothing of ``fallow`` is ever imported.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

_NAME = "independent_checker"


def _load() -> None:
    folder = Path(__file__).resolve().parent
    # Python puts this folder first on the path: a module of ours could then pass for one of the standard library.
    sys.path[:] = [each for each in sys.path if Path(each).resolve() != folder]
    spec = importlib.util.spec_from_file_location(_NAME, folder / "__init__.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise ImportError(_NAME)
    package = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _load()
    code = importlib.import_module(f"{_NAME}.command").main()
    sys.stdout.flush()
    sys.stderr.flush()
    # The SDK can abort while the interpreter winds down; the verdict is out by then, and an abort must not replace it.
    os._exit(code)
