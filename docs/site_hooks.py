"""What MkDocs asks while it builds the site: pages that are generated, links out of docs/, and llms.txt."""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that docs/ is importable, however mkdocs is called

from docs.site_pages import DECLARED, as_said, filled, generated, link_to, spelt_out
from lightning_failures.records.cause import CAUSES
from lightning_failures.records.kind import KINDS

_OUTSIDE = re.compile(r"\]\(((?:\.\./)+(?:README|CONTRIBUTING|CHANGELOG|examples|docs)[^)#\s]*)\)")
_written: dict[str, str] = {}  # the Markdown of each page, for llms.txt


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that are generated into the navigation."""
    made = list(generated())
    places = {
        "FINDINGS": ["finding/index.md", *({each.title: f"finding/{name}.md"} for name, each in KINDS.items())],
        "CAUSES": ["cause/index.md", *({each.title: f"cause/{name}.md"} for name, each in CAUSES.items())],
        "PUBLIC": [uri for uri in made if uri.startswith("public/")],
        "MATHEMATICS": [uri for uri in made if uri.startswith("mathematics/")],
    }
    config.nav = _placed(config.nav, places)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add them to the files."""
    for uri, text in generated().items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Fill in what is declared, and turn links to the repository into links to the site."""
    uri = page.file.src_uri
    if DECLARED in markdown:
        markdown = filled(uri, markdown)
    if uri == "contributing.md":
        markdown = re.sub(r"\]\(docs/", "](", markdown)
    markdown = as_said(markdown)
    markdown = _OUTSIDE.sub(lambda found: f"]({link_to(found[1], uri)})", markdown)
    _written[uri] = markdown
    return markdown


def on_nav(nav: Navigation, **_: Any) -> Navigation:
    """Remember the order of the pages."""
    global _order
    _order = [(_section(page), page) for page in nav.pages]
    return nav


def on_post_build(config: MkDocsConfig) -> None:
    """Write llms.txt, and each page as Markdown beside its HTML."""
    site = Path(config.site_dir)
    lines = [f"# {config.site_name}", "", f"> {config.site_description}"]
    listed: dict[str, list[str]] = {}
    for section, page in _order:
        title = page.title if isinstance(page.title, str) else page.file.name
        listed.setdefault(section, []).append(f"- [{title}]({page.file.src_uri})")
        target = site / page.file.src_uri
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(spelt_out(_written[page.file.src_uri]), encoding="utf-8")
    for section, links in listed.items():
        lines += ["", f"## {section}", "", *links]
    (site / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


_order: list[tuple[str, Page]] = []


def _placed(nav: Any, places: dict[str, list[Any]]) -> Any:
    if isinstance(nav, list):
        return [_placed(each, places) for each in nav]
    if isinstance(nav, dict):
        return {title: _placed(each, places) for title, each in nav.items()}
    return places.get(nav, nav)


def _section(page: Page) -> str:
    """The title of the part of the site that a page stands in."""
    names = [each.title for each in page.ancestors]
    return str(names[-1]) if names else "Begin here"
