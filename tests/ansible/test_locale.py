# SPDX-License-Identifier: Apache-2.0
"""What the role patroni makes of locales, and of the libraries that sort text.

    python3 -m unittest discover tests/ansible
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import yaml
from test_roles import ROLES, load, value


class Locale(unittest.TestCase):
    def options(self, **given):
        return value("patroni", "patroni_initdb_options", **given)

    def test_cluster_begins_with_the_options_of_its_locale(self):
        rest = ["data-checksums", {"auth-host": "scram-sha-256"}, {"auth-local": "peer"}]
        table = [
            ({}, [{"locale": "C.UTF-8"}]),
            ({"patroni_postgresql_version": 17}, [{"locale-provider": "builtin"}, {"locale": "C.UTF-8"}]),
            ({"patroni_postgresql_version": 17, "patroni_locale_provider": "libc"}, [{"locale": "C.UTF-8"}]),
            ({"patroni_postgresql_version": 17, "patroni_locale": "de_DE.UTF-8"}, [{"locale": "de_DE.UTF-8"}, {"lc-messages": "C"}]),
        ]
        for given, expected in table:
            self.assertEqual(self.options(**given), [{"encoding": "UTF8"}, *expected, *rest], given)

    def generated(self, locale, known):
        """Runs the task's script with a locale-gen that makes the `known` locales, as Debian's does: it never fails."""
        script = yaml.safe_load((ROLES / "patroni/tasks/locale.yml").read_text())[0]["ansible.builtin.command"]["argv"][2]
        with tempfile.TemporaryDirectory() as path:
            file, made = pathlib.Path(path, "locale.gen"), pathlib.Path(path, "made")
            file.write_text("# en_US.UTF-8 UTF-8\n")
            made.write_text("C.utf8\n")
            makes = "grep -qx '%s UTF-8' '%s' && echo %s >>'%s'\n" % (known, file, known.replace("UTF-8", "utf8"), made)
            for name, text in (("locale", "cat '%s'\n" % made), ("locale-gen", makes + "exit 0\n")):
                pathlib.Path(path, name).write_text("#!/bin/sh\n" + text)
                pathlib.Path(path, name).chmod(0o755)
            argv = ["sh", "-c", script.replace("/etc/locale.gen", str(file)), "generate", locale, locale.replace("UTF-8", "utf8")]
            done = subprocess.run(argv, env={"PATH": path + ":/usr/bin:/bin"}, capture_output=True, check=False, encoding="utf-8")
            return done.returncode, done.stdout, done.stderr, file.read_text().splitlines()[1:]

    def test_locale_that_the_machine_cannot_generate_is_named(self):
        code, out, err, lines = self.generated("xx_YY.UTF-8", "de_DE.UTF-8")
        self.assertEqual((code, out, lines), (1, "", []))
        self.assertIn("cannot generate the locale xx_YY.UTF-8: set postgres.locale to a name that", err)

    def test_locale_is_generated_once(self):
        self.assertEqual(self.generated("de_DE.UTF-8", "de_DE.UTF-8"), (0, "generated\n", "", ["de_DE.UTF-8 UTF-8"]))
        self.assertEqual(self.generated("C.UTF-8", "de_DE.UTF-8"), (0, "", "", []))

    def test_database_is_made_with_its_locale_of_icu(self):
        shared = "ansible.module_utils.patroni_psql"
        with unittest.mock.patch.dict(sys.modules, {shared: load(ROLES / "patroni/module_utils/patroni_psql.py")}):
            creation = load(ROLES / "patroni/library/patroni_accounts.py").creation
        self.assertEqual(creation("app", "app", None, True), ['CREATE DATABASE "app" OWNER "app";'])
        made = 'CREATE DATABASE "app" OWNER "me" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE \'de-DE\';'
        self.assertEqual(creation("app", "me", "de-DE", False), [made])
        self.assertEqual(creation("app", "me", "de-DE", True), ["SET icu_validation_level = error;", made])


class Libraries(unittest.TestCase):
    def differences(self, hosts, **given):
        views = {name: {"__patroni_" + kind: {"libraries": seen}} for name, (kind, seen) in hosts.items()}
        return value("patroni", "__patroni_library_differences", groups={"patroni": list(hosts)}, hostvars=views, **given)

    def test_libraries_are_compared_where_a_locale_depends_on_them(self):
        sorted_by = lambda **given: value("patroni", "__patroni_sorted_by", **given)
        icu = {"app": {"owner": "app", "icu_locale": "de-DE"}, "other": {"owner": "app"}}
        self.assertEqual(sorted_by(patroni_databases={"app": {"owner": "app"}}), [])
        self.assertEqual(sorted_by(patroni_locale="de_DE.UTF-8"), ["glibc"])
        self.assertEqual(sorted_by(patroni_databases=icu), ["icu"])

    def test_machines_with_other_versions_are_named_with_them(self):
        old, new = {"glibc": "2.36"}, {"glibc": "2.41"}
        hosts = {"node1": ("info", old), "node2": ("found", new), "node3": ("info", old)}
        self.assertEqual(self.differences(hosts, patroni_locale="de_DE.UTF-8"), ["glibc 2.36 on node1, node3, glibc 2.41 on node2"])
        self.assertEqual(self.differences(hosts), [])
        self.assertEqual(self.differences({**hosts, "node2": ("found", old)}, patroni_locale="de_DE.UTF-8"), [])

    def test_library_that_is_not_installed_yet_is_compared_when_it_is(self):
        icu = {"app": {"owner": "app", "icu_locale": "de-DE"}}
        hosts = {"node1": ("info", {"icu": "72.1"}), "node2": ("found", {"icu": ""})}
        self.assertEqual(self.differences(hosts, patroni_databases=icu), [])
        hosts["node2"] = ("info", {"icu": "76.1"})
        self.assertEqual(self.differences(hosts, patroni_databases=icu), ["icu 72.1 on node1, icu 76.1 on node2"])

    def test_version_of_icu_is_that_of_the_library_the_server_uses(self):
        module = load(ROLES / "patroni/module_utils/patroni_libraries.py")

        class Module:
            def run_command(self, dummy):
                return 0, "\tlibicui18n.so.72 => /nowhere/libicui18n.so.72.1 (0x0)\n", ""

        with unittest.mock.patch.object(module.os.path, "exists", lambda path: path == "/bin_dir/postgres"):
            self.assertEqual(module.libraries(Module(), ["icu"], "/bin_dir"), {"icu": "72.1"})
            self.assertEqual(module.libraries(Module(), ["icu"], "/elsewhere"), {"icu": ""})
        self.assertRegex(module.libraries(Module(), ["glibc"], "")["glibc"], r"^2\.\d+$")


if __name__ == "__main__":
    unittest.main()
