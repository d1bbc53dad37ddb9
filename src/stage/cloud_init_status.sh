#!/bin/sh
# Prints what cloud-init says of the first boot, and ends with its status; without cloud-init there is nothing to say.
# @WAIT@ is "yes" to let it finish first.
wait=@WAIT@
command -v cloud-init >/dev/null || exit 0
if [ "$wait" = yes ]; then
  cloud-init status --wait >/dev/null 2>&1
fi
cloud-init status --long
cloud-init status >/dev/null 2>&1
