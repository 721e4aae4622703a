"""Findings, rules, terms and records as plain data: the ground of all that reports."""

from lightning_failures.records.cause import *
from lightning_failures.records.condition import *
from lightning_failures.records.finding import *
from lightning_failures.records.keys import *
from lightning_failures.records.kind import *
from lightning_failures.records.numbers import *
from lightning_failures.records.order import *
from lightning_failures.records.picture import *
from lightning_failures.records.rule import *
from lightning_failures.records.run_record import *
from lightning_failures.records.strict_json import *
from lightning_failures.records.term import *
from lightning_failures.records.validation_keys import *
from lightning_failures.records.written_file import *
