#!/usr/bin/env bash
# An extension's own C functions `step` and `advance` are glibc's in their place, without a word.
#
# glibc keeps the functions of <regexp.h>, which was removed in 2.23, for old programs: `step`,
# `advance` and the variables `loc1`, `loc2`, `locs` cannot be linked against any more, but the
# dynamic linker still finds them, and Python has loaded libc before any extension. So where an
# extension calls, or takes the address of, a function of its own of that name that is not static,
# what it gets is in libc; the compiler and the linker say nothing. Calling it with a simulation's
# arguments ends the process. `-Wl,-Bsymbolic` or `static` keeps it one's own, and so does musl.
#
# Touches us: the CUDA kernels run on the host as a shared library in the tests, where the kernel
# `advance` was glibc's; it is linked with -Bsymbolic.
#
# Needs Linux with glibc, a C compiler, and Python 3.12 as python3 (or $PYTHON) with its headers.
# Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/build.py" <<'E_PYTHON'
import cffi

SOURCE = """
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <string.h>

int step(int x) { return x + 1; }
int advance(int x) { return x + 1; }
int march(int x) { return x + 1; }

static const char *home(void *function) {
    Dl_info found;
    if (!dladdr(function, &found)) return "nowhere";
    return strstr(found.dli_fname, "libc.so") ? "libc" : "the extension";
}
const char *home_of(int i) {
    return home(i == 0 ? (void *)step : i == 1 ? (void *)advance : (void *)march);
}
"""
for name, options in (("plain", []), ("symbolic", ["-Wl,-Bsymbolic"])):
    ffi = cffi.FFI()
    ffi.cdef("const char *home_of(int i);")
    ffi.set_source(name, SOURCE, extra_link_args=options)
    ffi.compile()
E_PYTHON
cat > "$work/look.py" <<'E_PYTHON'
import cffi
import plain
import symbolic

print("cffi", cffi.__version__)
for module in (plain, symbolic):
    for i, function in enumerate(("step", "advance", "march")):
        where = module.ffi.string(module.lib.home_of(i)).decode()
        print(f"{module.__name__:8} {function:7} is in {where}")
E_PYTHON
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check cffi==1.17.1 setuptools==75.6.0 \
    2>"$work/pip" || { cat "$work/pip" >&2; exit 2; }
cd "$work"
venv/bin/python build.py >/dev/null
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
cffi 1.17.1
plain    step    is in libc
plain    advance is in libc
plain    march   is in the extension
symbolic step    is in the extension
symbolic advance is in the extension
symbolic march   is in the extension
E_EXPECTED
