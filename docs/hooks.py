"""What mkdocs.yml cannot say: formulas become MathML, and no page is left out of the menu."""

from html import escape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert


def formula(source: str, *_: Any, **__: Any) -> str:
    """A fence of LaTeX as MathML, which browsers draw without scripts or fonts from elsewhere."""
    return convert(source, display="block").replace("<math ", f'<math alttext="{escape(source)}" ')


def on_config(config: Any) -> Any:
    """Formulas are drawn; pages that the menu does not name come last."""
    fence = {"name": "math", "class": "math", "format": formula}
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [fence]}
    config.nav = [*config.nav, *rest(config.nav, Path(config.docs_dir))]
    return config


def rest(nav: list[Any], folder: Path) -> list[dict[str, list[str]]]:
    """The section of pages in `folder` that `nav` does not name; none where it names all."""
    pages = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.md"))
    left = [page for page in pages if page not in named(nav)]
    return [{"More": left}] if left else []


def named(nav: Any) -> set[str]:
    """The pages that an entry of the menu names, at any depth."""
    if isinstance(nav, str):
        return {nav}
    entries = nav.values() if isinstance(nav, dict) else nav
    return {page for entry in entries for page in named(entry)}
