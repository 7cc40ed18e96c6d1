from .maps import FeatureMap as FeatureMap
from .maps import Maps as Maps
from .observation import Observation as Observation
from .scene import Scene as Scene
from .watch import observed as observed
