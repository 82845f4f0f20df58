"""A page in one file that loads nothing: a template with its styles, scripts and data inside.

Everything that came from a run's files reaches the page escaped, or as data that scripts put in as text; a
Content-Security-Policy lets nothing else run or load.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from swarmeval.report import words

FOLDER = Path(__file__).parent


def render_page(
    template: Path, styles: Sequence[Path], scripts: Sequence[Path], context: Mapping[str, Any], data: Mapping[str, Any]
) -> str:
    """The page; `data` is what the scripts read. The template may extend those beside this file."""
    import jinja2

    style, script = (_joined(paths) for paths in (styles, scripts))
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True,
        loader=jinja2.FileSystemLoader([template.parent, FOLDER]),
    )  # fmt: skip
    environment.filters |= {
        "percent": words.percent,
        "between": words.between,
        "number": words.number,
        "duration": words.duration,
    }
    return environment.get_template(template.name).render(
        **context, style=style, script=script, style_hash=_hash(style), script_hash=_hash(script), data=_json(data)
    )


def _joined(paths: Sequence[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: object) -> str:
    """JSON that may stand inside a script element: ASCII only, and nothing in it can end the element."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
