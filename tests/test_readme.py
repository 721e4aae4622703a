import re
from pathlib import Path

import pytest

from tests.snippets import run_block

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "guide.md")
BLOCKS = [block for page in PAGES for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_every_python_block_of_the_readme_and_the_guide_runs(block, tmp_path, monkeypatch):
    run_block(block, tmp_path, monkeypatch)


def test_the_readme_is_short():
    assert len(PAGES[0].read_text().splitlines()) < 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_in_the_project_is_there(page):
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    inside = [link for link in links if not link.startswith("https://")]
    assert inside
    assert [link for link in inside if not (page.parent / link).exists()] == []
