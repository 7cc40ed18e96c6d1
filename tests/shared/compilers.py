"""Whether this machine has what compiled attention needs."""

import os
import shutil

import pytest

compiles = pytest.mark.skipif(
    not any(map(shutil.which, filter(None, [os.environ.get("CXX"), "c++", "g++", "clang++"]))),
    reason="loops are compiled by a C++ compiler",
)
