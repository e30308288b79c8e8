"""wasi.py PYTHON.wasm PROJECT [nothing]: run probe.py in CPython for WASI by wasmtime, or only translate it once."""

import sys

from wasmtime import Config, Engine, ExitTrap, Linker, Module, Store, WasiConfig

wasm, project, *rest = sys.argv[1:]
config = Config()
config.cache = True
engine = Engine(config)
module = Module.from_file(engine, wasm)
if rest:
    sys.exit(0)
store = Store(engine)
wasi = WasiConfig()
wasi.argv = ["python", "/project/.ci/probe.py"]
wasi.env = [("PYTHONDONTWRITEBYTECODE", "1")]
wasi.inherit_stdin()
wasi.inherit_stdout()
wasi.inherit_stderr()
wasi.preopen_dir(project, "/project")
store.set_wasi(wasi)
linker = Linker(engine)
linker.define_wasi()
try:
    linker.instantiate(store, module).exports(store)["_start"](store)
except ExitTrap as end:
    sys.exit(end.code)
