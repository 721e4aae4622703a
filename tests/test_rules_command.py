import json
from pathlib import Path

import pytest

from lightning_failures import standard_rules
from lightning_failures.cli import main

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "rules.yaml"


def shown(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_every_standard_rule_is_printed_with_its_thresholds_and_their_source(capsys):
    assert main(["rules"]) == 0
    text = shown(capsys)
    for rule in standard_rules():
        assert f"{rule.name}, {rule.severity}" in text
        assert " ".join(rule.source.split()) in text
        severe = [condition for each in rule.severe_when.values() for condition in each]
        for condition in (*rule.when, *rule.clear, *rule.plain_when, *severe):
            assert condition in text
    assert text.count("plain one evaluation is enough where these hold too") == sum(
        bool(rule.plain_when) for rule in standard_rules()
    )


def test_a_file_of_rules_is_printed_as_it_is_applied(capsys, tmp_path):
    path = tmp_path / "rules.json"
    assert main(["rules", "--rules", str(EXAMPLE), "--json", str(path)]) == 0
    text = shown(capsys)
    assert "factor_spillover" not in text
    assert "diverged (own_rule), failure and ends the run raised val_loss > 10 cleared val_loss < 5" in text
    rules = {rule["name"]: rule for rule in json.loads(path.read_text())}
    assert rules["factor_failure"]["persistence"] == 5
    assert not {"conditions", "plain_conditions"} & set(rules["diverged"])


def test_the_table_fits_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["rules"]) == 0
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 60


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "- class_colapse",
            "no standard rule has this name; 'class_collapse' may be meant; given 'class_colapse'. Use one of ",
        ),
        ("- {name: class_collapse, when: 'a => 1'}", "'=>' is no comparison at position 3; given 'a => 1'. Write KEY"),
    ],
)
def test_rules_that_cannot_be_used_are_one_line(capsys, tmp_path, text, line):
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    assert main(["rules", "--rules", str(path)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
