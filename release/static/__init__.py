"""What the scripts of `release/` share that build and try static programs.

Each module is one noun. A script puts its own directory and `tests/` on its path and imports from
here.
"""
