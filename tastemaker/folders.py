"""Where tastemaker keeps what it can make again: model weights, cached vectors, cached answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "TASTEMAKER_CACHE"


def cache_folder() -> Path:
    """Return the cache folder; it need not exist yet.

    TASTEMAKER_CACHE names it. Without that it is `tastemaker` in the user's cache folder: XDG_CACHE_HOME where that is
    an absolute path (the XDG base directory specification has relative ones ignored), else what the system uses.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():
        return xdg / "tastemaker"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tastemaker"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "tastemaker" / "cache"
    return Path.home() / ".cache" / "tastemaker"
