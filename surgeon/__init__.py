"""surgeon puts attention into networks that exist already, and leaves the rest as it is, to the bit.

>>> import surgeon
>>> model = surgeon.inject(model, "cbam", where="bottleneck")
"""

from surgeon.attention import (
    attention_modules,
    attention_parameters,
    disabled,
    record,
    register,
)
from surgeon.checkpoints.published import load_published
from surgeon.errors import SurgeonError
from surgeon.files.formats import save
from surgeon.files.intake import load
from surgeon.operation import apply, inject, places, plan, remove
from surgeon.sites import Plan, Site
from surgeon.surgery.summary import report
from surgeon.surgery.training import freeze, param_groups

__all__ = [
    "Plan",
    "Site",
    "SurgeonError",
    "apply",
    "attention_modules",
    "attention_parameters",
    "disabled",
    "freeze",
    "inject",
    "load",
    "load_published",
    "param_groups",
    "places",
    "plan",
    "record",
    "register",
    "remove",
    "report",
    "save",
]
