from pathlib import Path

import pytest

from lightning_failures import FailureDiagnosis, Rule, read_rules, standard_rules
from lightning_failures.errors import InputError, UnknownNameError

STANDARD = {rule.name: rule for rule in standard_rules()}
FIELDS = (
    "kind, when, message, name, clear, evidence, advice, severity, warmup, persistence, source, action, warmup_steps, "
    "severe_when, plain_when, last_when"
)
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
    assert by_name["class_collapse"].plain_when == ()  # seven, however plain the case is
    assert by_name["untapped_information"].plain_when == STANDARD["untapped_information"].plain_when != ()
    assert by_name["slow"].evidence == {"val_loss": "val_loss"}


def test_what_makes_a_case_plain_can_be_changed_beside_the_persistence():
    (rule,) = read_rules(
        [{"name": "class_collapse", "persistence": 7, "plain_when": "failures/collapse/class_share < 0"}]
    )
    assert (rule.persistence, rule.plain_when) == (7, ("failures/collapse/class_share < 0",))


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
            {"name": "class_collapse", "persistence": 3},
            "this is no list of rules; given {'name': 'class_collapse', 'persistence': 3} of type dict. "
            "Pass a file, or a list: ['standard', {...}].",
        ),
        (
            [{"name": "class_collapse", 3: 4}],
            f"rule 'class_collapse' has no field 3; given 4. Use {FIELDS}, or silence.",
        ),
    ],
)
def test_what_is_no_rule_says_what_is_meant(rules, text):
    with pytest.raises(InputError) as error:
        read_rules(rules)
    assert str(error.value) == f"FailureDiagnosis: {text}"


CONDITION = "Write KEY <= BOUND with one of <, <=, >, >=; a bound is a number, a key, or a key + or - a number."
STAR = "Put the star into a condition of when too, or leave it out: a star elsewhere stands for the same name."


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "warmup: two",
            "warmup: a whole number is needed, not a text; given 'two'. Write the first epoch that counts, such as 2.",
        ),
        (
            "warmup:",
            "warmup: a whole number is needed, not nothing; given None. Write the first epoch that counts, such as 2.",
        ),
        (
            "warmup: true",
            "warmup: a whole number is needed, not true or false; given True. "
            "Write the first epoch that counts, such as 2.",
        ),
        (
            "warmup_steps: 60.0",
            "warmup_steps: a whole number is needed, not a number; given 60.0. "
            "Write the first step that counts, such as 60.",
        ),
        (
            "persistence: 2.5",
            "persistence: a whole number is needed, not a number; given 2.5. Write how often, such as 3.",
        ),
        (
            "persistence: 50%",
            "persistence: a whole number is needed, not a text; given '50%'. Write how often, such as 3.",
        ),
        ("silence: 'false'", "silence: true or false is needed; given 'false'. Write it without quotes."),
        ("silence:", "silence: true or false is needed; given None. Write it without quotes."),
        ("silence: 1", "silence: true or false is needed; given 1. Write it without quotes."),
        ("advice:", "advice: a text is needed, not nothing; given None. Write it in quotes, or leave the field out."),
        (
            "message: 5",
            "message: a text is needed, not a whole number; given 5. Write it in quotes, or leave the field out.",
        ),
        (
            "when: {a: 1}",
            "when: a condition or a list of them is needed, not a mapping; given {'a': 1}. "
            "Write one such as 'val_loss > 2'.",
        ),
        ("when: a > 50%", "when: a percentage, 50%, at position 5; given 'a > 50%'. Write 0.5."),
        ("when: ['a > 1', 'a > 0,5']", "when: a number with a comma, 0,5, at position 5; given 'a > 0,5'. Write 0.5."),
        ("when: [3]", f"when: a condition is a text, not an int; given 3. {CONDITION}"),
        ("clear: low/* < 1", f"clear: more stars than in when; given 'low/* < 1'. {STAR}"),
        ("evidence: {loss: low/*}", f"evidence: more stars than in when; given loss: low/*. {STAR}"),
        (
            "evidence: [val_loss]",
            "evidence: a mapping of names to keys is needed, not a list; given ['val_loss']. "
            "Write the name of each, then its key: {loss: val_loss}.",
        ),
        (
            "evidence: {loss: 3}",
            "evidence['loss']: a name with a key is needed, not a whole number; given 3. "
            "Write both as texts: {loss: val_loss}.",
        ),
        (
            "evidence: {subject: a, val_loss: val_loss}",
            "evidence: evidence called subject; given subject: a. Call it something else: {subject} is the rule's own.",
        ),
    ],
)
def test_a_field_that_cannot_be_used_is_named_with_what_was_given_and_what_to_do(tmp_path, line, text):
    path = tmp_path / "rules.yaml"
    own = {name: value for name, value in OWN.items() if not line.startswith(f"{name}:")}
    path.write_text(f"- {line}\n" + "".join(f"  {name}: '{value}'\n" for name, value in own.items()))
    with pytest.raises(InputError) as error:
        read_rules(path)
    assert str(error.value) == f"Rule(slow).{text}"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("{val_loss", "given '{val_loss': expected '}' before end of string"),
        ("val_loss}", "given 'val_loss}': Single '}' encountered in format string"),
        ("{val_loss:.2q}", "given '{val_loss:.2q}': Unknown format code 'q' for object of type 'float'"),
        ("{val_loss:d}", "given '{val_loss:d}': Unknown format code 'd' for object of type 'float'"),
        ("{subject:.2f}", "given '{subject:.2f}': Unknown format code 'f' for object of type 'str'"),
        ("{}", "given '{}': Replacement index 0 out of range for positional args tuple"),
        ("{val_loss:{val_loss}}", "given '{val_loss:{val_loss}}': a format that depends on a figure"),
        ("{val_loss!x}", "given '{val_loss!x}': Unknown conversion specifier"),
    ],
)
def test_a_message_that_could_not_be_said_is_refused(message, text):
    with pytest.raises(InputError) as error:
        Rule(**OWN | {"message": message})
    assert str(error.value).startswith(f"Rule(slow): the message cannot be formatted; {text}")
    assert str(error.value).endswith("Write it as for str.format.")


