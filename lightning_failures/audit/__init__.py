"""What data invite a network to do, before any is trained."""

from lightning_failures.audit.accuracies import *
from lightning_failures.audit.audit import *
from lightning_failures.audit.console import *
from lightning_failures.audit.contents import *
from lightning_failures.audit.copies import *
from lightning_failures.audit.data_audit import *
from lightning_failures.audit.data_sums import *
from lightning_failures.audit.figures import *
from lightning_failures.audit.given_audit import *
from lightning_failures.audit.inputs import *
from lightning_failures.audit.labels import *
from lightning_failures.audit.page import *
from lightning_failures.audit.risks import *
from lightning_failures.audit.sample import *
from lightning_failures.audit.sentences import *
from lightning_failures.audit.small_network import *
