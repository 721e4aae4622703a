"""Docstrings as the site shows them: references in Sphinx' form become names in code type, examples become code."""

import re
from typing import Any

from griffe import Extension, Object

from docs.site_pages import plain_roles

__all__ = ["PlainRoles"]

#: A section with one example is written in the singular; griffe knows the plural as code, and takes others for text.
_EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)


class PlainRoles(Extension):
    """What griffe does with each object of the package."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite its docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(r"\1Examples:", plain_roles(obj.docstring.value))
