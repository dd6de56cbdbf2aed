"""The pages: Jinja templates in one environment that escapes all text, and a document that loads nothing.

The frame of every page holds its styles, its scripts and plotly.js, and its content security policy forbids the browser
to fetch anything. Colours follow the reader's preference for light or dark.
"""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from trainless.report.common.formats import compact, number, percent

__all__ = ["environment", "render"]


@cache
def environment() -> Environment:
    """Make the environment of all templates: text is escaped, a name that is not given is an error.

    ``tojson`` writes data that a script element may hold, whatever is in it; what is not finite becomes null.

    Example:
        >>> environment().from_string("<td>{{ name }}</td>").render(name="<i>")
        '<td>&lt;i&gt;</td>'
        >>> environment().from_string("{{ points|tojson }}").render(points={"</script>": [1.5, float("nan")]})
        '{"\\\\u003c/script\\\\u003e":[1.5,null]}'
    """
    loader = PackageLoader("trainless", "report")
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {"compact": compact, "number": number, "percent": percent, "sentence": _sentence}
    made.globals["source"] = lambda name: loader.get_source(made, name)[0]
    made.policies["json.dumps_function"] = _dumps
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    return made


def render(template: str, **values: Any) -> str:
    """Write a page.

    Args:
        template: its path within this package.
        values: by the names that the template has for them; text is plain text.

    Returns:
        The document; write it as UTF-8.
    """
    from plotly.offline import get_plotlyjs

    return environment().get_template(template).render(plotly=get_plotlyjs(), **values)


def _sentence(text: str) -> str:
    """End a text by one full stop."""
    return f"{text.strip().rstrip('.')}."


def _dumps(value: Any, **options: Any) -> str:
    return json.dumps(_plain(value), **options)


def _plain(value: Any) -> Any:
    """Make a value fit for JSON: arrays become lists, and what is not finite null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
