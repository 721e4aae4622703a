"""The one way to an HTML page: a template of this package, in one style, that needs nothing but itself."""

from collections.abc import Callable
from importlib import resources
from typing import Any

from lightning_failures.errors import MissingPackageError
from lightning_failures.records.numbers import number, p_value
from lightning_failures.version import __version__

__all__ = ["page_template"]


def page_template(where: str, package: str, name: str, **filters: Callable[..., str]) -> Any:
    """A jinja2 template, to be rendered with the values of a page.

    It knows ``style``, ``version`` and the filters ``number`` and ``p_value``; a name that is not passed is an error.

    Args:
        where: the public name to put into an error.
        package: where the template lies, such as ``"lightning_failures.reporting"``.
        name: of its file.
        filters: further ones, by name.

    Raises:
        MissingPackageError: jinja2 is not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise MissingPackageError(where, "the page needs jinja2", "no jinja2", "Run pip install jinja2.") from error
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "p_value": p_value} | filters
    environment.globals |= {"version": __version__, "style": Markup(_read("lightning_failures.reporting", "page.css"))}
    return environment.from_string(_read(package, name))


def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
