"""surgeon puts attention into networks that exist already, and leaves the rest as it is, to the bit.

>>> import surgeon
>>> model = surgeon.inject(model, "cbam", where="bottleneck")
"""

from surgeon.attention import attention_modules, attention_parameters, disabled, record, register
from surgeon.errors import SurgeonError
from surgeon.formats import save
from surgeon.intake import load
from surgeon.operation import apply, inject, places, plan, remove
from surgeon.published import load_published
from surgeon.report import report
from surgeon.sites import Plan, Site
from surgeon.training import freeze, param_groups

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
