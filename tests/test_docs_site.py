"""The site: its pages say what the package declares and prints, their code runs, nothing comes from elsewhere."""

import doctest
import re
from html.parser import HTMLParser
from pathlib import Path
from subprocess import run
from sys import executable

import pytest

from docs import site_pages
from docs.site_pages import DECLARED, declared, filled, generated, healthy, link_to, planted, rows_of
from lightning_failures.callbacks.causes.diagnose import CAUSE_TESTS
from lightning_failures.callbacks.columns import standard_rules
from lightning_failures.records import CAUSES
from lightning_failures.records.kind import KINDS
from tests.snippets import run_block

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BY_HAND = [path for path in sorted(DOCS.rglob("*.md")) if path.name != "guide.md"]  # test_readme runs the guide's
BLOCKS = [
    (f"{path.name}: {block.splitlines()[0]}", block)
    for path in BY_HAND
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
]


def test_there_are_blocks_to_run():
    assert len(BLOCKS) > 5


@pytest.mark.parametrize(("name", "block"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_every_python_block_of_a_page_runs(name, block, tmp_path, monkeypatch):
    run_block(block, tmp_path, monkeypatch)


@pytest.mark.parametrize(("folder", "names"), [("finding", KINDS), ("cause", CAUSES)])
def test_every_finding_and_every_cause_has_its_page_and_no_page_is_of_nothing(folder, names):
    assert {path.stem for path in (DOCS / folder).glob("*.md")} == set(names)
    for path in (DOCS / folder).glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert text.count(DECLARED) == 1
        assert "## When it is wrong" in text


@pytest.mark.parametrize("rule", standard_rules(), ids=lambda rule: rule.name)
def test_each_rule_stands_on_the_page_of_its_kind_with_every_threshold_and_its_source(rule):
    page = filled(f"finding/{rule.kind}.md", (DOCS / "finding" / f"{rule.kind}.md").read_text(encoding="utf-8"))
    assert page.index(rule.advice) < page.index("## When it is wrong") < page.index("## How often it is right")
    for text in (f"### `{rule.name}`", rule.source, rule.advice, *rule.when, *rule.clear, *rule.plain_when):
        assert text in page
    for conditions in rule.severe_when.values():
        assert all(condition in page for condition in conditions)


@pytest.mark.parametrize("test", CAUSE_TESTS, ids=lambda test: test.name)
def test_a_cause_and_the_findings_that_it_can_explain_name_each_other(test):
    explains = section(declared(f"cause/{test.name}.md"), "Which findings it can explain")
    for kind in KINDS:
        causes = section(declared(f"finding/{kind}.md"), "Which causes are tested")
        assert (f"../finding/{kind}.md)" in explains) == (kind in test.explains)
        assert (f"../cause/{test.name}.md)" in causes) == (kind in test.explains)


def section(page, title):
    """What stands on a page under a title."""
    return page.split(f"## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(("page", "total"), [("causes.md", "all"), ("fault-injection.md", "faults detected")])
def test_the_tables_that_are_read_add_up_to_the_share_that_their_page_says(page, total):
    rows = list(rows_of((DOCS / page).read_text(encoding="utf-8")))
    said = next(row for row in rows if total in row.values())
    (stated,) = re.findall(r"^(\d+) of (\d+):", said.get("detected", said.get("share")))
    counted = [tuple(map(int, row["detected"].split(" of "))) for row in rows if "detected" in row and "network" in row]
    assert tuple(map(sum, zip(*counted, strict=True))) == tuple(map(int, stated))


def test_what_was_said_of_planted_runs_is_read_with_kind_cause_and_count():
    text = (DOCS / "fault-injection.md").read_text(encoding="utf-8")
    (row,) = [row for row in rows_of(text) if row.get("fault") == "NaN in one image" and row["network"] == "cnn"]
    read = {
        (each.kind, each.cause): each.told for each in planted() if (each.case, each.network) == (row["fault"], "cnn")
    }
    for (kind, cause), told in read.items():
        assert re.search(rf"{kind}[^;]* because of {cause} \({told}\)", row["said"])
    assert len(read) == row["said"].count(";") + 1
    runs, alarms = healthy()
    assert runs > 100
    assert all(kind in KINDS for kind, _, _ in alarms)


def test_a_fault_in_which_nothing_was_said_stands_on_the_page_of_its_cause():
    text = (DOCS / "fault-injection.md").read_text(encoding="utf-8")
    (row,) = [r for r in rows_of(text) if r.get("fault") == "learning rate times 10" and r["network"] == "resnet10t"]
    seen, runs = map(int, row["detected"].split(" of "))
    assert seen < runs
    missed = f"- [learning rate times 10](../fault-injection.md), resnet10t: {runs - seen} of {runs}"
    assert missed in declared("cause/learning_rate_high.md")
    assert missed not in declared("cause/learning_rate_low.md")


@pytest.mark.parametrize(
    "path", [*sorted((DOCS / "problems").glob("*.md")), DOCS / "tutorial.md"], ids=lambda p: p.stem
)
def test_a_finding_that_a_page_quotes_is_in_the_words_of_a_rule(path):
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    quoted = [block for language, block in fences if not language]
    findings = [" ".join(block.split()) for block in quoted if re.match(r"(failure|warning|watch) ", block)]
    assert findings
    for text in findings:
        assert any(_words(rule.message).search(text) for rule in standard_rules()), text


def _words(message):
    """The message of a rule, with anything in place of its figures."""
    return re.compile(".*?".join(map(re.escape, re.split(r"\{[^}]*\}", message))))


def test_the_tests_that_the_page_on_loops_names_are_there():
    named = set(re.findall(r"`(test_\w+\.py)`", (DOCS / "loops.md").read_text(encoding="utf-8")))
    assert len(named) > 10
    assert {name for name in named if not (ROOT / "tests" / name).exists()} == set()


def test_the_files_that_the_page_on_a_new_indicator_names_are_there():
    text = (DOCS / "adding-an-indicator.md").read_text(encoding="utf-8")
    for name in re.findall(r"^\| `([\w/.]+)` \|", text, re.MULTILINE):
        assert (ROOT / name).exists() or (ROOT / "lightning_failures" / name).exists(), name


def test_every_page_by_hand_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert {page for page in pages if not page.startswith(("finding/", "cause/")) and page not in nav} == set()


def test_every_example_stands_on_the_page_of_examples_with_its_source():
    page = generated()["examples.md"]
    for path in (ROOT / "examples").glob("*.*"):
        assert path.read_text(encoding="utf-8").rstrip() in page
        assert f"## {path.name}\n" in page


def test_pages_on_the_mathematics_are_of_every_module_and_the_public_ones_of_every_name():
    import lightning_failures

    pages = generated()
    modules = {path.stem for path in (ROOT / "lightning_failures" / "functional").glob("[!_]*.py")}
    assert {uri for uri in pages if uri.startswith("mathematics/")} == {
        "mathematics/index.md",
        *(f"mathematics/{name}.md" for name in modules),
    }
    for name in lightning_failures.__all__:
        assert f"::: lightning_failures.{lightning_failures._HOME[name]}.{name}\n" in pages[f"public/{name}.md"]


def test_the_examples_of_the_code_that_makes_the_pages_hold():
    assert doctest.testmod(site_pages).attempted > 0
    assert doctest.testmod(site_pages).failed == 0
    assert link_to("../../examples/self_supervised.py", "problems/a.md") == "../examples.md#self_supervisedpy"


class Outside(HTMLParser):
    """What a browser fetches by itself for a page, from other hosts."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        address = given.get("src") or (given.get("href") if tag == "link" and given.get("rel") != "canonical" else None)
        if address and re.match(r"(https?:)?//", address):
            self.found.append((tag, address))


@pytest.mark.slow
def test_the_site_is_built_strictly_and_fetches_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("material", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    done = run([executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
               cwd=ROOT, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 100
    for path in pages:
        reader = Outside()
        reader.feed(path.read_text(encoding="utf-8"))
        assert reader.found == [], path
    for path in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\([\"']?https?:", path.read_text(encoding="utf-8")), path
    index = (tmp_path / "site" / "llms.txt").read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([^)]+)\)", index)
    assert len(linked) > 100
    assert [link for link in linked if not (tmp_path / "site" / link).exists()] == []
    assert [link for link in linked if ":::" in (tmp_path / "site" / link).read_text(encoding="utf-8")] == []
    assert "Args:" in (tmp_path / "site" / "public" / "transplant.md").read_text(encoding="utf-8")
    finding = (tmp_path / "site" / "finding" / "class_collapse" / "index.html").read_text(encoding="utf-8")
    assert DECLARED not in finding
    assert "failures/collapse/class_share &lt; 0.2" in finding


def test_no_page_and_no_example_names_a_folder_of_one_machine():
    for path in [*DOCS.rglob("*.md"), *(ROOT / "examples").glob("*.*")]:
        assert not re.search(r"(?<![\w.])/(home|work|tmp)/", path.read_text(encoding="utf-8")), path
