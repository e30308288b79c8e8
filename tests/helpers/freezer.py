"""Time stands still, as libraries that freeze it do it: every global of a module that is a function of `time` goes."""

import sys
import time

_IGNORED = "threading", "queue", "selectors"  # without them nothing can wait
_NAMES = "time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "gmtime"
_real = {name: getattr(time, name) for name in _NAMES}
_now = {name: function() for name, function in _real.items()}
_fakes = {id(function): (lambda *_, value=_now[name]: value) for name, function in _real.items()}
_replaced = []


def freeze():
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", __name__) not in (__name__, *_IGNORED):
            for name, value in list(vars(module).items()):
                if id(value) in _fakes:
                    _replaced.append((module, name, value))
                    setattr(module, name, _fakes[id(value)])


def go_on():
    while _replaced:
        setattr(*_replaced.pop())
