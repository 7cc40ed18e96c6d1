"""The names of cases are the same in every process, as pytest-xdist needs them, and short enough to be typed."""

import re

ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def test_no_name_of_a_case_has_an_address_or_is_long(request):
    names = [item.nodeid for item in request.session.items]
    assert not [name for name in names if ADDRESS.search(name)] and max(map(len, names)) < 400


def test_an_address_is_seen():
    assert ADDRESS.search(repr(object())) and ADDRESS.search(repr({}.get))
