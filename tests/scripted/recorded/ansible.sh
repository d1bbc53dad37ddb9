#!/bin/sh
# Records in `ansible/` the events of hactl's callback plugin while the real Ansible runs `ansible.yml`.
# ANSIBLE_PLAYBOOK names the program, for example ~/.cache/hactl/ansible/*/bin/ansible-playbook.
set -eu
cd "$(dirname "$0")"
export ANSIBLE_CALLBACK_PLUGINS="$PWD/../../../playbooks/callback_plugins" ANSIBLE_CALLBACKS_ENABLED=hactl_events

# played NAME ARGUMENT...
played() {
  export HACTL_EVENTS="$PWD/ansible/$1.jsonl"
  shift
  rm -f "$HACTL_EVENTS"
  "${ANSIBLE_PLAYBOOK:-ansible-playbook}" --inventory one,two,three, --connection local \
    --extra-vars ansible_python_interpreter=python3 "$@" ansible.yml >/dev/null || true
  sed -i "s|$PWD/||g" "$HACTL_EVENTS"
}
played configured
played failed --extra-vars fails=two
