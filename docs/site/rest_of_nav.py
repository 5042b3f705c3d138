"""A hook of mkdocs. Pages that mkdocs.yml does not name go to the end of its last section, so that none is forgotten;
and what lies outside of docs/ is not in the site: of a link to it the words stay.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Called by mkdocs before anything is built."""
    named = str(config["nav"])
    pages = sorted(path.name for path in Path(config["docs_dir"]).glob("*.md"))
    (last,) = config["nav"][-1].values()
    last += [page for page in pages if f"'{page}'" not in named]
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page before it is rendered."""
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", markdown)
