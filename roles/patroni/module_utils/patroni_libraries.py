# SPDX-License-Identifier: Apache-2.0
"""The versions of the libraries that sort text."""

from __future__ import annotations

import os
import re


def icu(module, bin_dir):
    """The version of the ICU that the installed server uses; nothing where none is installed."""
    server = os.path.join(bin_dir, "postgres")
    if not os.path.exists(server):
        return ""
    dummy, said, dummy2 = module.run_command(["ldd", server])
    library = re.search(r"libicui18n\.so\S* => (\S+)", said)
    return os.path.realpath(library.group(1)).rsplit(".so.", 1)[-1] if library else ""


def libraries(module, names, bin_dir):
    """The version of each library of `names`, which are `glibc` and `icu`."""
    versions = {"glibc": lambda: os.confstr("CS_GNU_LIBC_VERSION").split()[-1], "icu": lambda: icu(module, bin_dir)}
    return {name: versions[name]() for name in names}
