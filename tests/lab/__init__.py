"""What the scripts share that run real programs beside the proxy: in `tests/`, `docs/`, `bench/`.

Each module is one noun. A script puts `tests/` on its path and imports from here.
"""

import os

# Servers are outside of the PATH that ordinary users have.
os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