@pytest.mark.parametrize("message", ["{subject.upper}", "{subject[0]}", "{val_loss.real}", "{loss}"])
def test_a_message_names_evidence_alone(message):
    with pytest.raises(
        InputError, match=r"Rule\(slow\): the message names .*; given evidence val_loss\. Name evidence"
    ):
        Rule(**OWN | {"message": message})


@pytest.mark.parametrize("field", ["loss[0]", "loss.no"])
def test_evidence_that_no_message_can_name_is_refused_with_the_message(field):
    evidence = {"loss": "val_loss", field: "val_loss"}
    with pytest.raises(InputError, match=r"Rule\(slow\): the message cannot be formatted; given"):
        Rule(**OWN | {"message": f"{{{field}}}", "evidence": evidence})


def test_a_warm_up_below_zero_is_refused():
    with pytest.raises(InputError) as error:
        Rule(**OWN | {"warmup": -1})
    assert str(error.value) == "Rule(slow): a warm-up below 0; given -1. Count epochs from 0."
    with pytest.raises(InputError) as error:
        Rule(**OWN | {"warmup_steps": -60})
    assert str(error.value) == "Rule(slow): a warm-up below 0; given -60 steps. Count steps from 0."


def test_a_key_of_which_nothing_but_a_star_or_subject_is_left_has_a_name_in_the_message():
    assert Rule(kind="own_rule", when="* > 1", message="{value:.1f}").evidence == {"value": "*"}
    assert Rule(kind="own_rule", when="x/subject > 1", message="{subject_:.1f}").evidence == {"subject_": "x/subject"}


def test_a_rule_changes_one_whose_keys_are_quoted():
    first = {"name": "f", "kind": "own_rule", "when": 'high/" a/b " > 2', "message": "{_a_b_:.1f}"}
    (rule,) = read_rules([first, {"name": "f", "persistence": 1}])
    assert rule.figures({"high/ a%2Fb ": 3.0}, "") == {"_a_b_": 3.0}
    assert rule.persistence == 1


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
