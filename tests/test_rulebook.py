from pathlib import Path

import pytest

from lightning_failures import FailureDiagnosis, Rule, read_rules, standard_rules
from lightning_failures.errors import InputError, UnknownNameError

STANDARD = {rule.name: rule for rule in standard_rules()}
FIELDS = "kind, when, message, name, clear, evidence, advice, severity, warmup, persistence, source, action"
OWN = {"name": "slow", "kind": "own_rule", "when": "val_loss > 2", "message": "{subject}{val_loss:.1f}"}


def names(rules):
    return [rule.name for rule in rules]


def test_the_rules_begin_as_the_standard_ones():
    assert read_rules() == read_rules(["standard"]) == standard_rules()


def test_a_list_of_rules_is_those_alone():
    own = Rule(kind="own_rule", when="val_loss > 2", message="{val_loss}")
    assert read_rules([own]) == (own,)
    assert names(read_rules(["class_collapse", own])) == ["class_collapse", "own_rule"]


def test_a_rule_is_added_changed_and_silenced():
    rules = read_rules(
        ["standard", OWN, {"name": "class_collapse", "persistence": 7}, {"name": "factor_failure", "silence": True}]
    )
    assert names(rules) == [name for name in STANDARD if name != "factor_failure"] + ["slow"]
    by_name = {rule.name: rule for rule in rules}
    assert by_name["class_collapse"].persistence == 7
    assert by_name["class_collapse"].when == STANDARD["class_collapse"].when
    assert by_name["slow"].evidence == {"val_loss": "val_loss"}


def test_the_later_of_two_with_one_name_counts():
    rules = read_rules([OWN, {"name": "slow", "warmup": 5}, OWN | {"warmup": 9}])
    assert [(rule.name, rule.warmup) for rule in rules] == [("slow", 9)]


def test_yaml_says_the_same_as_python(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(
        """
- standard
- name: class_collapse
  when: ["failures/collapse/class_share < 0.1"]
  persistence: 7
- {name: factor_spillover, silence: true}
- name: slow
  kind: own_rule
  when: val_loss > 2
  message: "{subject}{val_loss:.1f}"
  action: stop
"""
    )
    change = {"name": "class_collapse", "when": ["failures/collapse/class_share < 0.1"], "persistence": 7}
    silenced = {"name": "factor_spillover", "silence": True}
    expected = read_rules(["standard", change, silenced, OWN | {"action": "stop"}])
    assert read_rules(path) == read_rules(str(path)) == FailureDiagnosis(rules=path).rules == expected


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        (
            [{"name": "class_colapse", "persistence": 7}],
            "a new rule 'class_colapse' without kind, when, message; given name, persistence. "
            "Pass kind, when, message, or name a standard rule; 'class_collapse' may be meant.",
        ),
        (
            [{"name": "class_collapse", "persistance": 7}],
            "rule 'class_collapse' has no field 'persistance'; 'persistence' may be meant; given 7. "
            f"Use {FIELDS}, or silence.",
        ),
        ([3], "this is no rule; given 3 of type int. Pass 'standard', a name, a dict or a Rule."),
        ([{"persistence": 3}], "a rule without a name; given {'persistence': 3}. Name a standard rule, or yours."),
        (
            [{"name": "class_collapse", "persistence": "often"}],
            "rule 'class_collapse' cannot be made; given '<' not supported between instances of 'str' and 'int'. "
            "Give each field its own type.",
        ),
    ],
)
def test_what_is_no_rule_says_what_is_meant(rules, text):
    with pytest.raises(InputError) as error:
        read_rules(rules)
    assert str(error.value) == f"FailureDiagnosis: {text}"


@pytest.mark.parametrize("rules", [["class_colapse"], [{"name": "class_colapse", "silence": True}]])
def test_a_standard_rule_that_does_not_exist_names_the_nearest(rules):
    with pytest.raises(UnknownNameError) as error:
        read_rules(rules)
    assert str(error.value) == (
        "FailureDiagnosis: no standard rule has this name; 'class_collapse' may be meant; given 'class_colapse'. "
        f"Use one of {', '.join(STANDARD)}, or 'standard' for all."
    )


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    path = tmp_path / "rules.yaml"
    where = f"FailureDiagnosis(rules='{path}')"
    with pytest.raises(InputError) as error:
        read_rules(path)
    assert str(error.value) == (
        f"FailureDiagnosis: the rules cannot be read; given {path}: No such file or directory. Name a YAML file."
    )
    path.write_text("rules: [")
    with pytest.raises(InputError, match=r"FailureDiagnosis: the rules are no YAML; given .* line 1, column 9"):
        read_rules(path)
    path.write_text("standard: true")
    with pytest.raises(InputError) as error:
        read_rules(path)
    assert str(error.value) == (
        f"FailureDiagnosis: the file holds no list of rules; given {path} with a dict. Begin each rule with '- '."
    )
    path.write_text("- class_colapse")
    with pytest.raises(UnknownNameError) as unknown:
        read_rules(path)
    assert str(unknown.value).startswith(f"{where}: no standard rule has this name")


def test_the_example_of_the_documentation_can_be_read():
    path = Path(__file__).resolve().parents[1] / "examples" / "rules.yaml"
    rules = {rule.name: rule for rule in read_rules(path)}
    assert set(STANDARD) - set(rules) == {"factor_spillover"}
    assert rules["factor_failure"].persistence == 5
    assert rules["diverged"].action == "stop"
