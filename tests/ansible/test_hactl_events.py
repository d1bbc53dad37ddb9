# SPDX-License-Identifier: Apache-2.0
"""Runs a small playbook on this machine and reads the plugin's lines.

    python3 -m unittest discover tests/ansible
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
PLAYBOOK = """
- name: First play
  hosts: all
  gather_facts: false
  tasks:
    - name: Ok
      ansible.builtin.debug:
        msg: seen
    - name: Changed
      ansible.builtin.command: "true"
      notify: Handler
    - name: Skipped
      ansible.builtin.command: "true"
      when: false
    - name: Ignored
      ansible.builtin.command: sh -c 'echo reason >&2; exit 3'
      ignore_errors: true
    - name: Refused
      refuses:
      ignore_errors: true
    - name: Said
      block:
        - name: Secret
          ansible.builtin.command: sh -c 'echo top-secret; exit 1'
          no_log: true
      rescue:
        - name: Why
          ansible.builtin.fail:
            msg: "{{ ansible_failed_task.name }}: {{ ansible_failed_result.msg }}"
          ignore_errors: true
    - name: Hidden
      ansible.builtin.command: "false"
      environment: {WORD: top-secret}
      no_log: true
      ignore_errors: true
    - name: Hidden item
      ansible.builtin.command: "sh -c 'echo {{ item }}; exit 1'"
      loop: [top-secret]
      no_log: true
      ignore_errors: true
    - name: Written
      ansible.builtin.copy:
        dest: "{{ playbook_dir }}/written"
        content: "shown"
    - name: Written in secret
      ansible.builtin.copy:
        dest: "{{ playbook_dir }}/{{ item }}"
        content: "top-secret"
      loop: [hidden]
      no_log: true
    - name: Restarted
      ansible.builtin.command: "true"
      vars: {hactl_restarts: postgresql}
    - name: Not left
      ansible.builtin.debug:
      vars: {hactl_leaves: postgresql}
      when: false
    - name: Left
      ansible.builtin.debug:
      vars: {hactl_leaves: postgresql}
    - name: Left in place
      ansible.builtin.set_fact:
        hactl_in_place: "{{ [] | length == 0 }}"
      vars: {hactl_leaves: postgresql}
    - name: Handlers
      ansible.builtin.meta: flush_handlers
    - name: Failed
      ansible.builtin.fail:
        msg: "over"
  handlers:
    - name: Handler
      ansible.builtin.command: "true"
"""

# A module that names what it refuses in a field, as those of the roles do.
MODULE = """#!/usr/bin/python3
import json
print(json.dumps({"failed": True, "msg": "no", "refused": [{"parameter": "work_mem", "cause": "no unit", "meant": None}]}))
"""


class Events(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as directory:
            book = pathlib.Path(directory, "book.yml")
            book.write_text(PLAYBOOK, encoding="utf-8")
            pathlib.Path(directory, "refuses.py").write_text(MODULE, encoding="utf-8")
            read, write = os.pipe()
            environment = dict(
                os.environ, HACTL_EVENTS=str(write), ANSIBLE_CALLBACKS_ENABLED="hactl_events",
                ANSIBLE_LIBRARY=directory, ANSIBLE_CALLBACK_PLUGINS=str(TOP / "playbooks/callback_plugins"),
            )
            program = os.environ.get("ANSIBLE_PLAYBOOK", "ansible-playbook")
            cls.done = subprocess.run(
                [program, "-i", "one,", "-c", "local", "-e", "ansible_python_interpreter=python3", "--diff", str(book)],
                env=environment, pass_fds=[write], capture_output=True, text=True, check=False,
            )
            os.close(write)
            with os.fdopen(read, encoding="utf-8") as stream:
                cls.text = stream.read()
        cls.events = [json.loads(line) for line in cls.text.splitlines()]
        cls.results = {e["task"]: e for e in cls.events if e["event"] == "host_result"}

    def test_statuses(self):
        self.assertEqual(self.done.returncode, 2, self.done.stdout + self.done.stderr)
        self.assertEqual(
            {task: e["status"] for task, e in self.results.items()},
            {"Ok": "ok", "Changed": "changed", "Skipped": "skipped", "Ignored": "ignored", "Refused": "ignored",
             "Secret": "failed", "Why": "ignored", "Hidden": "ignored",
             "Hidden item": "ignored", "Written": "changed", "Written in secret": "changed", "Restarted": "changed",
             "Not left": "skipped", "Left": "ok", "Left in place": "ok", "Handler": "changed", "Failed": "failed"},
        )

    def test_effects_are_files_services_and_what_was_left(self):
        effects = {task: e["effects"] for task, e in self.results.items() if "effects" in e}
        for task, name in (("Written", "written"), ("Written in secret", "hidden")):
            path = pathlib.Path(effects[task][0].pop("path"))
            self.assertEqual(path.name, name)
        self.assertEqual(effects["Written"], [{"kind": "file", "diff": "@@ -0,0 +1 @@\n+shown\n"}])
        self.assertEqual(effects["Written in secret"], [{"kind": "file", "diff": None}])
        self.assertEqual(effects["Restarted"], [{"kind": "unit", "unit": "postgresql", "action": "restart"}])
        self.assertEqual(effects["Left"], [{"kind": "left", "unit": "postgresql", "in_place": False}])
        self.assertEqual(effects["Left in place"], [{"kind": "left", "unit": "postgresql", "in_place": True}])
        self.assertEqual(effects["Changed"], [{"kind": "task", "task": "Changed"}])
        self.assertEqual(set(effects), {"Changed", "Handler", "Written", "Written in secret", "Restarted", "Left", "Left in place"})

    def test_order(self):
        self.assertEqual(self.events[0]["event"], "play_start")
        self.assertEqual(self.events[0]["play"], "First play")
        self.assertEqual(self.events[-1]["event"], "stats")
        self.assertEqual(self.events[-1]["hosts"]["one"]["failures"], 1)
        self.assertIn("handler", {e["event"] for e in self.events})

    def test_reasons(self):
        self.assertEqual(self.results["Failed"]["msg"], "over")
        self.assertEqual(self.results["Ignored"]["stderr"], "reason")
        self.assertGreaterEqual(self.results["Changed"]["duration_ms"], 0)

    def test_refusals_are_a_field(self):
        self.assertEqual(self.results["Refused"]["refused"], [{"parameter": "work_mem", "cause": "no unit", "meant": None}])
        self.assertNotIn("refused", self.results["Ignored"])

    def test_rescue_says_why_a_hidden_task_failed(self):
        self.assertEqual(self.results["Secret"]["msg"], "hidden by no_log")
        self.assertEqual(self.results["Why"]["msg"], "Secret: non-zero return code")

    def test_secrets(self):
        self.assertNotIn("top-secret", self.text)
        self.assertEqual(self.results["Hidden"]["msg"], "hidden by no_log")
        self.assertEqual(self.results["Hidden item"]["msg"], "hidden by no_log")


if __name__ == "__main__":
    unittest.main()
