"""surgeon puts attention into networks that exist already, and leaves the rest as it is, to the bit.

>>> import surgeon
>>> model = surgeon.inject(model, "cbam", where="bottleneck")
"""

from surgeon.attention import attention_modules, attention_parameters, disabled, record, register
from surgeon.errors import SurgeonError
from surgeon.formats import save
from surgeon.intake import load
from surgeon.operation import apply, inject, places, plan, remove
from surgeon.report import report
from surgeon.sites import Plan, Site

__all__ = [
    "Plan",
    "Site",
    "SurgeonError",
    "apply",
    "attention_modules",
    "attention_parameters",
    "disabled",
    "inject",
    "load",
    "places",
    "plan",
    "record",
    "register",
    "remove",
    "report",
    "save",
]
