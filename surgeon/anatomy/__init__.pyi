from .maps import FeatureMap as FeatureMap
from .maps import Maps as Maps
from .observation import Observation as Observation
from .observation import observed as observed
from .scene import Scene as Scene
