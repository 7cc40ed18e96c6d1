from .maps import FeatureMap as FeatureMap
from .maps import Maps as Maps
from .observation import Observation as Observation
from .observation import looking_at as looking_at
from .scene import Scene as Scene
