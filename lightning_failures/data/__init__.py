"""Factor tables and data sets."""

from lightning_failures.data.class_names import *
from lightning_failures.data.column_names import *
from lightning_failures.data.csv_file import *
from lightning_failures.data.factor_columns import *
from lightning_failures.data.factor_dataset import *
from lightning_failures.data.factor_table import *
from lightning_failures.data.file_names import *
from lightning_failures.data.imagenet_x import *
from lightning_failures.data.indian_pines import *
from lightning_failures.data.packed_file import *
from lightning_failures.data.plain_text import *
from lightning_failures.data.planted import *
from lightning_failures.data.polymers import *
from lightning_failures.data.predictions import *
from lightning_failures.data.published_profiles import *
