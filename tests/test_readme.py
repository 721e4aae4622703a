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


def test_each_share_that_the_readme_quotes_stands_in_the_page_that_it_links_to():
    rows = re.findall(r"^\| .*\]\(docs/([a-z-]+\.md)\).*\|$", PAGES[0].read_text(), flags=re.MULTILINE)
    assert rows
    for name in rows:
        (row,) = (line for line in PAGES[0].read_text().splitlines() if f"](docs/{name})" in line and line[0] == "|")
        page = (ROOT / "docs" / name).read_text()
        shares = re.findall(r"\b(\d+) of (\d+)\b", row)
        assert shares
        for part, all_of_them in shares:  # of false alarms a page may say how often there was none
            rest = int(all_of_them) - int(part)
            assert f"{part} of {all_of_them}:" in page or f"{rest} of {all_of_them}:" in page, (name, part, all_of_them)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_in_the_project_is_there(page):
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    inside = [link for link in links if not link.startswith("https://")]
    assert inside
    assert [link for link in inside if not (page.parent / link).exists()] == []
