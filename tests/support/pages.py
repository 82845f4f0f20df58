"""The visible text of HTML pages, and texts that try to inject markup."""

import re

HOSTILE = (
    "</script><script>document.title='taken'</script>",
    "<img src=x onerror=\"alert('reply')\">",
    "\ufeff```python\nprint('\u2028')\n```",
    "]]><!--<script>",
    "{{ 7 * 7 }}<b>bold</b>&amp;",
)


def visible_text(page: str) -> str:
    """The visible text of a page, without markup and extra spaces."""
    body = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())
