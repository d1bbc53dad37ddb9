#!/bin/sh
# A dynamic inventory for plain Ansible: asks hactl for the machines of a cluster.
#
#   HACTL_CLUSTER=patroni-3node ansible-playbook -i hactl-inventory.sh playbooks/patroni-cluster.yml
#
# Ansible calls it with --list and reads all variables from its answer. The answer
# includes secrets; they go through the pipe and are not written to a file.
set -eu
case "${1:-}" in
    --list) exec "${HACTL:-hactl}" inventory "${HACTL_CLUSTER:-patroni-3node}" --list ;;
    # `_meta` in the list already has the variables of every host.
    --host) echo '{}' ;;
    *) echo "usage: $0 --list | --host NAME" >&2; exit 2 ;;
esac
