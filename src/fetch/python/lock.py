#!/usr/bin/env python3
"""Write the pinned requirement files of this directory, one per Python version: name==version and every hash.

For maintainers, not run by hactl: `lock.py [--check] PYTHON...`, each PYTHON an interpreter of another
version. Every interpreter resolves for itself, since environment markers follow the interpreter that runs pip.
With --check nothing is written; the files must come out as they are.
"""

import hashlib
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ARCHITECTURES = ["x86_64", "aarch64"]
# Newest glibc level first; the oldest distribution that hactl supports has glibc 2.35.
LEVELS = ["manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014"]

# Published as source only: hactl builds their wheels, which are pure Python, with the setuptools that
# ansible's file pins. These go into sources.txt, the same for every Python.
SOURCES = ["python-etcd==0.4.5", "ydiff==1.4.2"]

WANTED = {
    # Onto the nodes: the driver in binary form, so that nodes need no compiler.
    "patroni": ["patroni[etcd3]==4.1.5", "psycopg[binary]"],
    # Into hactl's own environment on the controller.
    "ansible": ["mitogen==0.3.54", "setuptools"],
}

# The newest ansible-core that supports the Python on the controller.
ANSIBLE_CORE = {
    "310": "ansible-core==2.17.*",
    "311": "ansible-core==2.19.*",
    "312": "ansible-core==2.19.*",
    "313": "ansible-core==2.19.*",
}


def run(*args):
    return subprocess.run(args, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def name_and_version(path):
    stem = path.name.removesuffix(".tar.gz") if path.name.endswith(".tar.gz") else "-".join(path.name.split("-")[:2])
    name, version = stem.rsplit("-", 1)
    return name.replace("_", "-").lower(), version


def resolve(python, wanted, links):
    """All files that `wanted` needs, for every architecture: {(name, version): {sha256}}."""
    found = {}
    for architecture in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as target:
            platforms = [f"--platform={level}_{architecture}" for level in LEVELS]
            run(python, "-m", "pip", "download", "-q", "--only-binary=:all:", "--find-links", links, *platforms, "-d", target, *wanted)
            for path in pathlib.Path(target).iterdir():
                found.setdefault(name_and_version(path), set()).add(sha256(path))
    return found


def requirements(python, wanted, found):
    lines = [f"# Made by lock.py for {python}: {', '.join(wanted)}"]
    for (name, version), hashes in sorted(found.items()):
        lines.append(" \\\n    ".join([f"{name}=={version}", *(f"--hash=sha256:{h}" for h in sorted(hashes))]))
    return "\n".join(lines) + "\n"


def main(check, pythons):
    stale = []
    for python in pythons:
        tag = run(python, "-c", "import sys; print('%d%d' % sys.version_info[:2])")
        with tempfile.TemporaryDirectory() as built, tempfile.TemporaryDirectory() as sources:
            run(python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=:all:", "-d", sources, *SOURCES)
            run(python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", built, *SOURCES)
            pinned = {name_and_version(path): {sha256(path)} for path in pathlib.Path(sources).iterdir()}
            texts = {"sources.txt": requirements("every Python", SOURCES, pinned)}
            for purpose, wanted in WANTED.items():
                if purpose == "ansible":
                    wanted = [ANSIBLE_CORE[tag], *wanted]
                found = resolve(python, wanted, built)
                found = {key: hashes for key, hashes in found.items() if key not in pinned}
                texts[f"{purpose}-py{tag}.txt"] = requirements(f"Python {tag[0]}.{tag[1:]}", wanted, found)
        for name, text in texts.items():
            path = HERE / name
            if check and path.read_text() != text:
                stale.append(name)
            elif not check:
                path.write_text(text)
    if stale:
        sys.exit(f"these files would come out differently: {', '.join(stale)}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main("--check" in arguments, [a for a in arguments if a != "--check"])
