from .activity import Activity as Activity
from .opening import Opening as Opening
from .statistics import recalibrate as recalibrate
from .summary import Report as Report
from .summary import report as report
from .training import add_to as add_to
from .training import freeze as freeze
from .training import param_groups as param_groups
