#!/bin/sh
# Checks that a machine has the Python that Ansible runs its modules with. @INSTALL@ is "yes" to install it where it lacks.
python=@PYTHON@
install=@INSTALL@
[ ! -x "$python" ] || exit 0
if [ "$install" = yes ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q -o DPkg::Lock::Timeout=300 update >&2
  apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends python3 >&2
fi
[ -x "$python" ] || { echo "$python does not exist" >&2; exit 1; }
