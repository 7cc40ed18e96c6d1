"""Plans as files: what `surgeon plan --json` and the page of a plan write."""

import json
from os import PathLike
from pathlib import Path

from surgeon.errors import BadPlan
from surgeon.sites import Plan


def read_plan(path: str | PathLike[str]) -> Plan:
    """The plan in a JSON file.

    Raises:
        BadPlan: there is none, or it has no site left.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        plan = Plan.from_dict(data)
    except OSError as error:
        raise BadPlan(
            f"{path} can't be read: {error.strerror}. surgeon plan SOURCE --json > FILE writes a plan."
        ) from None
    except (ValueError, BadPlan) as error:
        raise BadPlan(f"{path} holds no plan: {str(error).removeprefix('not a plan: ')}") from None
    if not plan.sites:
        raise BadPlan(f"{path} is a plan without a site: nothing would be done.")
    return plan
