"""HTML from the templates of this package: every value is escaped, a name that is missing is an error."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES = "lastbit.reports"


def rendered(template: str, **values: Any) -> Markup:
    """The template of this file name, filled in; text becomes text, whatever it holds, and only Markup is HTML."""
    return Markup(_environment().get_template(template).render(values))  # escaped by the environment


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(_TEMPLATES, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
