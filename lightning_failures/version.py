"""The version, which ``pyproject.toml`` reads from here too."""

__all__ = ["VERSION"]

VERSION = "0.1.0"
