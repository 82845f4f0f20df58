"""Renders a template with its styles, scripts and data into one self-contained HTML file.

Text from a run's files is either escaped or passed as data that the scripts insert as plain text. A
Content-Security-Policy blocks all other scripts and all loading.
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
    """Return the HTML of a page. `data` is read by the scripts. The template may extend templates of this folder."""
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
    """JSON that is safe inside a script element: ASCII only, and nothing in it can close the element."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
